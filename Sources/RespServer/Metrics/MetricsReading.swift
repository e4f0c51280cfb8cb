// A snapshot of the server's state for printing: the counters summed over all loops, and consistent copies of the
// storage and replication status. Rows of `MetricsTable` read only from here, so that the lines of a reply are
// consistent with each other, and tests can construct any state of a server.
//
// Only the data that the requested sections need is read: the latency histograms take a kibibyte per command and loop.

import CLinux
import Glibc
import LimiterEngine
import Persistence
import Synchronization
import System

/// A snapshot of the server's numbers. A value type, which tests modify.
struct MetricsReading: Sendable {
    /// Calls, time and decisions of one command, summed over all loops.
    struct Command: Sendable {
        var name: String
        var sum = CommandStatistics.Sum()
        /// Empty unless the latency section was requested.
        var latency = LatencySnapshot()
    }

    var sections: Set<MetricSection>

    // MARK: Server

    var settings: Settings
    /// Steady time of the reading.
    var steady: SteadyInstant
    /// Engine time of the reading.
    var now: EngineTime
    /// The wall clock.
    var wall: CalendarSecond
    /// Steady time at startup.
    var startedAt: SteadyInstant
    /// Seconds since 1970.
    var startedAtUnix: Int64
    var operatingSystem: String?
    var runID: String
    var configFile: String
    var loopCount: Int
    var shardCount: Int
    /// Engine time minus the wall clock.
    var clockSkew: Nanoseconds

    // MARK: Clients

    var clients: Int
    var replicaConnections: Int
    var clientsMax: Int
    var clientsBlocked: Int
    var clientsEver: Int64
    var clientsRejected: Int64
    /// Those of `clientsRejected` that protected mode rejected.
    var strangersRejected: Int64
    var gatewayConnections = 0
    var adminConnections = 0
    var httpRequests: [HTTPRequests] = []
    var httpDurations: [HTTPDurations] = []
    var channels: Int
    var patterns: Int

    // MARK: Memory

    var memoryUsed = 0
    var memoryOverhead = 0
    var memoryPeak = 0
    var memoryStartup = 0
    var memoryClients = 0
    var memoryResident = 0
    var memoryOfSystem = 0

    // MARK: State

    var engine: Engine.Statistics
    var policies: Int
    /// Decisions by policy, in the order in which policies were first created; `values` by `PolicyStatistics.Field`.
    var byPolicy: [(name: String, values: [UInt64])] = []
    var rules: Int
    var storage: StorageStatus
    var replication: ReplicationStatus
    var journalOffset: Int64
    var journalPendingBytes: Int
    var refusesWrites: Bool
    /// The state is being recovered at startup.
    var isRecovering: Bool
    /// The state is being replaced by a full sync, or by the state on disk.
    var isReceiving: Bool
    var recovery: (done: Int, total: Int)
    var readiness: Readiness
    var syncDurations: LatencySnapshot

    // MARK: Statistics

    /// By `LoopCounters.Counter`, summed over all loops.
    var counters: [UInt64]
    var rates: Rates.PerSecond
    /// In the order of the statistics; empty unless a section about commands was requested.
    var commands: [Command] = []
    var errors: [(word: String, count: Int)] = []
    var unsupportedCalls: UnsupportedCalls.Counts
    var logLinesQueued: Int
    var logLinesDropped: Int
    var logWriteFailures: Int

    // MARK: Process

    var cpu: (system: Double, user: Double)
    var cpuOfChildren: (system: Double, user: Double)
    var openFiles = 0
    var openFilesMax: Int?

    /// Reads the data that `sections` need. For any thread; locks one stripe at a time, or none if `keyspace` holds
    /// all.
    ///
    /// - Parameter steady: Steady time of the reading.
    init(
        of server: Server, _ keyspace: KeyspaceSession, now: EngineTime, steady: SteadyInstant,
        sections: Set<MetricSection>
    ) {
        self.sections = sections
        self.now = now
        self.steady = steady
        settings = server.currentSettings.value
        wall = CalendarSecond.now()
        startedAt = server.startedAt
        startedAtUnix = server.startedAtUnix
        operatingSystem = sections.contains(.server) ? MetricsReading.readOperatingSystem() : nil
        runID = server.runID
        configFile = server.currentSettings.file ?? ""
        loopCount = server.loops.count
        shardCount = server.engine.shardCount
        clockSkew = server.clock.skew()

        clients = server.clientsNow.load(ordering: .relaxed)
        replicaConnections = server.replicasNow.load(ordering: .relaxed)
        clientsMax = server.maxclients
        clientsBlocked = server.clientsBlocked.load(ordering: .relaxed)
        clientsEver = server.clientsEver.load(ordering: .relaxed)
        clientsRejected = server.clientsRejected.load(ordering: .relaxed)
        strangersRejected = server.strangersRejected.load(ordering: .relaxed)
        channels = server.publisher.channelCount
        patterns = server.publisher.patternCount

        engine = keyspace.statistics()
        let table = server.engine.policies.table
        policies = table.policies.count
        if sections.contains(.limiter) {
            byPolicy = MetricsReading.readPolicies(server.engine.policies.series, server.loops)
        }
        rules = table.ruleCount
        storage = server.durability.status
        replication = server.replication.status
        journalOffset = server.durability.journal.offset
        journalPendingBytes = server.durability.journal.pendingBytes
        refusesWrites = server.durability.refusesWrites
        isRecovering = server.isLoading
        isReceiving = server.replication.isReceiving
        recovery = server.recoveryProgress.bytes
        readiness = Readiness(
            ServerState(of: server, servesStaleData: settings.replicaServeStaleData, at: steady),
            isStopping: server.isStopping)
        syncDurations = server.durability.syncDurations.snapshot(command: 0)

        counters = LoopCounters.Counter.allCases.map { server.total($0) }
        rates = server.rates.latest
        unsupportedCalls = server.unsupportedCalls.counts
        logLinesQueued = server.log.queuedLines
        logLinesDropped = server.log.droppedLines
        logWriteFailures = server.log.failedWrites
        cpu = ProcessMemory.cpu()
        cpuOfChildren = ProcessMemory.cpu(children: true)
        readHTTP(server)
        if sections.contains(.memory) { readMemory(server) }
        if !sections.isDisjoint(with: [.commandStatistics, .latencyStatistics]) { readCommands(server) }
        if sections.contains(.errorStatistics) { errors = server.errorStatistics.all }
        if sections.contains(.process) {
            openFiles = OpenFiles.open()
            openFilesMax = OpenFiles.limit()
        }
    }

