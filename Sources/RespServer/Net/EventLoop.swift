// One event loop: a thread, an epoll, and the connections dealt to it.
//
//   epoll_wait ─▶ lock turn ─▶ waves of ready connections (+Wave) ─▶ mailbox ─▶ housekeeping ─▶ unlock ─▶ epoll_wait
//
// Owns its connections and its buffers; nobody else touches them without its turn lock. Refuses to block: everything
// that could wait (a slow peer, CLIENT PAUSE) is a state of a connection, never of the loop.
//
// Other files continue this type: +Wave (read, batch, answer, write), +Dispatch (from request to handler),
// +Connections (coming and going).

import CLinux
import Glibc
import LimiterEngine
import RESP
import Synchronization

/// An event loop and everything that belongs to its thread.
///
/// `@unchecked Sendable`: `mailbox`, `turn`, `counters`, `commandStatistics`, `assigned`, `index` and `server` may be
/// used by any thread; everything else only with `turn` held.
final class EventLoop: @unchecked Sendable {
    let index: Int
    /// Outlives the loop: it joins the loop's thread.
    unowned(unsafe) let server: Server
    let lookup: CommandLookup
    /// Position of CL.THROTTLE in the command table.
    let throttle: Int
    let turn = TurnLock()
    let mailbox: Mailbox
    let counters = LoopCounters()
    let commandStatistics: CommandStatistics
    /// Connections dealt to this loop and not yet closed; any thread counts.
    let assigned = Atomic<Int>(0)

    let poller: Int32
    let keyspace: KeyspaceSession
    let arguments = ArgumentList()
    let reply = ReplyBuffer(capacity: Wave.outputRetained)
    let wave = Wave()
    let context: CommandContext

    var connections: [Connection] = []
    /// Connections closed in this turn: epoll may still have events that name them.
    var graveyard: [Connection] = []
    var suspended: [Connection] = []

    let clock: EngineClock
    /// Engine time of this turn.
    var now: EngineTime
    /// When the last command or batch of this turn ended; the turn's beginning before the first.
    var lastMoment: Int64 = 0
    /// Seconds of engine time, for ages and time-outs.
    var seconds: Int64 { now.nanoseconds / 1_000_000_000 }
    var settings: Settings
    var limits: RequestLimits
    private var settingsVersion = 0
    /// Nothing in the server as a whole keeps limiter calls off the straight path: no monitor, no pause.
    var isPlain = true
    /// The world is stopped by this loop: it holds every loop's turn lock.
    var hasStoppedWorld = false
    private var isLeaving = false
    private var lastHousekeeping: Int64 = 0

    init(index: Int, server: Server) throws(SystemError) {
        self.index = index
        self.server = server
        lookup = server.commands.lookup
        throttle = server.commands.throttle
        mailbox = try Mailbox()
        poller = clinux_epoll_create()
        guard poller >= 0 else { throw SystemError("epoll_create1") }
        keyspace = KeyspaceSession(engine: server.engine)
        clock = server.clock
        now = clock.now()
        settings = server.currentSettings.value
        limits = EventLoop.limits(settings)
        commandStatistics = CommandStatistics(commands: server.commands.flat.count)
        context = CommandContext(server: server, arguments: arguments, reply: reply, keyspace: keyspace)
        context.loop = self
        guard
            clinux_epoll_control(
                poller, EPOLL_CTL_ADD, mailbox.wakeDescriptor, UInt32(clinux_epoll_in), 0) == 0
        else { throw SystemError("epoll_ctl") }
    }

    deinit { Glibc.close(poller) }

    // MARK: Running

