// The channels of links: the one to the primary, and those of replicas. Passes bytes to and from the driver without
// interpreting them.

import RESP
import Replication
import Synchronization
import System
import Transport

/// The connection to the primary, or the attempt to connect.
struct UpstreamSocket {
    /// An open socket.
    final class Connection {
        var channel: Channel
        var isConnecting = true

        init(_ channel: consuming Channel) { self.channel = channel }
    }

    /// Nil if there is none.
    var connection: Connection?
    /// Connecting failed; the driver is notified outside of its own call.
    var hasFailed = false
    /// Nil without a connection.
    var line: LinkLine?
    /// The current or last node.
    var address: PeerAddress?
    /// Why the last connection, or connection attempt, failed, in words.
    var problem = ""
    /// Number of the connection attempt: an answer for an earlier one is ignored.
    var attempt = 0
    /// Addresses of the primary's name left for the next attempts, one each.
    var untried: (of: PeerAddress?, addresses: [ResolvedAddress]) = (nil, [])
    /// Name look-ups in progress.
    var pendingLookups = 0

    mutating func close() {
        connection?.channel.stream.close()
        connection = nil
        line = nil
    }
}

/// A replica's connection. The driver has its output, so the channel buffers only input: an incomplete request.
final class ReplicaSocket {
    let id: LinkID
    var channel: Channel
    let line: LinkLine
    var isClosed = false

    init(_ handover: ReplicaHandover, id: LinkID, now: SteadyInstant) {
        self.id = id
        channel = Channel(handover.stream)
        let input = InputBuffer()
        input.append(handover.input)
        channel.input = input
        line = LinkLine(
            isToPrimary: false, id: handover.id, fd: handover.stream.descriptor, peerAddress: handover.peerAddress,
            localAddress: handover.stream.localAddress, since: now, idle: .zero)
    }

    func line(idle: Nanoseconds) -> LinkLine {
        var line = line
        line.idle = idle
        return line
    }
}

extension ReplicaHandover {
    /// The address it connects from, without the port.
    fileprivate var peerHost: String {
        if peerAddress.hasPrefix("[") { return String(peerAddress.dropFirst().prefix { $0 != "]" }) }
        return String(peerAddress.prefix { $0 != ":" })
    }
}

extension ReplicationThread {
    /// Maximum size of a replica's incomplete request.
    private static let inputMax = 64 * 1024
    /// Maximum number of bytes sent to one replica before the others get a turn.
    private static let outputPerTurn = 4 << 20

    /// CLIENT KILL.
    func closeLinks(_ ids: [Int64]) {
        if let line = upstream.line, ids.contains(line.id) {
            lostUpstream("closed by CLIENT KILL")
        }
        for replica in Array(replicas.values) where ids.contains(replica.line.id) { driver.lost(replica.id) }
    }

    // MARK: To the primary

    func connect(to address: PeerAddress) {
        if upstream.address != address { linkLog.reset() }
        upstream.address = address
        if upstream.untried.of == address, !upstream.untried.addresses.isEmpty {
            return open(upstream.untried.addresses.removeFirst())
        }
        guard upstream.pendingLookups < PeerResolver.lookupsMax else {
            return connectFailed("too many name look-ups are in progress")
        }
        upstream.pendingLookups += 1
        let (replication, attempt) = (replication, upstream.attempt)
        PeerResolver.ask(address) { replication.ask(.resolved(attempt: attempt, address, $0)) }
    }

    /// A name's addresses have arrived: this attempt uses one of them, the next attempts the others.
    func resolved(_ attempt: Int, _ address: PeerAddress, _ addresses: [ResolvedAddress]) {
        upstream.pendingLookups -= 1
        // The link no longer needs them.
        guard attempt == upstream.attempt, upstream.address == address else { return }
        guard let first = addresses.first else { return connectFailed("no address found for this host") }
        upstream.untried = (address, Array(addresses.dropFirst()))
        open(first)
    }

    private func open(_ address: ResolvedAddress) {
        do throws(SystemError) {
            var channel = Channel(try ByteStream.connecting(to: address))
            try channel.register(with: poller, [.readable, .writable], token: ReplicationThread.upstreamToken)
            upstream.connection = UpstreamSocket.Connection(channel)
        } catch {
            let problem = error.call == "socket" ? "cannot create a socket" : "cannot connect"
            return connectFailed("\(problem): \(SystemError.text(error.code))")
        }
    }

    private func connectFailed(_ problem: String) {
        upstream.problem = problem
        upstream.close()
        upstream.hasFailed = true
        replication.wake()
    }

    func upstreamReady(events: PollEvents) {
        guard let connection = upstream.connection else { return }
        if connection.isConnecting {
            let error = connection.channel.stream.connectError
            guard error == 0 else { return lostUpstream("cannot connect: \(SystemError.text(error))") }
            guard events.contains(.writable) else { return }
            connected(connection)
        }
        flushUpstream()
        if !events.isDisjoint(with: [.readable, .hangup, .error]) { readUpstream() }
    }

