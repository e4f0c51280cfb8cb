// The control thread: accepts connections and assigns them to loops, handles signals, and stops the server.
//
// Runs on the process's first thread. Never waits for a stripe, a loop or a file: a command that never ends keeps
// neither clients from connecting to other loops nor the process from ending. Refuses to serve: reading a connection is
// its loop's task. The first SIGTERM, SIGINT or SHUTDOWN drains; a second signal ends the process at once.

import CLinux
import Glibc
import Persistence
import Synchronization
import System
import Transport

/// A shutdown requested by a command: a wake event that the control thread polls.
final class ShutdownRequests: Sendable {
    struct Request: Sendable {
        /// Whether a snapshot is taken at the end; nil leaves it to the setting `save`.
        var savesSnapshot: Bool?
        /// Why the server could not start.
        var failure: String?
    }

    private let wakeEvent: WakeEvent
    private let request = Locked<Request?>(nil)

    /// Readable once there is a request.
    var descriptor: Int32 { wakeEvent.descriptor }

    init() throws(SystemError) { wakeEvent = try WakeEvent() }

    /// The first request posted.
    var current: Request? { request.withLock { $0 } }

    func post(_ wanted: Request) {
        request.withLock { if $0 == nil { $0 = wanted } }
        wakeEvent.signal()
    }
}

struct ControlThread {
    private let server: Server
    private let listeners: [Listener]
    private let signals: Int32
    /// The process ran out of descriptors or memory for a connection. The sockets stay ready, so they are not polled
    /// for a while.
    private var isAcceptingPaused = false
    /// The last accept failed.
    private var acceptFailed = false

