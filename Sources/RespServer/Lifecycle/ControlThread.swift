// The control thread: accepts connections and deals them out, hears signals, and ends the server.
//
// Runs on the process's first thread. Waits for no stripe, no loop and no file: a command that never ends neither keeps
// clients from connecting to other loops nor the process from ending. Refuses to serve: a connection's bytes are its
// loop's. A first SIGTERM, SIGINT or SHUTDOWN drains; a second signal ends the process at once.

import CLinux
import Glibc
import Persistence
import Synchronization
import System
import Transport

/// A shutdown asked for by a command: a wake event that the control thread polls.
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

    /// The first one posted.
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
    /// No descriptor or memory was left for a connection: the sockets stay ready, so they are not asked for
    /// a moment.
    private var isAcceptingPaused = false
    /// The last accept failed.
    private var isShort = false

    /// Signals the server handles; blocked in every thread, so that only this one hears them.
    private static var handledSignals: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGUSR1] { sigaddset(&set, signal) }
        return set
    }

    /// Call before any thread is started: threads inherit what is blocked.
    static func blockSignals() {
        var set = handledSignals
        pthread_sigmask(SIG_BLOCK, &set, nil)
        signal(SIGPIPE, SIG_IGN)
        // A write beyond the limit of file sizes is an error like any other.
        signal(SIGXFSZ, SIG_IGN)
    }

    init(server: Server, listeners: [Listener]) {
        self.server = server
        self.listeners = listeners
        var set = ControlThread.handledSignals
        signals = clinux_signalfd(&set)
    }

    /// Runs until told to stop. Returns when every loop has drained and everything is on disk, or could not be: then
    /// with false.
    mutating func run(storage: Storage) -> Bool {
        while true {
            // Negative descriptors are passed over.
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
        let (deadline, haveEnded) = drain()
        let saves = server.shutdownRequest?.savesSnapshot ?? !server.currentSettings.value.save.rules.isEmpty
        return storage.stop(savesSnapshot: saves, deadline: deadline) && haveEnded
    }

    /// Whether the signal ends the server.
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

    /// Time kept back for the disk, of what an orderly shutdown may take.
    private static let diskReserve = Nanoseconds.seconds(2)
    /// What a loop may take to notice that its time is over.
    private static let loopGrace = Nanoseconds.milliseconds(200)

    /// Makes every loop answer what it received and leave, and waits for that, but not for ever. Another signal ends it
    /// at once. Returns when everything has to be over, and whether all loops have ended.
    private func drain() -> (deadline: SteadyInstant, haveEnded: Bool) {
        let patience = Nanoseconds.seconds(server.currentSettings.value.shutdownTimeoutSeconds)
        let deadline = SteadyInstant.now() + patience
        let loopDeadline = deadline - min(ControlThread.diskReserve, patience / 2)
        for loop in server.loops { loop.mailbox.post(.drain(deadline: loopDeadline)) }
        SecondSignal(descriptor: signals, log: server.log).start()
        // A loop notices the end of its time with its next poll.
        let stuck = server.waitForLoops(until: loopDeadline + ControlThread.loopGrace)
        guard !stuck.isEmpty else { return (deadline, true) }
        server.log.warning(
            "stopping although a command has not ended; its client gets no reply",
            ["loops": "\(stuck.map(String.init).joined(separator: " "))"])
        // It may hold stripes for good: what can be had without those is written.
        server.durability.journal.abandonStuckLocks()
        return (deadline, false)
    }

    // MARK: Accepting

    /// Milliseconds until a socket is asked again that failed to accept.
    private static let acceptPause: Int32 = 100
    /// Most connections taken from one socket before the others get a turn.
    private static let acceptMax = 1000

    private mutating func acceptAll(_ listener: Listener) {
        for _ in 0..<ControlThread.acceptMax {
            switch listener.accept() {
            case .stream(let stream):
                isShort = false
                accept(stream, listener)
            case .none: return
            case .failed(let error): return pauseAccepting(error)
            }
        }
    }

    /// Said once, until a connection is accepted again.
    private mutating func pauseAccepting(_ error: SystemError) {
        isAcceptingPaused = true
        if !isShort { server.log.warning("accept failed; trying again ten times a second", ["error": "\(error)"]) }
        isShort = true
    }

    private func accept(_ stream: ByteStream, _ listener: Listener) {
        let settings = server.currentSettings.value
        let clientsMax = min(settings.maxclients, server.openFiles.clientsMax)
        guard server.clientsNow.load(ordering: .relaxed) < clientsMax else {
            server.clientsRejected.add(1, ordering: .relaxed)
            server.warn(.maxclients, "client turned away: maxclients reached", address: stream.peerAddress)
            return turnAway(stream, "-ERR max number of clients reached\r\n")
        }
        if !listener.isUnixSocket {
            if settings.protectedMode, settings.requirepass.isEmpty, !stream.isPeerLoopback {
                server.clientsRejected.add(1, ordering: .relaxed)
                server.warn(
                    .protectedMode, "client turned away: protected-mode is on and no password is set",
                    address: stream.peerAddress)
                return turnAway(stream, ControlThread.protectedModeText)
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

    private static let protectedModeText =
        "-DENIED This server runs in protected mode: no password is set, so only clients on this machine are let in. "
        + "To change that, set a password (requirepass), or turn protected-mode off if the network keeps strangers "
        + "out.\r\n"

    /// Tells a client why it is not served. The text fits any socket's buffer, so nothing waits.
    private func turnAway(_ stream: ByteStream, _ text: String) {
        _ = Array(text.utf8).withUnsafeBytes(stream.write)
        stream.close()
    }
}

/// Waits, while the loops drain, for the signal that says not to.
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
