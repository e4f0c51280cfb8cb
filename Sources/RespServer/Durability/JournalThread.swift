// The journal thread: pumps JournalDriver, which makes all decisions, and executes its actions.
//
//   requests, ends of syncs and snapshots, time ─▶ driver ─▶ syncs, snapshots, a recovery; tickets and health ─▶ loops
//
// Owns: the thread that syncs, the snapshots being written, the clients that wait for one. Other threads wait for this
// one only through a held reply, a DiskAnswer, and at shutdown.
//
// JournalThread+Host.swift implements what the driver requires of the server.

import LimiterEngine
import Persistence
import Synchronization
import System

final class JournalThread {
    unowned let server: Server
    let durability: Durability
    let files: any FileSystem
    private(set) lazy var driver = JournalDriver(
        host: self, engine: server.engine, files: files, log: recovered, pace: pace,
        now: SteadyInstant.now())
    private let recovered: LogDirectory
    private let pace: JournalDriver.Pace
    private lazy var syncThread = SyncThread(done: durability.doorbell)

    /// Work that the driver waits for, done after it has returned.
    private enum Wait {
        case sync(LogDirectory.SyncJob)
        case readBack(number: Int, horizon: EngineTime)
    }

    private var wait: Wait?
    private var syncStartedAt = SteadyInstant.boot
    /// Snapshots whose threads are still running, including cancelled ones.
    private var runs: [SnapshotRun] = []
    private var waiters: [Connection] = []
    /// Whether a log was wanted when the driver last looked.
    private var hasSeenLogWanted = false
    /// Whether everything is on disk, once the driver has ended.
    private var isSafe: Bool?

    init(server: Server, files: any FileSystem, log: LogDirectory, pace: JournalDriver.Pace = JournalDriver.Pace()) {
        self.server = server
        self.files = files
        self.pace = pace
        recovered = log
        durability = server.durability
        hasSeenLogWanted = durability.isLogging
        publishStatus()
    }

    // MARK: The pump

    /// Works until asked to stop. Returns whether everything is on disk.
    func work() -> Bool {
        defer { syncThread.end() }
        while true {
            let seen = durability.doorbell.count
            for request in durability.drainRequests() {
                deliver(request)
                if let isSafe { return isSafe }
            }
            if let (job, result) = syncThread.drainResult() {
                feed(.synced(job, result, isWaitedFor: false, took: SteadyInstant.now() - syncStartedAt))
            }
            while let index = runs.firstIndex(where: { $0.result != nil }) {
                let run = runs.remove(at: index)
                feed(.snapshotEnded(number: run.number, run.result!))
            }
            feed(.turn)
            durability.doorbell.wait(since: seen, atMost: driver.pause(now: SteadyInstant.now()))
        }
    }

    private func deliver(_ request: Durability.Request) {
        switch request {
        case .snapshot(let kind, let waiter):
            if let waiter { waiters.append(waiter) }
            feed(.snapshotRequested(kind))
        case .detach(let answer): feed(.detach, answering: answer)
        case .attach(let history, let isNewState): feed(.attach(history: history, isNewState: isNewState))
        case .rename(let old, let new, let answer): feed(.rename(from: old, to: new), answering: answer)
        case .restore(let number, let horizon): feed(.restore(number: number, horizon: horizon))
        case .stopRestoring(let answer): feed(.stopRestoring, answering: answer)
        case .resume(let answer): feed(.resume, answering: answer)
        case .stop(let savesSnapshot): feed(.stop(savesSnapshot: savesSnapshot))
        }
    }

    /// Delivers an event, and the results of any work the driver then waits for. The status has been published when
    /// this returns, and before `answer` is completed.
    private func feed(_ event: JournalDriver.Event, answering answer: DiskAnswer? = nil) {
        handle(event)
        while let next = wait {
            wait = nil
            switch next {
            case .sync(let job):
                let began = SteadyInstant.now()
                let result = job.run()
                handle(.synced(job, result, isWaitedFor: true, took: SteadyInstant.now() - began))
            case .readBack(let number, let horizon): handle(.readBack(number: number, readBack(number, horizon)))
            }
        }
        publishStatus()
        answer?.done()
    }

