// What a service manager such as systemd is told about the process, over the socket that it names in NOTIFY_SOCKET:
// ready, reloading, stopping, one line of status, and a sign of life.
//
// Owns that socket and the thread that watches the loops. Sends only: nothing is read from the socket, and a message
// that does not fit its buffer is dropped, so no caller waits for the service manager. Without NOTIFY_SOCKET nothing is
// sent and there is no thread.

import CLinux
import Glibc
import Persistence
import Replication
import Synchronization
import System

/// The connection to the service manager. Thread-safe: immutable, and a message is one call of the kernel.
struct ServiceManager: Sendable {
    private let socket: Int32
    private let address: [UInt8]
    /// How often the manager expects a sign of life; nil if it does not expect any.
    private let watchdogPeriod: Nanoseconds?

    /// Longest path of a Unix socket in bytes.
    private static let pathMax = 107

    /// The manager that started this process; nil if none wants to know, or if its socket's name is unusable.
    static func fromEnvironment() -> ServiceManager? {
        guard let path = variable("NOTIFY_SOCKET"), !path.isEmpty, path.utf8.count <= pathMax else { return nil }
        guard path.hasPrefix("/") || path.hasPrefix("@") else { return nil }
        let socket = clinux_socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue))
        guard socket >= 0 else { return nil }
        // Another process's watchdog is none of ours.
        let isOurs = variable("WATCHDOG_PID").map { Int($0) == Int(getpid()) } ?? true
        let microseconds = variable("WATCHDOG_USEC").flatMap { Int64($0) } ?? 0
        let period = microseconds > 0 ? Nanoseconds.microseconds(microseconds) : nil
        return ServiceManager(socket: socket, address: Array(path.utf8), watchdogPeriod: isOurs ? period : nil)
    }

    private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    // MARK: Messages

    private func ready(_ status: String) { send("READY=1\nSTATUS=\(status)") }

    /// Files are read again, until `reloaded`.
    func reloading() {
        send("RELOADING=1\nMONOTONIC_USEC=\(SteadyInstant.now().nanoseconds / 1000)\nSTATUS=reloading")
    }

    /// The end of `reloading`. While the state is still being loaded, the end of that is reported instead.
    func reloaded(_ server: Server) {
        if !server.isLoading { ready(server.serviceStatus) }
    }

    /// The server drains and will end.
    func stopping() { send("STOPPING=1\nSTATUS=stopping") }

    private func status(_ text: String) { send("STATUS=\(text)") }

    private func send(_ message: String) {
        var destination = sockaddr_un()
        destination.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &destination.sun_path) { path in
            path.copyBytes(from: address)
            // The name of an abstract socket begins with a zero byte.
            if path[0] == UInt8(ascii: "@") { path[0] = 0 }
        }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + address.count)
        let bytes = Array(message.utf8)
        _ = withUnsafePointer(to: &destination) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(socket, bytes, bytes.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL), $0, length)
            }
        }
    }

    // MARK: The thread

    /// Reports progress while the state is loaded, then readiness, then changes of the status, and gives signs of life
    /// while every loop turns.
    func start(for server: Server) {
        Thread.detach(name: "service") { [self] in watch(server) }
    }

    private func watch(_ server: Server) {
        // Twice as often as expected, as systemd recommends.
        let interval = min(watchdogPeriod.map { $0 / 2 } ?? .seconds(1), .seconds(1))
        var pulse: Pulse?
        var lastStatus = ""
        var isReady = false
        while !server.isStopping {
            let current = server.serviceStatus
            if !isReady, !server.isLoading {
                isReady = true
                ready(current)
            } else if current != lastStatus {
                status(current)
            }
            lastStatus = current
            if watchdogPeriod != nil {
                // A loop that is stuck does not answer; it is not asked again until it has.
                if pulse?.hasAnswered(loops: server.loops.count) ?? true {
                    if pulse != nil { send("WATCHDOG=1") }
                    let next = Pulse()
                    pulse = next
                    for loop in server.loops { loop.mailbox.post(.pulse(next)) }
                }
            }
            Thread.sleep(interval)
        }
    }
}

/// One question to all loops whether they turn. Each answers once, when it reads its mail.
final class Pulse: Sendable {
    private let answers = Atomic<Int>(0)

    /// Called by each loop.
    func answer() { answers.add(1, ordering: .relaxed) }

    func hasAnswered(loops: Int) -> Bool { answers.load(ordering: .relaxed) >= loops }
}

extension Server {
    /// The server's state in one line, for `systemctl status`.
    fileprivate var serviceStatus: String {
        if isLoading {
            let (done, total) = recoveryProgress.bytes
            guard total > 0 else { return "loading" }
            return "loading: \(min(100, done * 100 / total)) % of \(total) bytes"
        }
        guard let primary = replication.status.primary else { return "serving as a primary" }
        return "serving as a replica of \(primary.host):\(primary.port)"
    }
}
