// A wave: reads every ready connection, lets its session consume the input, decides all limiter calls in batches, and
// writes all replies.
//
// Replies are written into one buffer in the order in which requests were parsed, connection by connection, so a
// connection's replies are one contiguous run of it. Any command that is not a limiter call first causes the calls
// queued before it to be decided: within a connection everything happens in order, as if there were no batches.

import CLinux
import Glibc
import System
import Transport

extension EventLoop {
    /// Serves one event of a connection.
    func serve(_ connection: Connection, events: PollEvents) {
        guard !connection.flags.contains(.closed) else { return }
        if connection.flags.contains(.closeSoon) { return close(connection) }
        if events.contains(.writable) { sendPending(connection) }
        if events.contains(.peerEnded), connection.flags.contains(.suspended) { noteEndOfInput(connection) }
        guard !events.isDisjoint(with: [.readable, .hangup, .error]), !connection.flags.contains(.closed)
        else { return }
        if connection.flags.contains(.discarding) { return discardInput(of: connection) }
        if !connection.isReading {
            // Its input waits; a hang-up does not.
            if !events.isDisjoint(with: [.hangup, .error]) { close(connection) }
            return
        }
        if buffers.isFull { finishWave() }
        receive(connection)
    }

    /// Reads what a blocked connection sends meanwhile.
    private func keepReading(_ connection: Connection) {
        let pending = connection.channel.input ?? InputBuffer()
        pending.reserve(LoopBuffers.readMin)
        // Even if nothing was read.
        defer { countMemory(of: connection) }
        guard let received = read(connection, into: pending.free) else { return }
        pending.received(received)
        connection.channel.input = pending
        checkInputLimit(connection)
    }

    private func receive(_ connection: Connection) {
        if connection.flags.contains(.blocked) { return keepReading(connection) }
        if let pending = connection.channel.input {
            // Doubles the buffer, so that a large request is read in few steps but no memory is reserved before it is
            // sent.
            pending.reserve(min(LoopBuffers.readMax, max(LoopBuffers.readMin, pending.count)))
            countMemory(of: connection)
            let free = UnsafeMutableRawBufferPointer(rebasing: pending.free.prefix(LoopBuffers.readMax))
            guard let received = read(connection, into: free) else { return }
            pending.received(received)
            processPending(connection, pending)
        } else {
            let room = min(LoopBuffers.readMax, LoopBuffers.inputCapacity - buffers.inputUsed)
            let start = buffers.input + buffers.inputUsed
            guard let received = read(connection, into: UnsafeMutableRawBufferPointer(start: start, count: room))
            else { return }
            buffers.inputUsed += received
            beginServing(connection)
            let used = connection.session.consume(start, count: received, of: connection, on: self)
            keepRest(of: connection, UnsafeBufferPointer(start: start + used, count: received - used))
        }
    }

    /// Reads once. Nil when there was nothing to read; at the end of input, the connection closes once it has been
    /// answered.
    @inline(__always)
    private func read(_ connection: Connection, into buffer: UnsafeMutableRawBufferPointer) -> Int? {
        switch connection.channel.stream.read(into: buffer) {
        case .bytes(let count):
            counters.add(.inputBytes, UInt64(count))
            connection.session.note(received: count, on: counters)
            connection.lastActiveAt = steady
            return count
        case .wouldBlock: break
        case .end: endInput(connection)
        case .failed: close(connection)
        }
        return nil
    }

    /// Processes kept input from where the session stopped.
    func processPending(_ connection: Connection, _ pending: InputBuffer) {
        // CLIENT KILL has been answered: none of its commands may run any more.
        guard !connection.flags.contains(.closeSoon) else { return close(connection) }
        beginServing(connection)
        connection.session.resume(at: pending.base, on: self)
        let used = connection.session.consume(pending.base, count: pending.count, of: connection, on: self)
        // The batch may refer to keys in these bytes.
        decideBatch()
        guard !connection.flags.contains(.closed) else { return }
        if used == pending.count || connection.flags.contains(.closeAfterReply) {
            connection.channel.input = nil
            connection.session.forgetPlace()
        } else {
            pending.consume(used)
            connection.session.keepPlace(on: self)
            checkInputLimit(connection)
        }
        countMemory(of: connection)
    }

    private func keepRest(of connection: Connection, _ rest: UnsafeBufferPointer<UInt8>) {
        guard rest.count > 0, !connection.flags.contains(.closed), !connection.flags.contains(.closeAfterReply)
        else { return }
        connection.channel.input = InputBuffer(rest)
        connection.session.keepPlace(on: self)
        countMemory(of: connection)
    }

    private func checkInputLimit(_ connection: Connection) {
        guard let pending = connection.channel.input, pending.count > settings.clientQueryBufferLimitBytes
        else { return }
        server.log.warning(
            "closing client: its request is over client-query-buffer-limit",
            ["id": "\(connection.id)", "addr": "\(connection.peerAddress)", "bytes": "\(pending.count)"])
        connection.flags.insert(.closeSoon)
        close(connection)
    }