    private func handle(_ event: JournalDriver.Event) {
        if case .synced(_, _, isWaitedFor: _, let length) = event {
            durability.syncDurations.record(command: 0, nanoseconds: UInt64(max(0, length.nanoseconds)))
        }
        hasSeenLogWanted = durability.isLogging
        driver.handle(event, now: SteadyInstant.now())
        driver.worked(until: SteadyInstant.now())
    }

    // MARK: Actions

    func perform(_ action: JournalDriver.Action) {
        switch action {
        case .sync(let job, isWaitedFor: true): wait = .sync(job)
        case .sync(let job, isWaitedFor: false):
            syncStartedAt = SteadyInstant.now()
            syncThread.start(job)
        case .publish(let ticket, let expecting): publish(ticket, expecting: expecting)
        case .health(let health):
            durability.set(isFailing: health != .fine)
            publishStatus()
            for loop in server.loops { loop.mailbox.post(.durable) }
        case .logEnded:
            durability.logEnded(engine: server.engine)
            // Replies that waited for the log.
            for loop in server.loops { loop.mailbox.post(.durable) }
        case .writeSnapshot(let number, let writer):
            let run = SnapshotRun(number: number, writer: writer)
            runs.append(run)
            run.start(clock: server.clock, done: durability.doorbell)
        case .cancelSnapshot(let number): for run in runs where run.number == number { run.cancel() }
        case .snapshotRequestTaken:
            // Before any reply: a client that asks again afterwards must not be told that the first request is still
            // pending.
            publishStatus()
            durability.update { $0.requestedSnapshot = nil }
        case .answerSnapshotWaiters(let answer):
            for waiter in waiters { waiter.loop.mailbox.post(.unblock(waiter, Array(answer.reply.utf8))) }
            waiters = []
        case .snapshotAdopted:
            durability.update { $0.lastSaveTime = CalendarSecond.now().unixSeconds }
            publishStatus()
        case .readBack(let number, let horizon): wait = .readBack(number: number, horizon: horizon)
        case .restored(let number, let report): server.replication.ask(.restored(number: number, report))
        case .syncTook(let length):
            server.latencyEvents.add(
                "aof-fsync-always", took: length, unixSeconds: CalendarSecond.now().unixSeconds)
        case .note(let note): server.log.write(note)
        case .end(let isSafe): self.isSafe = isSafe
        }
    }

    private func publish(_ ticket: Int, expecting: Int) {
        durability.expectGroup(of: expecting)
        // So that INFO includes a client's change once the client has its reply.
        publishStatus()
        let before = durability.durableTicket
        durability.publish(durable: ticket)
        for loop in server.loops where loop.awaitedTicket.load(ordering: .sequentiallyConsistent) > before {
            loop.mailbox.post(.durable)
        }
    }

    /// Empties the engine and reads the state on disk into it. Ends within a batch once it is no longer wanted.
    private func readBack(_ number: Int, _ horizon: EngineTime) -> Result<RecoveryReport, RecoveryError> {
        let (durability, settings) = (durability, server.currentSettings.value)
        server.engine.removeState()
        server.recoveryProgress.reset()
        let recovery = Recovery(
            files: files, path: driver.log.path, engine: server.engine, horizon: horizon,
            workers: Storage.workers(shards: settings.shards), progress: server.recoveryProgress,
            concurrently: Storage.concurrently, isWanted: { durability.isWanted(restore: number) })
        do throws(RecoveryError) {
            let report = try recovery.run(history: server.runID, cutsTornTail: settings.aofLoadTruncated)
            Storage.note(report.cut, server.log)
            return .success(report)
        } catch {
            return .failure(error)
        }
    }

    // MARK: Status

    private func publishStatus() {
        let driver = driver
        let keys = driver.run.flatMap { run in runs.first { $0.number == run.number } }?.keys ?? 0
        let (wanted, waiting) = (hasSeenLogWanted, driver.bytesWaiting)
        durability.update { $0.follow(driver, isLogging: wanted, bytesWaiting: waiting, snapshotKeys: keys) }
    }
}

extension JournalDriver.SnapshotAnswer {
    /// The answer as a RESP reply.
    fileprivate var reply: String {
        switch self {
        case .finished: "+OK\r\n"
        case .failed(let error): "-ERR \(error)\r\n"
        case .stateIsBeingReplaced: "-LOADING the state is being replaced by the primary's\r\n"
        }
    }
}
