// The server: what all event loops share, put together once.
//
// Owns: the engine, the settings in force, the registries that loops meet in (subscriptions, monitors, pause), and the
// life of the loops' threads. The control thread (Lifecycle/ControlThread) accepts, sweeps and handles signals; the
// loops do everything else.

import Glibc
import LimiterEngine
import Synchronization

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
    let publisher = Publisher()
    let monitors = Monitors()
    let pause = PauseState()
    let slowLog: SlowLog
    let latencyEvents = LatencyEvents()
    let errorStatistics = ErrorStatistics()
    let rates = Rates()
    let startedAt: Int64
    /// 40 hexadecimal digits, new at every start.
    let runID: String
    private(set) var loops: [EventLoop] = []

    let clientsNow = Atomic<Int>(0)
    let clientsEver = Atomic<Int64>(0)
    let clientsRejected = Atomic<Int64>(0)
    let peakMemory = Atomic<Int>(0)
    private let shutdownRequests = ShutdownRequests()
    private let applying = Guarded(())

    init(settings: CurrentSettings, log: Log) throws(SystemError) {
        currentSettings = settings
        self.log = log
        let values = settings.value
        engine = Engine(shards: values.shards)
        startedAt = clock.now().nanoseconds
        slowLog = SlowLog()
        var generator = SystemRandomNumberGenerator()
        runID = (0..<40).map { _ in String(Int.random(in: 0..<16, using: &generator), radix: 16) }.joined()
        apply(values)
        let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        for index in 0..<(values.ioThreads == 0 ? max(1, min(128, cores)) : values.ioThreads) {
            loops.append(try EventLoop(index: index, server: self))
        }
    }

    /// Has the settings in force take effect, and returns them. One at a time: of two CONFIG SETs the one that
    /// applies last has read what both have set.
    func applyCurrent() -> Settings {
        applying.withLock { _ in
            let settings = currentSettings.value
            apply(settings)
            return settings
        }
    }

    /// Has settings take effect that live outside of the event loops.
    private func apply(_ settings: Settings) {
        engine.setMemoryLimit(
            settings.maxmemoryBytes, policy: settings.maxmemoryPolicy == .evictSoonest ? .evictSoonest : .refuse)
        slowLog.thresholdMicroseconds = Int64(settings.slowlogLogSlowerThanMicroseconds)
        slowLog.lengthMax = settings.slowlogMaxLen
        latencyEvents.thresholdMilliseconds = Int64(settings.latencyMonitorThresholdMilliseconds)
        log.setLevel(settings.loglevel)
        log.setFormat(settings.logFormat)
    }

    // MARK: Connections

    /// The loop that has the fewest connections.
    func loopForNext() -> EventLoop {
        loops.min { $0.assigned.load(ordering: .relaxed) < $1.assigned.load(ordering: .relaxed) }!
    }

    func connectionClosed() { clientsNow.subtract(1, ordering: .relaxed) }

    /// Takes a connection out of everything that loops share. Its loop is closing it.
    func forget(_ connection: Connection) {
        connection.loop.assigned.subtract(1, ordering: .relaxed)
        if connection.flags.contains(.monitor) { monitors.remove(connection) }
        if connection.subscriptions != nil { publisher.unsubscribeAll(connection) }
    }

    // MARK: Stopping

    /// Asks the control thread to stop the server: SHUTDOWN.
    func requestShutdown() { shutdownRequests.post() }

    /// Readable once a shutdown has been asked for.
    var shutdownDescriptor: Int32 { shutdownRequests.descriptor }
}
