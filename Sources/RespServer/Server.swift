// The server: what all event loops share, put together once.
//
// Owns: the engine, the settings in force, the registries that loops meet in (subscriptions, monitors, pause), and the
// life of the loops' threads. The control thread (Lifecycle/ControlThread) accepts, sweeps and handles signals; the
// loops do everything else.

import CLinux
import Glibc
import LimiterEngine
import Persistence
import Synchronization
import System

/// One server process.
///
/// `@unchecked Sendable`: `loops` is written once before any thread starts; everything else is immutable or guards
/// itself.
final class Server: @unchecked Sendable {
    let engine: Engine
    let clock = EngineClock()
    let commands = CommandRegistry(specs: CommandTable.specs)
    let currentSettings: CurrentSettings
    let log: Log
    let openFiles: OpenFiles
    let publisher = Publisher()
    let monitors = Monitors()
    let pause = PauseState()
    let slowLog: SlowLog
    let latencyEvents = LatencyEvents()
    let errorStatistics = ErrorStatistics()
    let unknownCommands = UnknownCommands()
    let clientWarnings = ClientWarnings()
    let memory: MemoryMonitor
    let rates = Rates()
    let durability: Durability
    let replication: ReplicationHandle
    let fileJobs = FileJobs()
    let recoveryProgress = RecoveryProgress()
    /// Held by the sweep thread while it sweeps: whoever takes it knows that a sweep by an earlier clock is over.
    let sweepTurn = Lock.allocate(rank: .sweep)
    let startedAt: SteadyInstant
    let startedAtUnix: Int64
    /// 40 hexadecimal digits, new at every start.
    let runID: String
    private(set) var loops: [EventLoop] = []

    /// Connections that count for maxclients: replicas' are among them.
    let clientsNow = Atomic<Int>(0)
    let replicasNow = Atomic<Int>(0)
    /// Those that wait for the answer to a command that takes its time.
    let clientsBlocked = Atomic<Int>(0)
    let clientsEver = Atomic<Int64>(0)
    /// Ids are given to connections from clients and to those that this node opens.
    let lastClientID = Atomic<Int64>(0)
    let clientsRejected = Atomic<Int64>(0)
    /// When clients were last closed to save memory.
    let lastClientEviction = Atomic<SteadyInstant>(.distantPast)
    private let shutdownRequests: ShutdownRequests
    private let loading = Atomic<Bool>(true)
    private let applying = Locked((), rank: .settingsEffects)
    private let stops = Atomic<Bool>(false)
    /// Numbers of the loops whose threads run.
    private let runningLoops = Locked<Set<Int>>([])
    private let loopEnded = Doorbell()

    init(settings: CurrentSettings, log: Log, openFiles: OpenFiles? = nil) throws(SystemError) {
        currentSettings = settings
        self.log = log
        self.openFiles = openFiles ?? OpenFiles(settings.value)
        replication = try ReplicationHandle()
        shutdownRequests = try ShutdownRequests()
        let values = settings.value
        engine = Engine(shards: values.shards)
        memory = MemoryMonitor(engine: engine)
        startedAt = SteadyInstant.now()
        startedAtUnix = CalendarSecond.now().unixSeconds
        slowLog = SlowLog()
        durability = Durability(engine: engine)
        var generator = SystemRandomNumberGenerator()
        runID = (0..<40).map { _ in String(Int.random(in: 0..<16, using: &generator), radix: 16) }.joined()
        apply(values)
        for index in 0..<Server.loopCount(values) {
            loops.append(try EventLoop(index: index, server: self))
        }
    }

