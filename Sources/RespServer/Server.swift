// The server: the state shared by all event loops, assembled once.
//
// Owns: the engine, the settings in force, the registries shared by loops (subscriptions, monitors, pause), and the
// lifetime of the loops' threads. The control thread (Lifecycle/ControlThread) accepts connections and handles signals;
// the sweep thread (Lifecycle/SweepThread) sweeps; the loops do everything else.

import CLinux
import Glibc
import LimiterEngine
import Persistence
import Synchronization
import System

/// One server process.
///
/// `@unchecked Sendable`: `loops` is written once before any thread starts; everything else is immutable or
/// synchronizes itself.
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
    let unsupportedCalls = UnsupportedCalls()
    /// Nil unless a service manager started this process and wants to know its state.
    let serviceManager = ServiceManager.fromEnvironment()
    let clientWarnings = ClientWarnings()
    let memory: MemoryMonitor
    let rates = Rates()
    let durability: Durability
    let replication: ReplicationHandle
    let fileJobs = FileJobs()
    let recoveryProgress = RecoveryProgress()
    /// Held by the sweep thread while it sweeps: a thread that acquires it knows that any sweep using an earlier clock
    /// is over.
    let sweepTurn = Lock.allocate(rank: .sweep)
    let startedAt: SteadyInstant
    let startedAtUnix: Int64
    /// 40 hexadecimal digits, new at every start.
    let runID: String
    private(set) var loops: [EventLoop] = []

    /// Connections that count towards maxclients, including replicas'.
    let clientsNow = Atomic<Int>(0)
    let replicasNow = Atomic<Int>(0)
    /// Connections that wait for the reply to a blocking command.
    let clientsBlocked = Atomic<Int>(0)
    let clientsEver = Atomic<Int64>(0)
    /// The last id given to a connection, from a client or opened by this node.
    let lastClientID = Atomic<Int64>(0)
    let clientsRejected = Atomic<Int64>(0)
    /// Those of `clientsRejected` that protected mode rejected.
    let strangersRejected = Atomic<Int64>(0)
    /// When clients were last closed to free memory.
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

    /// Number of event loops that serve clients.
    static func loopCount(_ settings: Settings) -> Int {
        guard settings.ioThreads == 0 else { return settings.ioThreads }
        return max(1, min(128, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
    }

    /// Maximum number of clients: the setting, or what the limit of open files allows.
    var maxclients: Int { min(currentSettings.value.maxclients, openFiles.clientsMax) }

    /// Applies the settings in force, except `appendonly`. One caller at a time: the one that applies last has read the
    /// changes of all. May be called with stripes held, so that the rest of a transaction sees them.
    func applyCurrent() {
        applying.withLock { _ in apply(currentSettings.value) }
        durability.doorbell.ring()
        replication.ask(.settingsChanged)
    }

    /// Applies `appendonly`. Locks every stripe, so it must be called with none held.
    func switchLog() {
        if !isLoading { durability.switchLogging(currentSettings.value.appendonly, engine: engine) }
    }

    /// Adapts the memory limit to the node's role, which has just changed.
    func roleChanged() { applying.withLock { _ in limitMemory(currentSettings.value) } }

    /// State restored at startup was accepted before, and data that a replica receives was accepted by its primary: no
    /// limit applies to either. A replica that evicted keys on its own would not have its primary's state at its
    /// offset.
    private func limitMemory(_ settings: Settings) {
        engine.setMemoryLimit(
            isLoading || replication.isReplica ? 0 : settings.maxmemoryBytes,
            policy: settings.maxmemoryPolicy == .evictSoonest ? .evictSoonest : .refuse)
    }

    /// Applies the settings that are not kept by the event loops.
    private func apply(_ settings: Settings) {
        limitMemory(settings)
        engine.setTokenLimit(settings.idempotencyTokensMax)
        durability.set(failsClosed: settings.failMode == .closed)
        replication.require(
            replicas: settings.minReplicasToWrite, within: .seconds(settings.minReplicasMaxLagSeconds))
        let slow = settings.slowlogLogSlowerThanMicroseconds
        slowLog.threshold = slow < 0 ? .forever : .microseconds(slow)
        slowLog.lengthMax = settings.slowlogMaxLen
        latencyEvents.threshold = .milliseconds(settings.latencyMonitorThresholdMilliseconds)
        log.setLevel(settings.loglevel)
        log.setFormat(settings.logFormat)
    }

    // MARK: Loading

    /// Whether the state is still being restored.
    var isLoading: Bool { loading.load(ordering: .acquiring) }

    /// The state is restored: every client is served from now on.
    func finishLoading() {
        loading.store(false, ordering: .releasing)
        ZoneLoading.warnOfMissing(log)
        applyCurrent()
        switchLog()
    }

    // MARK: Connections

    /// A loop whose turn has lasted longer than this gets no new connections.
    private static let longTurn = Nanoseconds.milliseconds(100)

    /// The loop with the fewest connections, preferring those that are not in the middle of a long command.
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

    /// Waits until every loop has ended, or until `deadline`. Returns the numbers of those that have not.
    func waitForLoops(until deadline: SteadyInstant) -> [Int] {
        while true {
            let seen = loopEnded.count
            let running = runningLoops.withLock { $0 }
            let left = deadline - SteadyInstant.now()
            guard !running.isEmpty, left > .zero else { return running.sorted() }
            loopEnded.wait(since: seen, atMost: left)
        }
    }

    /// Waits until no command is running that had begun before this call: every later command sees what was set before.
    /// Called only by the replication thread.
    func waitForTurnsInProgress() {
        for loop in loops { loop.waitForTurnInProgress() }
    }

    // MARK: Stopping

    /// Whether the server is about to stop.
    var isStopping: Bool { stops.load(ordering: .relaxed) }

    /// Stops the periodic work.
    func stopping() { stops.store(true, ordering: .relaxed) }

    /// Asks the control thread to stop the server, for SHUTDOWN.
    ///
    /// - Parameter savesSnapshot: Whether a snapshot is taken at the end; nil leaves it to the setting `save`.
    func requestShutdown(savesSnapshot: Bool?) {
        shutdownRequests.post(ShutdownRequests.Request(savesSnapshot: savesSnapshot, failure: nil))
    }

    /// Asks the control thread to stop the server, which then exits with an error: it could not start.
    func abandon(_ failure: String) {
        shutdownRequests.post(ShutdownRequests.Request(savesSnapshot: false, failure: failure))
    }

    /// The shutdown request, if there is one.
    var shutdownRequest: ShutdownRequests.Request? { shutdownRequests.current }

    /// Readable once a shutdown has been requested.
    var shutdownDescriptor: Int32 { shutdownRequests.descriptor }
}
