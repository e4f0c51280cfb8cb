// From the bytes of a connection to its requests, and what breaks the protocol.
//
// A request may come in any number of reads. What has been found of it so far is remembered as places in the input,
// which the transport keeps whole from the request's first byte on, wherever that is by then.

import RESP

extension RESPSession {
    /// Parses and runs everything complete in `count` bytes from `base`. Returns how many bytes are done with; the
    /// rest is the beginning of a request, or input that has to wait.
    @inline(__always)
    func consume(
        _ base: UnsafePointer<UInt8>, count: Int, of connection: Connection, on loop: EventLoop
    ) -> Int {
        // A copy while it works: the session's own would be checked for exclusive access with every request.
        var parser = parser
        defer { self.parser = parser }
        let arguments = loop.arguments
        let limits = loop.limits
        var offset = 0
        loop.isTimestampFresh = false
        while offset < count {
            let outcome = parser.parse(
                base + offset, count: count &- offset, into: arguments, limits: limits,
                authenticated: !flags.contains(.unauthenticated))
            switch outcome {
            case .request:
                guard loop.dispatch(connection, self) else {
                    // Suspended: this request is run again later, from its first byte.
                    parser.startNext()
                    arguments.removeAll()
                    return offset
                }
                // An inline line's words are copies that the next line's replace, so none may wait in the batch.
                if base[offset] != UInt8(ascii: "*") { loop.decideBatch() }
                offset &+= parser.consumed
                parser.startNext()
                if !connection.isFastPathEligible {
                    if !connection.flags.isDisjoint(with: [.closeAfterReply, .closed]) { return count }
                    if !connection.flags.isDisjoint(with: [.blocked, .handedOver]) {
                        arguments.removeAll()
                        return offset
                    }
                }
            case .nothing:
                offset &+= parser.consumed
                parser.startNext()
            case .incomplete:
                return offset
            case .failure(let violation):
                refuse(violation, connection, loop)
                return count
            }
        }
        arguments.removeAll()
        return offset
    }

    /// Kept input begins at `base` now.
    func resume(at base: UnsafePointer<UInt8>, on loop: EventLoop) {
        loop.arguments.restore(pendingArguments, base: base)
    }

    /// What the last `consume` has found of an incomplete request is wanted again.
    func keepPlace(on loop: EventLoop) { pendingArguments = loop.arguments.save() }

    /// No input is kept.
    func forgetPlace() { pendingArguments = [] }

    private func refuse(_ violation: ProtocolError, _ connection: Connection, _ loop: EventLoop) {
        loop.decideBatch()
        loop.counters.add(.protocolErrors, 1)
        if flags.isDisjoint(with: [.replyOff, .replySkipNext]) { loop.reply.error(violation.text) }
        loop.endReply()
        connection.flags.insert(.closeAfterReply)
        if violation == .tls {
            loop.server.warn(
                .tls, "closing client: it speaks TLS, which this server does not", address: connection.peerAddress,
                id: connection.id)
        }
        loop.server.log.verbose(
            "closing client: protocol error",
            ["id": "\(connection.id)", "addr": "\(connection.peerAddress)", "error": "\(violation.text)"])
    }
}