    /// How many event loops serve clients.
    static func loopCount(_ settings: Settings) -> Int {
        guard settings.ioThreads == 0 else { return settings.ioThreads }
        return max(1, min(128, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
    }

    /// How many clients may be connected at once: the setting, or what the limit of open files allows.
    var maxclients: Int { min(currentSettings.value.maxclients, openFiles.clientsMax) }

    /// Makes the settings in force take effect. One caller at a time: of two CONFIG SETs the one that applies last has
    /// read what both have set. Takes every stripe where the log is switched, so it is called with none held.
    func applyCurrent() {
        applying.withLock { _ in
            apply(currentSettings.value)
            durability.doorbell.ring()
            replication.ask(.settingsChanged)
        }
    }

    /// Has the limit of memory follow the node's role, which has just changed.
    func roleChanged() { applying.withLock { _ in limitMemory(currentSettings.value) } }

    /// What is put back at the start was accepted once, and what comes to a replica its primary has accepted: no limit
    /// applies to either. A replica that forgot keys by itself would not have its primary's state at its offset.
    private func limitMemory(_ settings: Settings) {
        engine.setMemoryLimit(
            isLoading || replication.isReplica ? 0 : settings.maxmemoryBytes,
            policy: settings.maxmemoryPolicy == .evictSoonest ? .evictSoonest : .refuse)
    }

    /// Has settings take effect that live outside of the event loops.
    private func apply(_ settings: Settings) {
        limitMemory(settings)
        engine.setTokenLimit(settings.idempotencyTokensMax)
        if !isLoading { durability.switchLogging(settings.appendonly, engine: engine) }
        let slow = settings.slowlogLogSlowerThanMicroseconds
        slowLog.threshold = slow < 0 ? .forever : .microseconds(slow)
        slowLog.lengthMax = settings.slowlogMaxLen
        latencyEvents.threshold = .milliseconds(settings.latencyMonitorThresholdMilliseconds)
        log.setLevel(settings.loglevel)
        log.setFormat(settings.logFormat)
    }

    // MARK: Loading

    /// Whether the state is still being put back.
    var isLoading: Bool { loading.load(ordering: .acquiring) }

    /// The state is there: everybody is served from here on.
    func finishLoading() {
        loading.store(false, ordering: .releasing)
        applyCurrent()
    }

    // MARK: Connections

    /// A turn that has lasted longer keeps its loop from getting new connections.
    private static let longTurn = Nanoseconds.milliseconds(100)

    /// The loop that has the fewest connections, among those that are not in the middle of a long command.
    func loopForNext() -> EventLoop {
        let longAgo = SteadyInstant.now() - Server.longTurn
        func isBusy(_ loop: EventLoop) -> Bool { loop.turnBeganAt.load(ordering: .relaxed) < longAgo }
        return loops.min { left, right in
            (isBusy(left) ? 1 : 0, left.assigned.load(ordering: .relaxed))
                < (isBusy(right) ? 1 : 0, right.assigned.load(ordering: .relaxed))
        }!
    }

    func connectionClosed() { clientsNow.subtract(1, ordering: .relaxed) }

    // MARK: Loops

    /// Starts a thread for each loop.
    func startLoops() {
        runningLoops.withLock { $0 = Set(loops.map(\.index)) }
        for loop in loops {
            Thread.detach(name: "loop-\(loop.index)") { [self] in
                loop.run()
                runningLoops.withLock { _ = $0.remove(loop.index) }
                loopEnded.ring()
            }
        }
    }

    /// Returns when every loop has ended, or at `deadline`; and the numbers of those that have not.
    func waitForLoops(until deadline: SteadyInstant) -> [Int] {
        while true {
            let seen = loopEnded.count
            let running = runningLoops.withLock { $0 }
            let left = deadline - SteadyInstant.now()
            guard !running.isEmpty, left > .zero else { return running.sorted() }
            loopEnded.wait(since: seen, atMost: left)
        }
    }

    /// Returns when no command is running that had begun before this call: whatever runs from then on has seen what was
    /// set before. Called by the replication thread alone.
    func waitForTurnsInProgress() {
        for loop in loops { loop.waitForTurnInProgress() }
    }

    // MARK: Stopping

    /// Whether the server is about to end.
    var isStopping: Bool { stops.load(ordering: .relaxed) }

    /// Nothing is looked after any more from here on.
    func stopping() { stops.store(true, ordering: .relaxed) }

    /// Asks the control thread to stop the server: SHUTDOWN.
    ///
    /// - Parameter savesSnapshot: Whether a snapshot is taken at the end; nil leaves it to the setting `save`.
    func requestShutdown(savesSnapshot: Bool?) {
        shutdownRequests.post(ShutdownRequests.Request(savesSnapshot: savesSnapshot, failure: nil))
    }

    /// Asks the control thread to stop the server, which then ends with an error: it could not start.
    func abandon(_ failure: String) {
        shutdownRequests.post(ShutdownRequests.Request(savesSnapshot: false, failure: failure))
    }

    /// What has been asked for.
    var shutdownRequest: ShutdownRequests.Request? { shutdownRequests.current }

    /// Readable once a shutdown has been asked for.
    var shutdownDescriptor: Int32 { shutdownRequests.descriptor }
}
