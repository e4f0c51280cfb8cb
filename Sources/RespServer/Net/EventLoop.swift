// One event loop: a thread, an epoll, and the connections dealt to it.
//
//   epoll_wait ─▶ begin turn ─▶ waves of ready connections (+Requests) ─▶ mailbox ─▶ housekeeping ─▶ end turn
//
// Owns its connections and its buffers; nobody else touches them without its turn lock. Refuses to block: everything
// that could wait (a slow peer, CLIENT PAUSE) is a state of a connection, never of the loop.
//
// Two halves meet here. Other files of this folder are the one that moves bytes: +Turn (beginning, ending and lending
// turns), +Requests (waves: read, consume, decide, write), +Connections (coming and going), +Ending. None of them knows
// what is spoken: they ask a connection's session (Sessions/Session). Sessions/ is the half that does, with +Dispatch
// (from a request to its handler) and +LimiterCalls; Execution/ has what a command needs to itself and what follows it.

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
    /// Outlives the loop: it joins the loop's thread.
    unowned(unsafe) let server: Server
    let lookup: CommandLookup
    /// The server's own, asked with every command.
    let commands: CommandRegistry
    let durability: Durability
    let replication: ReplicationHandle
    let slowLog: SlowLog
    let latencyEvents: LatencyEvents
    let monitors: Monitors
    /// Position of CL.THROTTLE in the command table.
    let throttle: Int
    /// How each command is batched, by its position in the command table.
    let batched: UnsafePointer<BatchEntry>
    let turn: Lock
    /// The turn under way, counted from 1; 0 between turns. A turn that lends its lock is still under way.
    var currentTurn = 0
    var lastTurn = 0
    /// This turn has given its lock up in between, so another thread may be waiting for its end.
    var hasLentTurn = false
    /// Rings at the end of a turn that has lent its lock.
    let turnEnded = Doorbell()
    /// When the turn under way began; the distant future between turns.
    let turnBeganAt = Atomic<SteadyInstant>(.distantFuture)
    let mailbox: Mailbox<LoopMessage>
    let counters = LoopCounters()
    let commandStatistics: CommandStatistics
    /// Connections dealt to this loop and not yet closed; any thread counts.
    let assigned = Atomic<Int>(0)
    /// Bytes that this loop's connections make the server keep; any thread looks.
    let clientMemory = Atomic<Int>(0)
    /// They have become more since the limit was last looked at.
    var hasMoreClientMemory = false

    let poller: Poller
    let keyspace: KeyspaceSession
    let arguments = ArgumentList()
    let reply = ReplyBuffer(capacity: LoopBuffers.outputRetained)
    let buffers = LoopBuffers()
    let batch = Batch()
    let context: CommandContext
    /// Limits that clients of this loop have said lately.
    let limitCache = LimitCache()

    var connections: [Connection] = []
    /// Connections closed in this turn: epoll may still have events that name them.
    var closedThisTurn: [Connection] = []
    var suspended: [Connection] = []
    /// Connections with replies that wait for the disk; some of them may have been closed since.
    var holding: [Connection] = []
    /// Connections whose peer has ended its input, or that close after their reply, with something still to come; some
    /// of them may have been closed since.
    var ending: [Connection] = []
    /// Commands answered in slices, the next first: see EventLoop+Slices.
    var sliced: [SlicedCommand] = []
    /// The command being run has begun to be answered in slices.
    var begunSlices: SlicedCommand?
    /// Connections whose next command was put off to the next turn, in order.
    var deferred: [Connection] = []
    /// Messages on their way to this loop's connections.
    var deliveries = Deliveries()
    /// A turn that has lasted this long puts commands off.
    var turnLimit = EventLoop.turnMax
    /// Steps that the EXEC under way may still spend on patterns.
    var transactionSteps = 0
    /// The last ticket that a reply of this loop waits for; any thread looks.
    let awaitedTicket = Atomic<Int>(0)

    let clock: EngineClock
    /// Engine time of this turn.
    var now: EngineTime
    /// When the last command or batch of this turn ended; the turn's beginning before the first.
    var lastTimestamp = SteadyInstant.boot
    /// Only parsing has been done since `lastTimestamp`: the next command begins there, without a read.
    var isTimestampFresh = false
    /// Steady time of this turn.
    var steady = SteadyInstant.boot
    /// The wall clock of this turn, for logs that people read.
    var unixSeconds: Int64 = 0
    var settings: Settings
    var limits: RequestLimits
    private var settingsVersion = 0
    /// What the server as a whole is in, as last looked at.
    var state: ServerState = []
    /// This loop keeps collections of the journal out, for the command it runs.
    var excludesCollections = false
    /// An EXEC runs: its commands wait for nothing.
    var isExecuting = false
    /// This loop holds every loop's turn lock.
    var hasStoppedAllLoops = false
    /// What the command being run leaves to be done once nothing is held.
    var followUp = FollowUp()
    /// Messages that the command being run has published to its own connection.
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
        throttle = server.commands.throttle
        batched = server.commands.batched
        mailbox = try Mailbox()
        poller = try Poller(capacity: EventLoop.eventsMax)
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

    /// Most descriptors that one turn looks at.
    private static let eventsMax = 512
    /// The poller's token of the mailbox; any other is the address of a connection.
    private static let mailToken: UInt64 = 0

    /// Serves until told to leave. The loop's own thread.
    func run() {
        var isTurnWanted = false
        while !isLeaving {
            let ready = poller.wait(milliseconds: timeout(isTurnWanted))
            beginTurn()
            runTurn(events: ready)
            isTurnWanted = endTurn()
        }
    }

    /// Milliseconds to wait for events at most. With work left over there is no waiting, unless another thread waits
    /// for this loop's turn lock: it has to wake up first, and would find the lock taken again each time.
    private func timeout(_ isTurnWanted: Bool) -> Int32 {
        if hasWorkLeft { return isTurnWanted ? 1 : 0 }
        return needsTick ? 100 : -1
    }

    /// Whether something has to be looked at although no descriptor is ready. Read by the loop's own thread only.
    private var needsTick: Bool {
        settings.timeoutSeconds > 0 || !suspended.isEmpty || softLimitWatch > 0 || !ending.isEmpty
            || hasMoreClientMemory
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

    /// What time it is for the commands to come: at the beginning of a turn, and when one has waited for other threads.
    func readClocks() {
        now = clock.now()
        steady = SteadyInstant.now()
        unixSeconds = CalendarSecond.now().unixSeconds
    }

    /// Looks at what concerns every command.
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
            case .filesDone(let connection, let reply, let hasChanged):
                unblock(connection, reply, hasChanged: hasChanged)
                // No wave ends here that would look whether the change has reached the disk before it was waited for.
                releaseHeld()
            case .resume: resumeSuspended()
            case .settingsChanged: releaseHeld()
            case .drain(let deadline): drain(until: deadline)
            }
        }
    }

    /// What happens about ten times a second when there is cause.
    private func housekeep() {
        guard needsTick, steady - lastHousekeeping >= .milliseconds(90) else { return }
        lastHousekeeping = steady
        if !suspended.isEmpty, !server.pause.isActive(steady) { resumeSuspended() }
        closeIdle()
        closeStalledEnds()
        checkSoftLimits()
    }

    /// Takes over settings that CONFIG SET changed, on this loop or another.
    func refreshSettings() {
        let version = server.currentSettings.version
        guard version != settingsVersion else { return }
        settingsVersion = version
        settings = server.currentSettings.value
        limits = EventLoop.limits(settings)
        // The limit of it may be another one.
        hasMoreClientMemory = true
    }

    private static func limits(_ settings: Settings) -> RequestLimits {
        RequestLimits(bulkLengthMax: settings.protoMaxBulkLenBytes, argumentsMax: LoopBuffers.argumentsMax)
    }

    /// Answers what has been received, sends what has been answered, and leaves.
    private func drain(until deadline: SteadyInstant) {
        turnLimit = .forever
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
            // Another loop may have to stop all loops before it can drain: it must not wait for our slow peers. No
            // command is begun in this turn any more, so it need not wait for the end of this function, either.
            endTurn()
            _ = poll(&descriptors, nfds_t(descriptors.count), sliced.isEmpty ? 50 : 0)
            beginTurn()
            // What else is in the mail is for connections that are about to be closed.
            _ = mailbox.drain()
            for connection in unsent { sendPending(connection) }
        }
        for connection in connections { close(connection) }
        isLeaving = true
    }
}
