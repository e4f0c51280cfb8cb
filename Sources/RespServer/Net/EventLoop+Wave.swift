// A wave: read every ready connection, decide all its limiter calls in batches, write all replies.
//
// Replies are written into one buffer in the order in which requests were parsed, connection by connection, so a
// connection's replies are one contiguous run of it. A command that is no limiter call first has the calls in front of
// it decided: within a connection everything happens in order, as if there were no batches.

import CLinux
import Glibc
import LimiterEngine
import RESP

extension EventLoop {
    /// Serves one event of a connection.
    func serve(_ connection: Connection, events: UInt32) {
        guard !connection.flags.contains(.closed) else { return }
        if connection.flags.contains(.closeSoon) { return close(connection) }
        if events & UInt32(clinux_epoll_out) != 0 { sendPending(connection) }
        if events & UInt32(clinux_epoll_peer_hangup) != 0, connection.flags.contains(.suspended) {
            noteEndOfInput(connection)
        }
        let readable = UInt32(clinux_epoll_in | clinux_epoll_hangup | clinux_epoll_error)
        guard events & readable != 0, !connection.flags.contains(.closed) else { return }
        if !connection.isReading {
            // Its input waits; a hang-up does not.
            if events & UInt32(clinux_epoll_hangup | clinux_epoll_error) != 0 { close(connection) }
            return
        }
        if wave.isFull { finishWave() }
        receive(connection)
    }

    /// Reads what a connection that waits sends meanwhile.
    private func keepReading(_ connection: Connection) {
        let pending = connection.pendingInput ?? PendingInput(UnsafeBufferPointer(start: nil, count: 0), ranges: [])
        pending.reserve(Wave.readMin)
        let received = read(connection.fd, pending.free.baseAddress, pending.free.count)
        guard accept(received, of: connection) else { return }
        pending.received(received)
        connection.pendingInput = pending
        countMemory(of: connection)
        checkInputLimit(connection)
    }

    private func receive(_ connection: Connection) {
        if connection.flags.contains(.blocked) { return keepReading(connection) }
        if let pending = connection.pendingInput {
            // As much again as there is, so that a large request is read in few steps and never before it is sent.
            pending.reserve(min(Wave.readMax, max(Wave.readMin, pending.count)))
            let received = read(connection.fd, pending.free.baseAddress, min(Wave.readMax, pending.free.count))
            guard accept(received, of: connection) else { return }
            pending.received(received)
            processPending(connection, pending)
        } else {
            let room = min(Wave.readMax, Wave.inputCapacity - wave.inputUsed)
            let start = wave.input + wave.inputUsed
            let received = read(connection.fd, start, room)
            guard accept(received, of: connection) else { return }
            wave.inputUsed += received
            beginServing(connection)
            let used = process(connection, start, count: received)
            keepRest(of: connection, UnsafeBufferPointer(start: start + used, count: received - used))
        }
    }

    /// Whether a read brought something; when it brought the end, the connection ends once it has been answered.
    private func accept(_ received: Int, of connection: Connection) -> Bool {
        if received > 0 {
            counters.add(.inputBytes, UInt64(received))
            connection.lastActiveAt = seconds
            return true
        }
        if received < 0, errno == EAGAIN || errno == EINTR { return false }
        if received == 0 { endInput(connection) } else { close(connection) }
        return false
    }

    /// Goes through kept input from where the parser stands.
    func processPending(_ connection: Connection, _ pending: PendingInput) {
        beginServing(connection)
        arguments.restore(pending.ranges, base: pending.base)
        let used = process(connection, pending.base, count: pending.count)
        // The batch may name keys in these bytes.
        decideBatch()
        guard !connection.flags.contains(.closed) else { return }
        if used == pending.count || connection.flags.contains(.closeAfterReply) {
            connection.pendingInput = nil
        } else {
            pending.consume(used)
            pending.ranges = arguments.save()
            checkInputLimit(connection)
        }
        countMemory(of: connection)
    }

