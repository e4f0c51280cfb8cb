// The data directory throughout the server's life: locked at startup, restored while clients get LOADING, then owned by
// the journal thread until the end.

import CLinux
import Glibc
import LimiterEngine
import Persistence
import Replication
import Synchronization
import System

/// The directory and the thread that works on it.
final class Storage: Sendable {
    private let server: Server
    private let files: any FileSystem = RealFileSystem()
    private let path: String
    /// Held for the lifetime of this object.
    private let lock: any DirectoryLock
    private let progress = Locked(Progress.recovering)
    private let changed = Doorbell()
    private let replicationToStart = Locked<ReplicationThread?>(nil)

    private enum Progress {
        case recovering
        case working
        case ended(isSafe: Bool)
    }

    /// Prepares and locks the directory. The error is a sentence that names it.
    static func lock(_ settings: Settings) throws(DataDirectoryError) -> any DirectoryLock {
        try DataDirectory.prepare(settings.dir)
        try DataDirectory.prepare("\(settings.dir)/\(settings.appenddirname)")
        let lock: (any DirectoryLock)?
        do throws(StorageError) {
            lock = try RealFileSystem().lock("\(settings.dir)/\(DataDirectory.lockName)")
        } catch {
            throw DataDirectoryError(text: "\(error)")
        }
        guard let lock else {
            throw DataDirectoryError(text: "'\(settings.dir)' is in use by another server")
        }
        return lock
    }

    init(server: Server, lock: any DirectoryLock) {
        self.server = server
        self.lock = lock
        let settings = server.currentSettings.value
        path = "\(settings.dir)/\(settings.appenddirname)"
    }

    /// Starts restoring the state. Clients are served when that is done.
    func start() {
        let (role, savedRole) = role(server.currentSettings.value)
        if case .replica(let address) = role {
            // Shown by INFO and ROLE from the first client on. Reading the files will show whether the node is
            // promotable.
            server.replication.update {
                $0.primary = address
                $0.isPromotable = false
            }
        }
        Thread.detach(name: "journal") { [self] in
            do throws(RecoveryError) {
                let journal = JournalThread(server: server, files: files, log: try recover(role, savedRole))
                progress.withLock { $0 = .working }
                replicationToStart.withLock { $0 }?.start()
                let isSafe = journal.work()
                progress.withLock { $0 = .ended(isSafe: isSafe) }
            } catch {
                server.log.warning("cannot restore the state", ["error": "\(error)"])
                progress.withLock { $0 = .ended(isSafe: false) }
                let directory = server.currentSettings.value.dir
                server.abandon("cannot restore the state: \(error)\(error.remedy(directory: directory))")
            }
            changed.ring()
        }
    }

    // MARK: Recovery

    private func recover(
        _ role: NodeRole.Role, _ savedRole: SavedRole?
    ) throws(RecoveryError) -> LogDirectory {
        let settings = server.currentSettings.value
        let began = SteadyInstant.now()
        let workers = Storage.workers(shards: settings.shards)
        // A replica's own clock cannot tell which of its primary's state is still in force.
        let horizon = role == .primary ? server.clock.now() : EngineTime(nanoseconds: 0)
        let recovery = Recovery(
            files: files, path: path, engine: server.engine, horizon: horizon, workers: workers,
            progress: server.recoveryProgress, concurrently: Storage.concurrently)
        // The journal that a replica begins before it has a state of its primary's is unowned.
        let name = role == .primary ? server.runID : ReplicationID.unowned.text
        let report = try recovery.run(history: name, cutsTornTail: settings.aofLoadTruncated)
        server.clock.advance(to: report.lastTime)
        note(report, took: SteadyInstant.now() - began)
        let log = LogDirectory(files: files, path: path, recovered: report)
        log.removeLeftovers()
        server.durability.journal.start(at: report.end)
        if role != .primary { server.durability.set(isPrimary: false, engine: server.engine) }
        // Nothing is written until the replication thread has set the history of the journal.
        server.replication.set(isReplica: true)
        if settings.appendonly { begin(log, at: report.end) }
        let replication = ReplicationThread(server: server, report: report, role: role, saved: savedRole)
        if savedRole != nil {
            server.durability.switchStreamOn(engine: server.engine)
            server.durability.stream.beginBacklog(capacity: settings.replBacklogSizeBytes)
        }
        replicationToStart.withLock { $0 = replication }
        return log
    }

    /// The node's role: the last one set at run time, else the one from the settings. Also returns the contents of the
    /// role file.
    private func role(_ settings: Settings) -> (NodeRole.Role, saved: SavedRole?) {
        let words = ConfigWord.split(settings.replicaof)
        let configured = PeerAddress(words: words).map { NodeRole.Role.replica(of: $0) } ?? .primary
        do throws(StorageError) {
            let found = try RoleFile.read(directory: settings.dir)
            let role = SavedRole.role(found, configured: configured)
            note(role, found, settings, isConfigured: role == configured)
            return (role, found)
        } catch {
            server.log.warning("cannot read the role", ["error": "\(error)"])
            note(configured, nil, settings, isConfigured: true)
            return (configured, nil)
        }
    }

