// Connections whose peer has ended its input, and others that are about to close: everything they sent is executed and
// answered, then they close.
//
// The end of input does not distinguish a peer that has shut down its sending half from one that has left; the
// difference shows only when data is sent to it. So the server does not wait for a command that may block for long or
// forever, and closes a connection that makes no progress for a while. After a reset the peer is gone, and the
// connection closes at once.

import CLinux
import System
import Transport

extension EventLoop {
    /// How long a connection that is about to close may make no progress, unless `timeout` is less. Also the longest
    /// time-out of a command that is still waited for once the peer has ended its input.
    private static let stalledEndMax = Nanoseconds.seconds(60)

    /// Whether a command with this time-out waits longer than the server waits for a peer that has ended its input.
    static func isLong(timeout: Nanoseconds) -> Bool { timeout > stalledEndMax }

    /// The end of a connection's input was read.
    func endInput(_ connection: Connection) {
        if connection.flags.contains(.blocked) {
            guard connection.flags.contains(.waitsLong) else { return noteEndOfInput(connection) }
            endBlocking(connection)
            replication.ask(.waiterGone(connection.id))
        }
        // The input left over is an incomplete request, or follows a command that may never end.
        connection.channel.input = nil
        connection.session.forgetPlace()
        countMemory(of: connection)
        connection.flags.insert(.closeAfterReply)
        endAfterReply(connection)
    }

    /// The peer of a waiting connection ended its input. The end is found again when the connection resumes reading; by
    /// then everything before it has been executed.
    func noteEndOfInput(_ connection: Connection) {
        connection.flags.insert(.inputEnded)
        updateInterest(connection)
        watchEnd(of: connection)
    }

    /// How long, and how much of, the input of a connection that lingers is discarded.
    private static let lingerMax = Nanoseconds.seconds(2)

    /// Closes a connection whose last reply is sent, or begins to discard its input.
    func closeAfterLastReply(_ connection: Connection) {
        guard connection.flags.contains(.lingers) else { return close(connection) }
        guard connection.flags.insert(.discarding).inserted else { return }
        connection.channel.stream.endOutput()
        connection.flags.remove(.ending)
        ending.removeAll { $0 === connection }
        watchEnd(of: connection)
        updateInterest(connection)
    }

    /// Reads and discards input; closes the connection at its end.
    func discardInput(of connection: Connection) {
        withUnsafeTemporaryAllocation(byteCount: LoopBuffers.readMin, alignment: 1) { buffer in
            switch connection.channel.stream.read(into: buffer) {
            case .bytes(let count): counters.add(.inputBytes, UInt64(count))
            case .wouldBlock: break
            case .end, .failed: close(connection)
            }
        }
    }

    /// Causes a connection that is about to close to be closed if it makes no progress.
    func watchEnd(of connection: Connection) {
        guard connection.flags.insert(.ending).inserted else { return }
        connection.lastActiveAt = steady
        ending.append(connection)
    }

    /// Closes connections that are about to close and have made no progress for too long: the peer has accepted no byte
    /// of their replies, and no request of theirs could run. Blocking commands have their own bound.
    func closeStalledEnds() {
        guard !ending.isEmpty else { return }
        ending.removeAll { $0.flags.contains(.closed) }
        let timeout = settings.timeoutSeconds > 0 ? Nanoseconds.seconds(settings.timeoutSeconds) : .forever
        let patience = min(timeout, EventLoop.stalledEndMax)
        for connection in ending where connection.flags.contains(.discarding) {
            if steady - connection.lastActiveAt >= EventLoop.lingerMax { close(connection) }
        }
        for connection in ending
        where steady - connection.lastActiveAt >= patience && connection.flags.isDisjoint(with: [.blocked, .closed]) {
            server.log.verbose(
                "closing client: no progress on its replies and requests since it ended its input",
                ["id": "\(connection.id)", "addr": "\(connection.peerAddress)"])
            close(connection)
        }
    }
}
