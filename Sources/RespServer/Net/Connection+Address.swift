// Peer and local address of a connection.

import Transport

extension Connection {
    /// `127.0.0.1:50123`, `[::1]:50123`, or the path of the unix socket. Asks the kernel each time: the address is
    /// rarely needed, and an idle connection should not pay for it.
    var peerAddress: String {
        flags.contains(.unixSocket) ? "\(loop.settings.unixsocket):0" : channel.stream.peerAddress
    }

    /// The server's end of the connection, in the same form.
    var localAddress: String {
        flags.contains(.unixSocket) ? "\(loop.settings.unixsocket):0" : channel.stream.localAddress
    }

    /// Whether the peer is on this machine.
    var isLocal: Bool { flags.contains(.unixSocket) || channel.stream.isPeerLoopback }
}