    /// Logs the primary that the node follows, and the role file if it overrides the settings.
    private func note(_ role: NodeRole.Role, _ saved: SavedRole?, _ settings: Settings, isConfigured: Bool) {
        let file = "\(settings.dir)/\(RoleFile.name)"
        switch role {
        case .replica(let address) where isConfigured:
            server.log.notice(
                "starting as a replica: set by replicaof",
                ["host": "\(address.host)", "port": .integer(address.port)])
        case .replica(let address):
            var why = "the last REPLICAOF or FAILOVER"
            if case .handingOver = saved { why = "an unfinished handover to that node" }
            server.log.notice(
                "starting as a replica: set by the role file, which overrides replicaof until it is removed",
                [
                    "host": "\(address.host)", "port": .integer(address.port), "file": "\(file)", "because": "\(why)",
                    "replicaof": "\(settings.replicaof)",
                ])
        case .primary where !isConfigured:
            server.log.notice(
                "starting as a primary: set by the role file, which overrides replicaof until it is removed",
                ["file": "\(file)", "replicaof": "\(settings.replicaof)"])
        case .primary: break
        }
    }

    /// The number of cores, rounded down to a power of two.
    static func workers(shards: Int) -> Int {
        let cores = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        var workers = 1
        while workers * 2 <= min(cores, shards, 64) { workers *= 2 }
        return workers
    }

    static func concurrently(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        let threads = (0..<count).map { number in Thread.start(name: "restore-\(number)") { body(number) } }
        for thread in threads { pthread_join(thread, nil) }
    }

    /// Begins a segment after the restored log. If the disk refuses, the journal thread reports it and retries.
    private func begin(_ log: LogDirectory, at offset: Int64) {
        do throws(StorageError) {
            try log.roll(at: offset, time: server.clock.now(), continues: true)
        } catch {
            server.log.warning("cannot begin a log segment", ["error": "\(error)"])
            return
        }
        server.durability.switchLogging(true, engine: server.engine)
        _ = server.durability.stream.beginDisk()
    }

    /// Logs what recovery has truncated, if anything.
    static func note(_ cut: (file: String, position: Int, bytes: Int)?, _ log: Log) {
        guard let cut else { return }
        log.warning(
            "log tail torn by a crash; truncated",
            ["file": "\(cut.file)", "byte": .integer(cut.position), "bytes": .integer(cut.bytes)])
    }

    private func note(_ report: RecoveryReport, took: Nanoseconds) {
        Storage.note(report.cut, server.log)
        if report.foundState {
            server.log.notice(
                "state restored",
                [
                    "records": .integer(report.records),
                    "keys": .integer(KeyspaceSession(engine: server.engine).statistics().keys),
                    "bytes": .integer(report.snapshotBytes + report.logBytes),
                    "milliseconds": .integer(Int(took.millisecondsRoundedDown)),
                ])
        }
        noteDatabases()
        let skew = server.clock.skew()
        if skew > .seconds(1) {
            server.log.warning(
                "the clock is behind the last time in the log; engine time continues from there, so no limiter "
                    + "replenishes early", ["seconds": .integer(Int(skew.secondsRoundedDown))])
        }
        let (records, cut) = (report.records, report.cut?.bytes ?? 0)
        server.durability.update { status in
            status.recoveredRecords = records
            status.recoveryTook = took
            status.cutBytes = cut
            status.lastSaveTime = CalendarSecond.now().unixSeconds
        }
    }

    /// Warns of restored keys that no command can reach.
    private func noteDatabases() {
        let databases = server.currentSettings.value.databases
        let all = KeyspaceSession(engine: server.engine).statistics().databases
        let beyond = all.dropFirst(databases).reduce(0) { $0 + $1.keys }
        guard beyond > 0 else { return }
        server.log.warning(
            "keys in databases beyond the setting `databases` are kept, but commands cannot reach them",
            ["keys": .integer(beyond), "databases": .integer(databases)])
    }

    // MARK: End

    /// Makes everything durable. False if that did not succeed by `deadline`.
    func stop(savesSnapshot: Bool, deadline: SteadyInstant) -> Bool {
        // While recovery runs, everything is still on disk.
        if case .recovering = progress.withLock({ $0 }) { return true }
        // A state being restored from disk is not worth waiting for, either.
        server.durability.want(restore: 0)
        server.durability.ask(.stop(savesSnapshot: savesSnapshot))
        while true {
            let seen = changed.count
            if case .ended(let isSafe) = progress.withLock({ $0 }) { return isSafe }
            let left = deadline - SteadyInstant.now()
            guard left > .zero else {
                server.log.warning("the disk took longer than shutdown-timeout; the last changes may be missing")
                return false
            }
            changed.wait(since: seen, atMost: left)
        }
    }
}
