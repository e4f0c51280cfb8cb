// Connections whose peer has ended its input, and others that are about to end: everything they sent is carried out and
// answered, then they close.
//
// The end of input does not tell a peer that has shut down its sending half from one that has left; that shows only
// when it is sent something. So a command that may wait for ever, or for long, is not waited for, and a connection that
// makes no progress is closed after a while. After a reset the peer has gone, and the connection closes at once.

import CLinux
import System
import Transport

extension EventLoop {
    /// How long a connection that is about to end may make no progress, unless `timeout` is less; also the longest
    /// time-out of a command that is waited for once the peer has ended its input.
    private static let stalledEndMax = Nanoseconds.seconds(60)

    /// Whether a command with this time-out waits longer than a peer that has ended its input is waited for.
    static func isLong(timeout: Nanoseconds) -> Bool { timeout > stalledEndMax }

    /// The end of a connection's input was read.
    func endInput(_ connection: Connection) {
        if connection.flags.contains(.blocked) {
            guard connection.flags.contains(.waitsLong) else { return noteEndOfInput(connection) }
            endBlocking(connection)
            replication.ask(.waiterGone(connection.id))
        }
        // What is left of the input is the beginning of a request, or what would come after one that never ends.
        connection.channel.input = nil
        connection.session.forgetPlace()
        countMemory(of: connection)
        connection.flags.insert(.closeAfterReply)
        endAfterReply(connection)
    }

    /// The end of the input of a connection that waits was seen. It is found again when the connection reads on: by
    /// then everything before it has been carried out.
    func noteEndOfInput(_ connection: Connection) {
        connection.flags.insert(.inputEnded)
        updateInterest(connection)
        watchEnd(of: connection)
    }

    /// Has a connection that is about to end closed when it makes no progress.
    func watchEnd(of connection: Connection) {
        guard connection.flags.insert(.ending).inserted else { return }
        connection.lastActiveAt = steady
        ending.append(connection)
    }

    /// Closes connections that are about to end and have made no progress for too long: no byte of their replies has
    /// been taken, and no request of theirs could run. What blocks is bounded by itself.
    func closeStalledEnds() {
        guard !ending.isEmpty else { return }
        ending.removeAll { $0.flags.contains(.closed) }
        let timeout = settings.timeoutSeconds > 0 ? Nanoseconds.seconds(settings.timeoutSeconds) : .forever
        let patience = min(timeout, EventLoop.stalledEndMax)
        for connection in ending
        where steady - connection.lastActiveAt >= patience && !connection.flags.contains(.blocked) {
            server.log.verbose(
                "closing client: nothing could be sent to it or run for it since it ended its input",
                ["id": "\(connection.id)", "addr": "\(connection.peerAddress)"])
            close(connection)
        }
    }
}