    private func beginServing(_ connection: Connection) {
        if buffers.servedCount == LoopBuffers.servedMax { finishWave() }
        buffers.begin(connection, replyStart: replyCount)
    }

    // MARK: Writing

    /// Assigns the reply buffer up to this point to connections up to the one being served.
    func endReply() { buffers.replyEnds[buffers.servedCount - 1] = replyCount }

    /// Decides the queued calls, sends every connection its replies, and begins a new wave.
    func finishWave() {
        guard buffers.servedCount > 0 else { return }
        decideBatch()
        sendReplies()
        buffers.begin()
    }

    /// Sends every connection served so far its replies, and forgets both.
    private func sendReplies() {
        isTimestampFresh = false
        var start = 0
        let holdsReplies = holdsReplies
        for (position, connection) in buffers.served.enumerated() {
            let end = max(start, buffers.replyEnds[position])
            if end > start {
                if holdsReplies, buffers.changes[position] {
                    hold(connection, replyBytes[start..<end])
                } else {
                    send(connection, replyBytes[start..<end])
                }
            }
            start = end
            endAfterReply(connection)
        }
        buffers.forgetServed()
        removeReplies()
        if !holding.isEmpty { releaseHeld() }
    }

    /// Sends the replies so far in the middle of a connection's pipeline, where a few bytes of request have asked for
    /// megabytes of reply: memory stays near the largest single reply, and the output limit sees the rest. The wave
    /// continues with the connection being served; its input stays where it is.
    func flushReplies() {
        guard let connection = buffers.served.last, replyCount > LoopBuffers.outputRetained else { return }
        decideBatch()
        sendReplies()
        buffers.begin(connection, replyStart: 0)
        buffers.replyEnds[0] = 0
    }

    /// Closes a connection that has sent its last reply, or stops reading it until the peer has read its output: input
    /// that is never read would make every wait for events return at once.
    func endAfterReply(_ connection: Connection) {
        if connection.flags.contains(.handedOver), !connection.flags.contains(.closed) {
            // Replies waiting for the disk are sent before the stream; input from the peer is left for the replication
            // thread.
            guard connection.held != nil else { return handOver(connection) }
            return updateInterest(connection)
        }
        guard connection.flags.contains(.closeAfterReply), !connection.flags.contains(.closed) else { return }
        let isDone = connection.channel.output == nil && connection.held == nil
        guard !isDone || connection.flags.contains(.blocked) else { return closeAfterLastReply(connection) }
        updateInterest(connection)
        watchEnd(of: connection)
    }

    /// Sends bytes after any output that the connection has yet to send.
    func send(_ connection: Connection, _ bytes: Slice<UnsafeBufferPointer<UInt8>>) {
        guard !connection.flags.contains(.closed) else { return }
        let bytes = UnsafeBufferPointer(rebasing: bytes)
        guard connection.held == nil else { return keepBehindHeld(connection, bytes) }
        note(connection.channel.send(bytes), of: connection)
    }

    /// As `send`, but unsent bytes are kept without a copy, unless replies are waiting for the disk.
    func send(_ connection: Connection, piece: [UInt8]) {
        guard connection.held == nil, !connection.flags.contains(.closed) else {
            return piece.withUnsafeBufferPointer { send(connection, $0[...]) }
        }
        note(connection.channel.send(piece: piece), of: connection)
    }

    @inline(__always)
    private func note(_ result: SendResult, of connection: Connection) {
        counters.add(.outputBytes, UInt64(result.sent))
        connection.session.note(sent: result.sent, on: counters)
        if result.hasFailed { return close(connection) }
        guard result.waiting > 0 else { return }
        if connection.session.waitsForReader { connection.flags.insert(.congested) }
        updateInterest(connection)
        checkOutputLimit(connection)
    }

    /// Sends the connection's buffered output; stops polling for writability once all of it is sent.
    func sendPending(_ connection: Connection) {
        guard let output = connection.channel.output, !connection.flags.contains(.closed) else { return }
        let result = connection.channel.flush()
        counters.add(.outputBytes, UInt64(result.sent))
        connection.session.note(sent: result.sent, on: counters)
        if result.sent > 0 { connection.lastActiveAt = steady }
        if result.hasFailed { return close(connection) }
        if result.waiting == 0, output.overSoftLimitSince != nil { softLimitWatch -= 1 }
        countMemory(of: connection)
        guard result.waiting == 0 else { return }
        if connection.flags.contains(.closeAfterReply), connection.held == nil {
            return closeAfterLastReply(connection)
        }
        if connection.flags.remove(.congested) != nil { resumeInput(of: connection) }
        updateInterest(connection)
    }

    /// Continues in the next turn with the input of a connection that is no longer congested.
    private func resumeInput(of connection: Connection) {
        connection.session.restartRequestTime()
        let waits: ConnectionFlags = [.suspended, .blocked, .deferred, .closeAfterReply]
        guard connection.channel.input != nil, connection.flags.isDisjoint(with: waits) else { return }
        deferCommands(of: connection)
    }
}