    private func keepRest(of connection: Connection, _ rest: UnsafeBufferPointer<UInt8>) {
        guard rest.count > 0, !connection.flags.contains(.closed), !connection.flags.contains(.closeAfterReply)
        else { return }
        connection.pendingInput = PendingInput(rest, ranges: arguments.save())
        countMemory(of: connection)
    }

    private func checkInputLimit(_ connection: Connection) {
        guard let pending = connection.pendingInput, pending.count > settings.clientQueryBufferLimitBytes
        else { return }
        server.log.warning(
            "closing client: its request is over client-query-buffer-limit",
            ["id": "\(connection.id)", "addr": "\(connection.peerAddress)", "bytes": "\(pending.count)"])
        connection.flags.insert(.closeSoon)
        close(connection)
    }

    private func beginServing(_ connection: Connection) {
        if wave.servedCount == Wave.servedMax { finishWave() }
        wave.begin(connection, replyStart: reply.count)
    }

    /// Parses and runs everything complete in `count` bytes from `base`. Returns how many bytes are done with; the
    /// rest is the beginning of a request, or input that has to wait.
    private func process(_ connection: Connection, _ base: UnsafePointer<UInt8>, count: Int) -> Int {
        // A copy while it works: the connection's own would be checked for exclusive access with every request.
        var parser = connection.parser
        defer { connection.parser = parser }
        let arguments = arguments
        let limits = limits
        var offset = 0
        isMomentNew = false
        while offset < count {
            let outcome = parser.parse(
                base + offset, count: count &- offset, into: arguments, limits: limits,
                authenticated: !connection.flags.contains(.unauthenticated))
            switch outcome {
            case .request:
                guard dispatch(connection) else {
                    // Suspended: this request is run again later, from its first byte.
                    parser.startNext()
                    arguments.removeAll()
                    return offset
                }
                // An inline line's words are copies that the next line's replace, so none may wait in the batch.
                if base[offset] != UInt8(ascii: "*") { decideBatch() }
                offset &+= parser.consumed
                parser.startNext()
                if !connection.isPlain {
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
                refuse(connection, violation)
                return count
            }
        }
        arguments.removeAll()
        return offset
    }

    private func refuse(_ connection: Connection, _ violation: ProtocolError) {
        decideBatch()
        counters.add(.protocolErrors, 1)
        if connection.flags.isDisjoint(with: [.replyOff, .replySkipNext]) { reply.error(violation.text) }
        endReply()
        connection.flags.insert(.closeAfterReply)
        if violation == .tls {
            server.warn(
                .tls, "closing client: it speaks TLS, which this server does not", address: connection.peerAddress,
                id: connection.id)
        }
        server.log.verbose(
            "closing client: protocol error",
            ["id": "\(connection.id)", "addr": "\(connection.peerAddress)", "error": "\(violation.text)"])
    }

    // MARK: Writing

    /// Everything in the reply buffer up to here belongs to connections up to the one being served.
    func endReply() { wave.replyEnds[wave.servedCount - 1] = reply.count }

    /// Decides what waits, sends everyone their replies, and begins a new wave.
    func finishWave() {
        guard wave.servedCount > 0 else { return }
        decideBatch()
        sendReplies()
        wave.begin()
    }

    /// Sends everyone served so far their replies, and forgets both.
    private func sendReplies() {
        isMomentNew = false
        var start = 0
        let holdsReplies = holdsReplies
        for (position, connection) in wave.served.enumerated() {
            let end = max(start, wave.replyEnds[position])
            if end > start {
                if holdsReplies, wave.changes[position] {
                    hold(connection, reply.bytes[start..<end])
                } else {
                    send(connection, reply.bytes[start..<end])
                }
            }
            start = end
            endAfterReply(connection)
        }
        wave.forgetServed()
        reply.removeAll(retaining: Wave.outputRetained)
        if !holding.isEmpty { releaseHeld() }
    }

    /// Sends what there is in the middle of a connection's pipeline, where a few bytes of request have asked for
    /// megabytes of reply: memory stays near the largest single reply, and the output limit sees the rest. The wave
    /// goes on with the connection being served; its input stays where it is.
    func flushReplies() {
        guard let connection = wave.served.last, reply.count > Wave.outputRetained else { return }
        decideBatch()
        sendReplies()
        wave.begin(connection, replyStart: 0)
        wave.replyEnds[0] = 0
    }

    /// Closes a connection that has said its last, or stops reading it while the peer takes its time: input that is
    /// never read would make every wait for events return at once.
    func endAfterReply(_ connection: Connection) {
        if connection.flags.contains(.handedOver), !connection.flags.contains(.closed) {
            // What waits for the disk is sent before the stream; what comes from the peer is for whoever takes over.
            guard connection.held != nil else { return handOver(connection) }
            return setInterest(connection, reading: false, writing: connection.pendingOutput != nil)
        }
        guard connection.flags.contains(.closeAfterReply), !connection.flags.contains(.closed) else { return }
        let isDone = connection.pendingOutput == nil && connection.held == nil
        guard !isDone || connection.flags.contains(.blocked) else { return close(connection) }
        setInterest(connection, reading: false, writing: connection.pendingOutput != nil)
        watchEnd(of: connection)
    }

    /// Sends bytes behind whatever the connection still waits to get rid of.
    func send(_ connection: Connection, _ bytes: Slice<UnsafeBufferPointer<UInt8>>) {
        guard !connection.flags.contains(.closed) else { return }
        let bytes = UnsafeBufferPointer(rebasing: bytes)
        guard connection.held == nil else { return keepBehindHeld(connection, bytes) }
        var sent = 0
        if connection.pendingOutput == nil {
            sent = transmit(connection, bytes)
            if sent == bytes.count { return }
            guard !connection.flags.contains(.closed) else { return }
            connection.pendingOutput = PendingOutput()
            setInterest(connection, reading: connection.isReading, writing: true)
        }
        connection.pendingOutput!.append(UnsafeBufferPointer(rebasing: bytes[sent...]))
        checkOutputLimit(connection)
    }

    /// As `send`, but what has to be kept is not copied, as long as nothing waits for the disk.
    func send(_ connection: Connection, piece: [UInt8]) {
        guard let pending = connection.pendingOutput, connection.held == nil, !connection.flags.contains(.closed)
        else { return piece.withUnsafeBufferPointer { send(connection, $0[...]) } }
        pending.append(piece)
        checkOutputLimit(connection)
    }

    /// Sends what the connection had to keep; stops waiting for room when all of it has gone.
    func sendPending(_ connection: Connection) {
        guard let pending = connection.pendingOutput, !connection.flags.contains(.closed) else { return }
        let unsent = pending.count
        pending.drain { transmit(connection, $0) }
        if pending.count < unsent { connection.lastActiveAt = seconds }
        guard pending.count == 0, !connection.flags.contains(.closed) else { return }
        if pending.overSoftLimitSince != nil { softLimitWatch -= 1 }
        connection.pendingOutput = nil
        countMemory(of: connection)
        if connection.flags.contains(.closeAfterReply), connection.held == nil { return close(connection) }
        setInterest(connection, reading: connection.isReading, writing: false)
    }

    /// Offers bytes to the socket. Returns how many it took; closes the connection when the peer is gone.
    private func transmit(_ connection: Connection, _ bytes: UnsafeBufferPointer<UInt8>) -> Int {
        while true {
            let sent = Glibc.send(connection.fd, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if sent >= 0 {
                counters.add(.outputBytes, UInt64(sent))
                return sent
            }
            if errno == EINTR { continue }
            if errno != EAGAIN { close(connection) }
            return 0
        }
    }
}