    private mutating func readMemory(_ server: Server) {
        memoryClients = server.clientMemory
        memoryOverhead = server.memory.overhead(clients: memoryClients)
        memoryUsed = engine.memory + memoryOverhead
        memoryStartup = server.memory.startup
        memoryResident = ProcessMemory.resident()
        memoryPeak = server.memory.peak(with: memoryUsed)
        memoryOfSystem = Int(sysconf(Int32(_SC_PHYS_PAGES))) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    private mutating func readCommands(_ server: Server) {
        let wantsLatency = sections.contains(.latencyStatistics)
        commands = server.commands.flat.map { command in
            Command(
                name: command.fullName, sum: server.statistics(of: command.index),
                latency: wantsLatency ? server.latency(of: command.index) : LatencySnapshot())
        }
    }

    private static func readOperatingSystem() -> String? {
        func text<Tuple>(_ field: Tuple) -> String {
            withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        }
        var system = utsname()
        guard uname(&system) == 0 else { return nil }
        return "\(text(system.sysname)) \(text(system.release)) \(text(system.machine))"
    }

    /// The path of the program.
    static let executable: String = {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard length > 0 else { return "escapement" }
        return String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }()
}

// MARK: Derived values

extension MetricsReading {
    /// A counter summed over all loops.
    func total(_ counter: LoopCounters.Counter) -> MetricValue { .count(counters[counter.rawValue]) }

    private static func readPolicies(
        _ series: PolicySeries, _ loops: [EventLoop]
    ) -> [(name: String, values: [UInt64])] {
        series.names.map { name, number in
            let values = PolicyStatistics.Field.allCases.map { field in
                loops.reduce(0) { $0 &+ $1.policyStatistics.value(number, field) }
            }
            return (name, values)
        }
    }

    var isReplica: Bool { replication.primary != nil }
    /// The state is being recovered or replaced: clients get LOADING.
    var isLoading: Bool { isRecovering || isReceiving }

    /// When loading the state from disk started; nil if it is not being loaded. While receiving a full sync, neither
    /// this nor the remaining size is known.
    var loadingBegan: (unixSeconds: Int64, steady: SteadyInstant)? {
        isRecovering ? (startedAtUnix, startedAt) : storage.restoreBegan
    }

    /// A snapshot for SAVE, BGSAVE or the setting save is under way. One that has been requested counts: clients wait
    /// for the end of theirs, and BGSAVE is refused until then.
    var isSaving: Bool { storage.isSnapshotUnderWay && !storage.isRewriteUnderWay }
    var isRewriting: Bool { storage.isSnapshotUnderWay && storage.isRewriteUnderWay }
    /// How long the running snapshot has been running; zero if it has only been requested.
    var snapshotTime: Nanoseconds { storage.isSnapshotRunning ? since(storage.snapshotStartedAt) : .zero }
    /// The disk is failing, and decisions continue in memory.
    var hasOnlyMemory: Bool { storage.isLogging && !storage.lastWriteSucceeded && !refusesWrites }
    /// Commands that were called, or rejected.
    var commandsSeen: [Command] { commands.filter { $0.sum.calls + $0.sum.rejected + $0.sum.failed > 0 } }
    /// Commands that have made decisions.
    var commandsDeciding: [Command] {
        commands.filter { $0.sum.allowed + $0.sum.denied + $0.sum.undecided > 0 }
    }

    /// The time from `instant` to the reading.
    func since(_ instant: SteadyInstant) -> Nanoseconds { steady - instant }

    /// Estimated seconds until loading is done, at its average rate so far.
    var loadingSecondsLeft: Int64? {
        guard let began = loadingBegan else { return nil }
        let seconds = max(0, since(began.steady).secondsRoundedDown)
        let left = Double(recovery.total - recovery.done) * Double(max(1, seconds)) / Double(max(1, recovery.done))
        return Int64(min(left, 1e9))
    }
}