    private func connected(_ connection: UpstreamSocket.Connection) {
        connection.isConnecting = false
        let stream = connection.channel.stream
        // After the connection is lost, the name may resolve to other addresses.
        upstream.untried.addresses = []
        upstream.line = LinkLine(
            isToPrimary: true, id: server.lastClientID.add(1, ordering: .relaxed).newValue, fd: stream.descriptor,
            peerAddress: stream.peerAddress, localAddress: stream.localAddress,
            since: SteadyInstant.now(), idle: .zero)
        driver.upstreamConnected()
    }

    private func readUpstream() {
        // Bounded, so that other sockets get a turn.
        for _ in 0..<8 {
            guard let connection = upstream.connection else { return }
            switch connection.channel.stream.read(into: readBuffer) {
            case .bytes(let count):
                driver.upstreamReceived(UnsafeRawBufferPointer(rebasing: readBuffer[..<count]))
                if count < readBuffer.count { return }
            case .wouldBlock: return
            case .end: return lostUpstream("connection lost: the primary has closed it")
            case .failed(let code): return lostUpstream("connection lost: \(SystemError.text(code))")
            }
        }
    }

    private func lostUpstream(_ problem: String) {
        upstream.problem = problem
        driver.upstreamFailed()
    }

    func sendUpstream(_ bytes: [UInt8]) {
        guard let connection = upstream.connection else { return }
        // Bytes that the socket does not accept are sent when there is room; a lost peer is noticed by the next read.
        _ = connection.channel.send(piece: bytes)
        poll(connection)
    }

    private func flushUpstream() {
        guard let connection = upstream.connection, !connection.isConnecting else { return }
        _ = connection.channel.flush()
        poll(connection)
    }

    private func poll(_ connection: UpstreamSocket.Connection) {
        let isWaiting = connection.isConnecting || connection.channel.hasOutput
        connection.channel.poll(
            with: poller, isWaiting ? [.readable, .writable] : .readable, token: ReplicationThread.upstreamToken)
    }

    func disconnect() {
        upstream.close()
        upstream.attempt += 1
        upstream.hasFailed = false
    }

    // MARK: Replicas

    func serve(_ handover: ReplicaHandover) {
        let replica = ReplicaSocket(handover, id: nextToken, now: SteadyInstant.now())
        nextToken += 1
        replicas[replica.id] = replica
        server.replicasNow.add(1, ordering: .relaxed)
        do throws(SystemError) {
            try replica.channel.register(with: poller, .readable, token: replica.id)
        } catch {
            server.log.warning("cannot register a replica's connection with epoll", ["error": "\(error)"])
        }
        driver.serve(
            ReplicaConnection(
                id: replica.id, peerHost: handover.peerHost, announcements: handover.announcements,
                request: handover.request, output: handover.output))
        parse(replica)
    }

    func close(_ served: ServedReplica, after bytes: [UInt8]) {
        guard let replica = replicas.removeValue(forKey: served.id) else { return }
        if !bytes.isEmpty { _ = bytes.withUnsafeBytes(replica.channel.stream.write) }
        replica.isClosed = true
        replica.channel.stream.close()
        server.replicasNow.subtract(1, ordering: .relaxed)
        server.connectionClosed()
    }

    func ready(_ replica: ReplicaSocket, events: PollEvents) {
        if !events.isDisjoint(with: [.readable, .hangup, .error]) {
            switch replica.channel.stream.read(into: readBuffer) {
            case .bytes(let count):
                replica.channel.input!.append(readBuffer[..<count])
                parse(replica)
            case .wouldBlock: break
            case .end, .failed: return driver.lost(replica.id)
            }
        }
        send(replica)
    }

    /// Parses a replica's input.
    private func parse(_ replica: ReplicaSocket) {
        let arguments = ArgumentList()
        let limits = RequestLimits(bulkLengthMax: 4096, argumentsMax: 64)
        let input = replica.channel.input!
        var used = 0
        while used < input.count, !replica.isClosed {
            var parser = RequestParser()
            let outcome = parser.parse(
                input.base + used, count: input.count - used, into: arguments, limits: limits, authenticated: true)
            if case .incomplete = outcome { break }
            switch outcome {
            case .request: driver.said((0..<arguments.count).map { arguments[$0].string }, by: replica.id)
            case .nothing: driver.heard(from: replica.id)
            case .incomplete: break
            case .failure: return driver.lost(replica.id)
            }
            used += parser.consumed
            arguments.removeAll()
        }
        guard !replica.isClosed else { return }
        input.consume(used)
        if input.count > ReplicationThread.inputMax { driver.lost(replica.id) }
    }

    /// Sends as much as the replica's socket accepts.
    func send(_ replica: ReplicaSocket) {
        guard !replica.isClosed else { return }
        let stream = replica.channel.stream
        let hasMore = driver.send(to: replica.id, limit: ReplicationThread.outputPerTurn) { bytes in
            guard case .bytes(let count) = stream.write(bytes) else { return 0 }
            return count
        }
        guard !replica.isClosed else { return }
        replica.channel.poll(with: poller, hasMore ? [.readable, .writable] : .readable, token: replica.id)
    }
}
