// One event loop: a thread, an epoll, and the connections assigned to it.
//
//   epoll_wait ─▶ begin turn ─▶ waves of ready connections (+Requests) ─▶ mailbox ─▶ housekeeping ─▶ end turn
//
// Owns its connections and its buffers; no other thread accesses them without its turn lock. Refuses to block:
// everything that could wait (a slow peer, CLIENT PAUSE) is a state of a connection, never of the loop.
//
// The loop has two halves. The other files of this folder move bytes: +Turn (beginning, ending and lending turns),
// +Requests (waves: read, consume, decide, write), +Connections (adopting and closing), +Ending. They do not know the
// protocol; they call a connection's session (Sessions/Session). Sessions/ is the half that does know it, with
// +Dispatch (from a request to its handler) and +LimiterCalls. Execution/ has the exclusive access that commands need,
// and the work that follows them.

import CLinux
import Glibc
import LimiterEngine
import RESP
import Synchronization
import System
import Transport

/// An event loop and everything that belongs to its thread.
///
/// `@unchecked Sendable`: `mailbox`, `turn`, `turnEnded`, `turnBeganAt`, `counters`, `commandStatistics`, `assigned`,
/// `clientMemory`, `awaitedTicket`, `index` and `server` may be used by any thread; everything else only with `turn`
/// held.
final class EventLoop: @unchecked Sendable {
    let index: Int
    /// Outlives the loop.
    unowned(unsafe) let server: Server
    let lookup: CommandLookup
    /// The server's own registry, used by every command.
    let commands: CommandRegistry
    let durability: Durability
    let replication: ReplicationHandle
    let slowLog: SlowLog
    let latencyEvents: LatencyEvents
    let monitors: Monitors
    /// How each command is batched, by its position in the command table.
    let batched: UnsafePointer<BatchEntry>
    let turn: Lock
    /// The turn in progress, numbered from 1; 0 between turns. A turn that lends its lock is still in progress.
    var currentTurn = 0
    var lastTurn = 0
    /// This turn has lent its lock, so another thread may be waiting for its end.
    var hasLentTurn = false
    /// Rings at the end of a turn that has lent its lock.
    let turnEnded = Doorbell()
    /// When the turn in progress began; the distant future between turns.
    let turnBeganAt = Atomic<SteadyInstant>(.distantFuture)
    let mailbox: Mailbox<LoopMessage>
    let counters = LoopCounters()
    let commandStatistics: CommandStatistics
    let policyStatistics = PolicyStatistics()
    /// Connections assigned to this loop and not yet closed; modified by any thread.
    let assigned = Atomic<Int>(0)
    /// Bytes of memory that this loop's connections use; read by any thread.
    let clientMemory = Atomic<Int>(0)
    /// `clientMemory` has grown since the limit was last checked.
    var hasMoreClientMemory = false

    let poller: Poller
    let keyspace: KeyspaceSession
    let arguments = ArgumentList()
    let reply = ReplyBuffer(capacity: LoopBuffers.outputRetained)
    let buffers = LoopBuffers()
    let batch = Batch()
    let http: HTTPLoop
    let context: CommandContext
    /// Cache of limits that clients of this loop specified recently.
    let limitCache = LimitCache()
    /// Finds known scripts by SHA-1, and by the texts that clients of this loop sent.
    let scripts = ScriptTable.lookup
    let scriptTexts = ScriptTexts(ScriptTable.lookup)
    /// How the script that was added to the batch last is answered, and its number.
    @exclusivity(unchecked) var batchedScript = (form: Batch.ReplyForm.scriptSum, number: UInt8(0))

    // Only the holder of the turn lock touches what follows, and no function changes one of these while it is being
    // changed. The lists that every turn looks at are therefore not checked for exclusivity at run time: thirteen such
    // checks were a fifth of the instructions of a command that came alone.
    var connections: [Connection] = []
    /// Connections closed in this turn: epoll may still have events that refer to them.
    @exclusivity(unchecked) var closedThisTurn: [Connection] = []
    @exclusivity(unchecked) var suspended: [Connection] = []
    /// Connections with replies that wait for the disk; some of them may have been closed meanwhile.
    @exclusivity(unchecked) var holding: [Connection] = []
    /// Connections with replies or requests outstanding that are about to close: their peer has ended its input, or
    /// they close after their reply. Some of them may have been closed meanwhile.
    @exclusivity(unchecked) var ending: [Connection] = []
    /// Commands answered in slices, the next first: see EventLoop+Slices.
    @exclusivity(unchecked) var sliced: [SlicedCommand] = []
    /// Set when the command being run is to be answered in slices.
    var begunSlices: SlicedCommand?
    /// Connections whose next command was deferred to the next turn, in order.
    @exclusivity(unchecked) var deferred: [Connection] = []
    /// Messages on their way to this loop's connections.
    @exclusivity(unchecked) var deliveries = Deliveries()
    /// Commands are deferred once a turn has lasted this long.
    var turnLimit = EventLoop.turnMax
    /// Steps that the EXEC in progress may still spend on patterns.
    var transactionSteps = 0
    /// The last ticket that a reply of this loop waits for; read by any thread.
    let awaitedTicket = Atomic<Int>(0)

