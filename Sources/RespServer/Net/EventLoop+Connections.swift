// Adopting and closing connections, and the reasons for closing that are the server's, not the peer's.

import CLinux
import Glibc
import Synchronization
import System
import Transport

extension EventLoop {
    /// Adopts an accepted connection.
    func adopt(_ stream: ByteStream, id: Int64, kind: Listener.Kind, isUnixSocket: Bool) {
        let connection = Connection(
            stream, id: id, loop: self, kind: kind, flags: isUnixSocket ? .unixSocket : [], at: steady)
        connection.slot = connections.count
        do throws(SystemError) {
            try connection.channel.register(with: poller, .readable, token: token(connection))
        } catch {
            server.log.warning("closing client: cannot register it with epoll", ["error": "\(error)"])
            stream.close()
            assigned.subtract(1, ordering: .relaxed)
            server.connectionClosed()
            return
        }
        connections.append(connection)
        connection.session.begin(connection)
        countMemory(of: connection)
    }

    private func token(_ connection: Connection) -> UInt64 {
        UInt64(UInt(bitPattern: Unmanaged.passUnretained(connection).toOpaque()))
    }

    /// Polls for the events that the connection waits for now.
    func updateInterest(_ connection: Connection) {
        var wanted: PollEvents = []
        if connection.isReading { wanted.insert(.readable) }
        if connection.channel.hasOutput { wanted.insert(.writable) }
        // A suspended connection is not read, so this is how the end of its input is noticed.
        if connection.flags.contains(.suspended), !connection.flags.contains(.inputEnded) { wanted.insert(.peerEnded) }
        connection.channel.poll(with: poller, wanted, token: token(connection))
    }

    /// Closes a connection now. Its object lives to the end of the turn, since pending events may still refer to it.
    func close(_ connection: Connection) {
        guard !connection.flags.contains(.closed) else { return }
        forget(connection)
        connection.channel.stream.close()
        server.connectionClosed()
    }

    /// Closes every connection with an id up to `last`, except `asker`, once its outstanding replies are sent.
    func closeClients(upTo last: Int64, except asker: Int64) {
        for connection in connections where connection.id <= last && connection.id != asker {
            connection.flags.insert(.closeAfterReply)
            endAfterReply(connection)
        }
    }

    /// Removes a connection from the loop without closing its descriptor.
    func forget(_ connection: Connection) {
        if connection.channel.output?.overSoftLimitSince != nil { softLimitWatch -= 1 }
        // The reply it waits for may never come.
        if connection.flags.contains(.blocked) {
            endBlocking(connection)
            if !endSliced(of: connection) { replication.ask(.waiterGone(connection.id)) }
        }
        assigned.subtract(1, ordering: .relaxed)
        connection.session.end(connection)
        connection.flags.insert(.closed)
        poller.remove(connection.channel.stream.descriptor)
        connection.channel.discard()
        connection.held = nil
        countMemory(of: connection)
        if connection.flags.contains(.suspended) { suspended.removeAll { $0 === connection } }
        let last = connections.removeLast()
        if last !== connection {
            connections[connection.slot] = last
            last.slot = connection.slot
        }
        closedThisTurn.append(connection)
    }

    /// Sends bytes that do not reply to a request: a message, a line of MONITOR.
    func deliver(_ bytes: [UInt8], to connection: Connection) {
        // Nothing follows the last reply.
        guard !connection.flags.contains(.closeAfterReply) else { return }
        bytes.withUnsafeBufferPointer { send(connection, $0[...]) }
    }

    // MARK: Output limits

    func outputLimit(for connection: Connection) -> OutputBufferLimit {
        let limits = settings.clientOutputBufferLimit
        return connection.session.isListening ? limits.pubsub : limits.normal
    }

    /// Closes a connection whose peer lets too much output pile up.
    func checkOutputLimit(_ connection: Connection) {
        countMemory(of: connection)
        let limit = outputLimit(for: connection)
        if let held = connection.held, limit.hardBytes > 0, held.count >= limit.hardBytes {
            return closeForOutput(connection, held.count)
        }
        guard let pending = connection.channel.output else { return }
        if limit.hardBytes > 0, pending.count >= limit.hardBytes {
            return closeForOutput(connection, pending.count)
        }
        guard limit.softBytes > 0, pending.count >= limit.softBytes else {
            if pending.overSoftLimitSince != nil { softLimitWatch -= 1 }
            pending.overSoftLimitSince = nil
            return
        }
        if let since = pending.overSoftLimitSince {
            if steady - since >= .seconds(limit.softSeconds) { closeForOutput(connection, pending.count) }
        } else {
            pending.overSoftLimitSince = steady
            softLimitWatch += 1
        }
    }

    func closeForOutput(_ connection: Connection, _ bytes: Int) {
        server.log.warning(
            "closing client: its unread replies exceed client-output-buffer-limit",
            ["id": "\(connection.id)", "addr": "\(connection.peerAddress)", "bytes": "\(bytes)"])
        counters.add(.outputLimitDisconnections, 1)
        close(connection)
    }

    func checkSoftLimits() {
        guard softLimitWatch > 0 else { return }
        for connection in connections where connection.channel.output?.overSoftLimitSince != nil {
            checkOutputLimit(connection)
        }
    }

    // MARK: Time

    /// Closes connections that have been idle for longer than their session permits. A connection whose request or
    /// reply is kept by the server is not idle.
    func closeIdle() {
        guard settings.timeoutSeconds > 0 || http.connections > 0 else { return }
        for connection in connections
        where connection.flags.isDisjoint(with: [.suspended, .blocked]) && connection.held == nil
            && connection.session.isOverdue(connection, at: steady, settings)
        {
            server.log.verbose("closing client: idle", ["id": "\(connection.id)"])
            connection.session.sendFarewell(to: connection)
            close(connection)
        }
    }

    /// Stops reading a connection until CLIENT PAUSE ends.
    func suspend(_ connection: Connection) {
        connection.flags.insert(.suspended)
        suspended.append(connection)
        updateInterest(connection)
    }

    func resumeSuspended() {
        let waiting = suspended
        suspended.removeAll()
        refreshState()
        for connection in waiting where !connection.flags.contains(.closed) {
            connection.flags.remove([.suspended, .inputEnded])
            connection.lastActiveAt = steady
            updateInterest(connection)
            if let pending = connection.channel.input { processPending(connection, pending) }
            if buffers.isFull { finishWave() }
        }
        finishWave()
    }
}