    /// Serves until told to leave. The loop's own thread.
    func run() {
        let capacity = 512
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: capacity)
        defer { events.deallocate() }
        while !isLeaving {
            let ready = epoll_wait(poller, events, Int32(capacity), needsTick ? 100 : -1)
            turn.acquire()
            takeTurn(events, count: max(0, Int(ready)))
            turn.release()
        }
    }

    /// Whether something has to be looked at although no descriptor is ready. Read by the loop's own thread only.
    private var needsTick: Bool {
        settings.timeoutSeconds > 0 || !suspended.isEmpty || softLimitWatch > 0
    }
    /// Connections whose output is over the soft limit.
    var softLimitWatch = 0

    private func takeTurn(_ events: UnsafeMutablePointer<epoll_event>, count: Int) {
        now = clock.now()
        lastMoment = now.nanoseconds
        refreshSettings()
        isPlain = server.monitors.isEmpty && !server.pause.isActive(now)
        var hasMail = false
        for number in 0..<count {
            let event = events + number
            let token = clinux_epoll_token(event)
            guard token != 0 else {
                hasMail = true
                continue
            }
            let connection = Unmanaged<Connection>.fromOpaque(UnsafeRawPointer(bitPattern: UInt(token))!)
                .takeUnretainedValue()
            serve(connection, events: event.pointee.events)
        }
        finishWave()
        if hasMail { readMail() }
        housekeep()
        graveyard.removeAll()
    }

    private func readMail() {
        for message in mailbox.takeAll() {
            switch message {
            case .adopt(let fd, let id, let isUnixSocket): adopt(fd, id: id, isUnixSocket: isUnixSocket)
            case .deliver(let bytes, let receivers):
                // Whoever has left in the meantime has been told so already, and would take this for a reply.
                for receiver in receivers where !receiver.flags.contains(.closed) && bytes.cause.concerns(receiver) {
                    deliver(receiver.version == .resp3 ? bytes.resp3 : bytes.resp2, to: receiver)
                }
            case .closeMarked:
                for connection in connections where connection.flags.contains(.closeSoon) { close(connection) }
            case .resume: resumeSuspended()
            case .settingsChanged: break
            case .drain(let deadline): drain(until: deadline)
            }
        }
    }

    /// What happens about ten times a second when there is cause.
    private func housekeep() {
        guard needsTick, now.nanoseconds - lastHousekeeping >= 90_000_000 else { return }
        lastHousekeeping = now.nanoseconds
        if !suspended.isEmpty, !server.pause.isActive(now) { resumeSuspended() }
        closeIdle()
        checkSoftLimits()
    }

    /// Takes over settings that CONFIG SET changed, on this loop or another.
    func refreshSettings() {
        let version = server.currentSettings.version
        guard version != settingsVersion else { return }
        settingsVersion = version
        settings = server.currentSettings.value
        limits = EventLoop.limits(settings)
    }

    private static func limits(_ settings: Settings) -> RequestLimits {
        RequestLimits(bulkLengthMax: settings.protoMaxBulkLenBytes, argumentsMax: Wave.argumentsMax)
    }

    /// Answers what has been received, sends what has been answered, and leaves.
    private func drain(until deadline: Int64) {
        for connection in connections where !connection.flags.contains(.closed) {
            serve(connection, events: UInt32(clinux_epoll_in))
        }
        finishWave()
        while server.clock.now().nanoseconds < deadline {
            let unsent = connections.filter { $0.pendingOutput != nil }
            if unsent.isEmpty { break }
            var descriptors = unsent.map { pollfd(fd: $0.fd, events: Int16(POLLOUT), revents: 0) }
            // Another loop may have to stop the world before it can drain: it must not wait for our slow peers.
            turn.release()
            _ = poll(&descriptors, nfds_t(descriptors.count), 50)
            turn.acquire()
            for connection in unsent { sendPending(connection) }
        }
        for connection in connections { close(connection) }
        isLeaving = true
    }

    // MARK: Stopping the world

    /// Runs `body` while no loop is in a turn: with every turn lock held, taken in the order of the loops. Gives this
    /// loop's own lock up in between, so another thread may have marked connections by the time `body` runs. Must not
    /// be called with a stripe held.
    func stoppingWorld<Result>(_ body: () -> Result) -> Result {
        guard !hasStoppedWorld else { return body() }
        precondition(!keyspace.isHolding, "turn locks come before stripes")
        turn.release()
        for loop in server.loops { loop.turn.acquire() }
        hasStoppedWorld = true
        let result = body()
        hasStoppedWorld = false
        for loop in server.loops where loop !== self { loop.turn.release() }
        return result
    }
}