    let clock: EngineClock
    /// Engine time of this turn.
    var now: EngineTime
    /// When the last command or batch of this turn ended; the turn's beginning before the first.
    var lastTimestamp = SteadyInstant.boot
    /// Only parsing has happened since `lastTimestamp`: the next command begins there, without reading the clock.
    var isTimestampFresh = false
    /// Steady time of this turn.
    var steady = SteadyInstant.boot
    /// The wall clock of this turn, for human-readable logs.
    var unixSeconds: Int64 = 0
    var settings: Settings
    var limits: RequestLimits
    private var settingsVersion = 0
    /// The state of the server as a whole, as last read.
    var state: ServerState = []
    /// This loop excludes collections of the journal while it runs a command.
    var excludesCollections = false
    /// An EXEC is running: its commands must not wait for anything.
    var isExecuting = false
    /// This loop holds every loop's turn lock.
    var hasStoppedAllLoops = false
    /// Work that the command being run leaves for when no lock is held.
    var followUp = FollowUp()
    /// Messages that the command being run published to its own connection.
    var ownMessages: [MessageBytes] = []
    var isLeaving = false
    private var lastHousekeeping = SteadyInstant.boot

    init(index: Int, server: Server) throws(SystemError) {
        self.index = index
        self.server = server
        turn = .allocate(rank: .turn, order: index)
        lookup = server.commands.lookup
        commands = server.commands
        durability = server.durability
        replication = server.replication
        slowLog = server.slowLog
        latencyEvents = server.latencyEvents
        monitors = server.monitors
        batched = server.commands.batched
        mailbox = try Mailbox()
        poller = try Poller(capacity: EventLoop.eventsMax)
        http = HTTPLoop(server.commands)
        keyspace = KeyspaceSession(engine: server.engine)
        clock = server.clock
        now = clock.now()
        steady = SteadyInstant.now()
        settings = server.currentSettings.value
        limits = EventLoop.limits(settings)
        commandStatistics = CommandStatistics(commands: server.commands.flat.count)
        context = CommandContext(server: server, arguments: arguments, reply: reply, keyspace: keyspace)
        context.loop = self
        try poller.add(mailbox.wakeDescriptor, .readable, token: EventLoop.mailToken)
    }

    deinit { turn.deallocate() }

    // MARK: Running

    /// Maximum number of descriptors handled in one turn.
    private static let eventsMax = 512
    /// The poller's token of the mailbox; any other is the address of a connection.
    private static let mailToken: UInt64 = 0

    /// Serves until told to leave. Runs on the loop's own thread.
    func run() {
        var isTurnWanted = false
        while !isLeaving {
            let ready = poller.wait(milliseconds: timeout(isTurnWanted))
            beginTurn()
            runTurn(events: ready)
            isTurnWanted = endTurn()
        }
    }

    /// Maximum time to wait for events, in milliseconds. With work left over the loop does not wait, unless another
    /// thread waits for its turn lock: that thread has to wake up first, and would otherwise find the lock taken again
    /// each time.
    private func timeout(_ isTurnWanted: Bool) -> Int32 {
        if hasWorkLeft { return isTurnWanted ? 1 : 0 }
        return needsTick ? 100 : -1
    }

    /// Whether something has to be checked although no descriptor is ready. Read by the loop's own thread only.
    private var needsTick: Bool {
        settings.timeoutSeconds > 0 || http.connections > 0 || !suspended.isEmpty || softLimitWatch > 0
            || !ending.isEmpty || hasMoreClientMemory
    }
    /// Connections whose output is over the soft limit.
    var softLimitWatch = 0