    /// Signals the server handles; blocked in every thread, so that only this one receives them.
    private static var handledSignals: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGUSR1] { sigaddset(&set, signal) }
        return set
    }

    /// Call before any thread is started: threads inherit the signal mask.
    static func blockSignals() {
        var set = handledSignals
        pthread_sigmask(SIG_BLOCK, &set, nil)
        signal(SIGPIPE, SIG_IGN)
        // Makes a write beyond the file size limit fail like any other write.
        signal(SIGXFSZ, SIG_IGN)
    }

    init(server: Server, listeners: [Listener]) {
        self.server = server
        self.listeners = listeners
        var set = ControlThread.handledSignals
        signals = clinux_signalfd(&set)
    }

    /// Runs until told to stop. Returns when every loop has drained and everything is on disk; false if not all of that
    /// succeeded.
    mutating func run(storage: Storage) -> Bool {
        while true {
            // poll(2) ignores negative descriptors.
            let descriptors =
                [signals, server.shutdownDescriptor] + listeners.map { isAcceptingPaused ? -1 : $0.descriptor }
            var polled = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            _ = poll(&polled, nfds_t(polled.count), isAcceptingPaused ? ControlThread.acceptPause : -1)
            isAcceptingPaused = false
            if polled[0].revents != 0, stops(for: clinux_signalfd_next(signals)) { break }
            if polled[1].revents != 0 { break }
            for (number, listener) in listeners.enumerated() where polled[number + 2].revents != 0 {
                acceptAll(listener)
            }
        }
        for listener in listeners { listener.close() }
        removeUnixSocket()
        server.stopping()
        server.serviceManager?.stopping()
        let (deadline, haveEnded) = drain()
        return storage.stop(savesSnapshot: server.savesAtEnd, deadline: deadline) && haveEnded
    }

    /// Whether the signal stops the server.
    private func stops(for signal: Int32) -> Bool {
        switch signal {
        case 0: return false
        case SIGUSR1, SIGHUP:
            server.log.reopen()
            if signal == SIGHUP { server.fileJobs.reloadRules(of: server) }
            return false
        default:
            server.log.notice("stopping", ["signal": "\(signal == SIGTERM ? "SIGTERM" : "SIGINT")"])
            return true
        }
    }

    private func removeUnixSocket() {
        let path = server.currentSettings.value.unixsocket
        if !path.isEmpty { unlink(path) }
    }

    /// Part of the shutdown time-out reserved for the disk.
    private static let diskReserve = Nanoseconds.seconds(2)
    /// How long a loop may take to notice that its deadline has passed.
    private static let loopGrace = Nanoseconds.milliseconds(200)

    /// Makes every loop answer what it received and leave, and waits for that, but not forever. Another signal ends the
    /// process at once. Returns the overall deadline, and whether all loops have ended.
    private func drain() -> (deadline: SteadyInstant, haveEnded: Bool) {
        let patience = Nanoseconds.seconds(server.currentSettings.value.shutdownTimeoutSeconds)
        let deadline = SteadyInstant.now() + patience
        let loopDeadline = deadline - min(ControlThread.diskReserve, patience / 2)
        for loop in server.loops { loop.mailbox.post(.drain(deadline: loopDeadline)) }
        SecondSignal(descriptor: signals, log: server.log).start()
        // A loop notices the deadline at its next poll.
        let stuck = server.waitForLoops(until: loopDeadline + ControlThread.loopGrace)
        guard !stuck.isEmpty else { return (deadline, true) }
        server.log.warning(
            "stopping while a command is still running; its client gets no reply",
            ["loops": "\(stuck.map(String.init).joined(separator: " "))"])
        // It may hold stripes for good: what can be collected without them is written.
        server.durability.journal.abandonStuckLocks()
        return (deadline, false)
    }

    // MARK: Accepting

    /// Milliseconds until a socket that failed to accept is polled again.
    private static let acceptPause: Int32 = 100
    /// Maximum number of connections accepted from one socket before the others get a turn.
    private static let acceptMax = 1000

    private mutating func acceptAll(_ listener: Listener) {
        for _ in 0..<ControlThread.acceptMax {
            switch listener.accept() {
            case .stream(let stream):
                acceptFailed = false
                accept(stream, listener)
            case .none: return
            case .failed(let error): return pauseAccepting(error)
            }
        }
    }

    /// Logged once, until a connection is accepted again.
    private mutating func pauseAccepting(_ error: SystemError) {
        isAcceptingPaused = true
        if !acceptFailed { server.log.warning("accept failed; retrying ten times a second", ["error": "\(error)"]) }
        acceptFailed = true
    }

    private func accept(_ stream: ByteStream, _ listener: Listener) {
        let settings = server.currentSettings.value
        let clientsMax = min(settings.maxclients, server.openFiles.clientsMax)
        guard server.clientsNow.load(ordering: .relaxed) < clientsMax else {
            server.clientsRejected.add(1, ordering: .relaxed)
            server.warn(.maxclients, "client rejected: maxclients reached", address: stream.peerAddress)
            return reject(stream, listener.kind == .resp ? ControlThread.fullText : ControlThread.fullResponse)
        }
        if !listener.isUnixSocket {
            if listener.kind == .resp, settings.protectedMode, settings.requirepass.isEmpty, !stream.isPeerLoopback {
                server.clientsRejected.add(1, ordering: .relaxed)
                server.strangersRejected.add(1, ordering: .relaxed)
                server.warn(
                    .protectedMode, "client rejected: protected-mode is on and no password is set",
                    address: stream.peerAddress)
                return reject(stream, ControlThread.protectedModeText)
            }
            stream.configureTCP(keepAlive: settings.tcpKeepaliveSeconds)
        }
        server.clientsNow.add(1, ordering: .relaxed)
        server.clientsEver.add(1, ordering: .relaxed)
        let id = server.lastClientID.add(1, ordering: .relaxed).newValue
        let loop = server.loopForNext()
        loop.assigned.add(1, ordering: .relaxed)
        loop.mailbox.post(.adopt(stream, id: id, kind: listener.kind, isUnixSocket: listener.isUnixSocket))
    }

    private static let fullText = "-ERR max number of clients reached\r\n"
    private static let fullResponse =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"

    private static let protectedModeText =
        "-DENIED This server runs in protected mode: no password is set, so only local clients may connect. "
        + "To change that, set a password (requirepass), or disable protected-mode if untrusted hosts cannot reach "
        + "this port.\r\n"

    /// Tells a client why it is rejected. The text fits any socket's buffer, so this never blocks.
    private func reject(_ stream: ByteStream, _ text: String) {
        _ = Array(text.utf8).withUnsafeBytes(stream.write)
        stream.close()
    }
}

/// Waits, while the loops drain, for the second signal, which ends the process at once.
private struct SecondSignal {
    let descriptor: Int32
    let log: Log

    func start() {
        let (descriptor, log) = (descriptor, log)
        Thread.detach(name: "signals") {
            var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            while true {
                _ = poll(&polled, 1, -1)
                let signal = clinux_signalfd_next(descriptor)
                guard signal == SIGTERM || signal == SIGINT else { continue }
                log.flush(atMost: .milliseconds(500))
                _exit(1)
            }
        }
    }
}
