// From the bytes of a connection to its requests, and handling of protocol errors.
//
// A request may arrive in any number of reads. The parts of it found so far are recorded as offsets from the request's
// first byte; the transport keeps the input contiguous from that byte on, but may move it.

import RESP

extension RESPSession {
    /// Parses and runs everything complete in `count` bytes from `base`. Returns how many bytes were consumed; the rest
    /// is an incomplete request, or input that has to wait.
    @inline(__always)
    func consume(
        _ base: UnsafePointer<UInt8>, count: Int, of connection: Connection, on loop: EventLoop
    ) -> Int {
        // A local copy: access to the session's own parser would be checked for exclusivity with every request.
        var parser = parser
        defer { self.parser = parser }
        let arguments = loop.arguments
        var limits = loop.limits
        var offset = 0
        loop.isTimestampFresh = false
        while offset < count {
            let outcome = parser.parse(
                base + offset, count: count &- offset, into: arguments, limits: limits,
                authenticated: !flags.contains(.unauthenticated))
            switch outcome {
            case .request:
                switch loop.dispatch(connection, self) {
                case .batched: break
                // It may have been CONFIG SET.
                case .handled: limits = loop.limits
                case .suspended:
                    // This request is run again later, from its first byte.
                    parser.startNext()
                    arguments.removeAll()
                    return offset
                }
                // The words of an inline request are copies that the next line overwrites, so none may wait in the
                // batch.
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

    /// Informs the session that the kept input now begins at `base`.
    func resume(at base: UnsafePointer<UInt8>, on loop: EventLoop) {
        loop.arguments.restore(pendingArguments, base: base)
    }

    /// Saves the arguments that the last `consume` found of an incomplete request.
    func keepPlace(on loop: EventLoop) { pendingArguments = loop.arguments.save() }

    /// Discards the saved arguments: no input is kept.
    func forgetPlace() { pendingArguments = [] }

    private func refuse(_ violation: ProtocolError, _ connection: Connection, _ loop: EventLoop) {
        loop.decideBatch()
        loop.counters.add(.protocolErrors, 1)
        if flags.isDisjoint(with: [.replyOff, .replySkipNext]) { loop.reply.error(violation.text) }
        loop.endReply()
        connection.flags.insert(.closeAfterReply)
        if violation == .tls {
            loop.server.warn(
                .tls, "closing client: it sent TLS, which is not supported", address: connection.peerAddress,
                id: connection.id)
        }
        loop.server.log.verbose(
            "closing client: protocol error",
            ["id": "\(connection.id)", "addr": "\(connection.peerAddress)", "error": "\(violation.text)"])
    }
}