    func runTurn(events count: Int) {
        readClocks()
        turnBeganAt.store(steady, ordering: .relaxed)
        lastTimestamp = steady
        refreshSettings()
        refreshState()
        resumeDeferred()
        var hasMail = false
        for number in 0..<count {
            let (token, events) = poller.event(number)
            guard token != EventLoop.mailToken else {
                hasMail = true
                continue
            }
            let connection = Unmanaged<Connection>.fromOpaque(UnsafeRawPointer(bitPattern: UInt(token))!)
                .takeUnretainedValue()
            serve(connection, events: events)
        }
        finishWave()
        if hasMail { readMail() }
        deliverMessages()
        advanceSliced()
        housekeep()
        closedThisTurn.removeAll()
        evictClients()
    }

    /// Reads the clocks for the commands to come: at the beginning of a turn, and when a command has waited for other
    /// threads.
    func readClocks() {
        now = clock.now()
        steady = SteadyInstant.now()
        unixSeconds = CalendarSecond.now().unixSeconds
    }

    /// Refreshes the state of the server that every command depends on.
    func refreshState() {
        state = ServerState(of: server, servesStaleData: settings.replicaServeStaleData, at: steady)
    }

    private func readMail() {
        for message in mailbox.drain() {
            switch message {
            case .adopt(let stream, let id, let kind, let isUnixSocket):
                adopt(stream, id: id, kind: kind, isUnixSocket: isUnixSocket)
            case .deliver(let bytes, let receivers): deliveries.append(bytes, to: receivers)
            case .closeMarked:
                for connection in connections where connection.flags.contains(.closeSoon) { close(connection) }
            case .closeClients(let last, let asker): closeClients(upTo: last, except: asker)
            case .durable: releaseHeld()
            case .unblock(let connection, let reply): unblock(connection, reply)
            case .waitsLong(let connection): noteLongWait(of: connection)
            case .replyDone(let connection, let reply, let hasChanged):
                unblock(connection, responseBytes(to: connection, reply) ?? reply, hasChanged: hasChanged)
                // No wave ends after this, so check here whether the change is already on disk.
                releaseHeld()
            case .resume: resumeSuspended()
            case .settingsChanged: releaseHeld()
            case .pulse(let pulse): pulse.answer()
            case .drain(let deadline): drain(until: deadline)
            }
        }
    }

    /// Housekeeping, about ten times a second while needed.
    private func housekeep() {
        guard needsTick, steady - lastHousekeeping >= .milliseconds(90) else { return }
        lastHousekeeping = steady
        if !suspended.isEmpty, !server.pause.isActive(steady) { resumeSuspended() }
        closeIdle()
        closeStalledEnds()
        checkSoftLimits()
    }

    /// Adopts settings that CONFIG SET changed, on this loop or another.
    func refreshSettings() {
        let version = server.currentSettings.version
        guard version != settingsVersion else { return }
        settingsVersion = version
        settings = server.currentSettings.value
        limits = EventLoop.limits(settings)
        // The limit may have changed.
        hasMoreClientMemory = true
    }

    private static func limits(_ settings: Settings) -> RequestLimits {
        RequestLimits(bulkLengthMax: settings.protoMaxBulkLenBytes, argumentsMax: LoopBuffers.argumentsMax)
    }

    /// Answers the received requests that can begin before the deadline, sends all replies, and leaves.
    private func drain(until deadline: SteadyInstant) {
        turnLimit = max(.zero, deadline - steady)
        deliverMessages()
        resumeDeferred()
        for connection in connections where !connection.flags.contains(.closed) {
            serve(connection, events: .readable)
        }
        finishWave()
        while SteadyInstant.now() < deadline {
            releaseHeld()
            advanceSliced()
            let unsent = connections.filter { $0.channel.hasOutput }
            if unsent.isEmpty, holding.isEmpty, sliced.isEmpty { break }
            var descriptors = unsent.map {
                pollfd(fd: $0.channel.stream.descriptor, events: Int16(POLLOUT), revents: 0)
            }
            descriptors.append(pollfd(fd: mailbox.wakeDescriptor, events: Int16(POLLIN), revents: 0))
            // Another loop may have to stop all loops before it can drain: it must not wait for this loop's slow peers.
            // No further command begins in this turn, so that loop need not wait for the end of this function either.
            endTurn()
            _ = poll(&descriptors, nfds_t(descriptors.count), sliced.isEmpty ? 50 : 0)
            beginTurn()
            // Any other messages are for connections that are about to be closed.
            _ = mailbox.drain()
            for connection in unsent { sendPending(connection) }
        }
        for connection in connections { close(connection) }
        isLeaving = true
    }
}
