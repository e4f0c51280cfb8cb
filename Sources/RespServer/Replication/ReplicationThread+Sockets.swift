// The sockets of links: the one to the primary, and those of replicas. Bytes go to the driver and come from it; what
// they mean is not known here.

import CLinux
import Glibc
import RESP
import Replication
import Synchronization
import System

/// The connection to the primary, or the attempt to make one.
struct UpstreamSocket {
    /// -1 for none.
    var fd: Int32 = -1
    var isConnecting = false
    /// No connection came about; the driver is told outside of its own call.
    var hasFailed = false
    /// Nil without a connection.
    var line: LinkLine?
    var output: [UInt8] = []
    /// Whom it is to, or was.
    var address: PeerAddress?
    /// What became of the last connection, or of the attempt to make one, in words.
    var problem = ""
    /// Which attempt to connect this is: an answer for another one comes too late.
    var attempt = 0
    /// Addresses of the primary's name that the next attempts try, one each.
    var untried: (of: PeerAddress?, addresses: [ResolvedAddress]) = (nil, [])
    /// Names asked for and not answered.
    var pendingLookups = 0
}

/// A replica's connection.
final class ReplicaSocket {
    let id: LinkID
    let fd: Int32
    let line: LinkLine
    /// What it has sent of a request that is not complete.
    var input: [UInt8]
    /// Epoll reports when it takes more.
    var isWriting = false
    var isClosed = false

    init(_ handover: ReplicaHandover, id: LinkID, now: Int64) {
        self.id = id
        fd = handover.fd
        input = handover.input
        line = LinkLine(
            isToPrimary: false, id: handover.id, fd: handover.fd, peerAddress: handover.peerAddress,
            localAddress: SocketAddress.local(of: handover.fd), since: now / 1_000_000_000, idle: 0)
    }

    func line(idle: Int64) -> LinkLine {
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
    /// Bytes of a replica's unfinished request at most.
    private static let inputMax = 64 * 1024
    /// Bytes sent to one replica before the others have a turn.
    private static let outputPerTurn = 4 << 20

    func watch(_ fd: Int32, _ token: UInt64, reading: Bool, writing: Bool, isNew: Bool) {
        var events: UInt32 = 0
        if reading { events |= UInt32(clinux_epoll_in) }
        if writing { events |= UInt32(clinux_epoll_out) }
        _ = clinux_epoll_control(poller, isNew ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, events, token)
    }

    /// CLIENT KILL.
    func closeLinks(_ ids: [Int64]) {
        if let line = upstream.line, ids.contains(line.id) {
            lostUpstream("a client has closed it with CLIENT KILL")
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
        guard upstream.pendingLookups < PeerResolver.questionsMax else {
            return connectFailed("too many names are being looked up already")
        }
        upstream.pendingLookups += 1
        let (face, attempt) = (face, upstream.attempt)
        PeerResolver.ask(address) { face.ask(.resolved(attempt: attempt, address, $0)) }
    }

    /// A name's addresses are there: one of them for this attempt, the others for the next ones.
    func resolved(_ attempt: Int, _ address: PeerAddress, _ addresses: [ResolvedAddress]) {
        upstream.pendingLookups -= 1
        // The link has gone on without them.
        guard attempt == upstream.attempt, upstream.address == address else { return }
        guard let first = addresses.first else { return connectFailed("no address is found for this host") }
        upstream.untried = (address, Array(addresses.dropFirst()))
        open(first)
    }

    private func open(_ address: ResolvedAddress) {
        let fd = clinux_socket(address.family, Int32(SOCK_STREAM.rawValue))
        upstream.fd = fd
        guard fd >= 0 else { return connectFailed("no socket: \(String(cString: strerror(errno)))") }
        var one: Int32 = 1
        setsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        let result = address.bytes.withUnsafeBytes {
            Glibc.connect(fd, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
        guard result == 0 || errno == EINPROGRESS else {
            return connectFailed("cannot connect: \(String(cString: strerror(errno)))")
        }
        upstream.isConnecting = true
        watch(fd, ReplicationThread.upstreamToken, reading: true, writing: true, isNew: true)
    }

    private func connectFailed(_ problem: String) {
        upstream.problem = problem
        if upstream.fd >= 0 { Glibc.close(upstream.fd) }
        upstream.fd = -1
        upstream.hasFailed = true
        face.wake()
    }

    func upstreamReady(events: UInt32) {
        guard upstream.fd >= 0 else { return }
        if upstream.isConnecting {
            var error: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(upstream.fd, SOL_SOCKET, SO_ERROR, &error, &length)
            guard error == 0 else { return lostUpstream("cannot connect: \(String(cString: strerror(error)))") }
            guard events & UInt32(clinux_epoll_out) != 0 else { return }
            connected()
        }
        flushUpstream()
        if events & UInt32(clinux_epoll_in | clinux_epoll_hangup | clinux_epoll_error) != 0 { readUpstream() }
    }

    private func connected() {
        upstream.isConnecting = false
        // When it is lost, the name may stand for others.
        upstream.untried.addresses = []
        upstream.line = LinkLine(
            isToPrimary: true, id: server.lastClientID.add(1, ordering: .relaxed).newValue, fd: upstream.fd,
            peerAddress: SocketAddress.peer(of: upstream.fd), localAddress: SocketAddress.local(of: upstream.fd),
            since: EngineClock.steady() / 1_000_000_000, idle: 0)
        driver.upstreamConnected()
    }

    private func readUpstream() {
        // A few reads, then the others have a turn.
        for _ in 0..<8 {
            guard upstream.fd >= 0 else { return }
            let count = read(upstream.fd, readBuffer.baseAddress, readBuffer.count)
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            guard count > 0 else {
                let problem = count == 0 ? "the primary has closed it" : String(cString: strerror(errno))
                return lostUpstream("connection lost: \(problem)")
            }
            driver.upstreamReceived(UnsafeRawBufferPointer(rebasing: readBuffer[..<count]))
            if count < readBuffer.count { return }
        }
    }

    private func lostUpstream(_ problem: String) {
        upstream.problem = problem
        driver.upstreamFailed()
    }

    func sendUpstream(_ bytes: [UInt8]) {
        upstream.output += bytes
        flushUpstream()
    }

    private func flushUpstream() {
        guard upstream.fd >= 0, !upstream.isConnecting else { return }
        while !upstream.output.isEmpty {
            let sent = upstream.output.withUnsafeBytes { transmit($0, upstream.fd) }
            guard sent > 0 else { break }
            upstream.output.removeFirst(sent)
        }
        watch(
            upstream.fd, ReplicationThread.upstreamToken, reading: true, writing: !upstream.output.isEmpty,
            isNew: false)
    }

    func disconnect() {
        if upstream.fd >= 0 { Glibc.close(upstream.fd) }
        upstream.fd = -1
        upstream.attempt += 1
        upstream.hasFailed = false
        upstream.isConnecting = false
        upstream.line = nil
        upstream.output = []
    }

    // MARK: Of replicas

    func serve(_ handover: ReplicaHandover) {
        let replica = ReplicaSocket(handover, id: nextToken, now: EngineClock.steady())
        nextToken += 1
        replicas[replica.id] = replica
        server.replicasNow.add(1, ordering: .relaxed)
        watch(replica.fd, replica.id, reading: true, writing: false, isNew: true)
        driver.serve(
            ReplicaConnection(
                id: replica.id, peerHost: handover.peerHost, announcements: handover.announcements,
                request: handover.request, output: handover.output))
        parse(replica)
    }

    func close(_ served: ServedReplica, after bytes: [UInt8]) {
        guard let replica = replicas.removeValue(forKey: served.id) else { return }
        if !bytes.isEmpty { _ = bytes.withUnsafeBytes { transmit($0, replica.fd) } }
        replica.isClosed = true
        Glibc.close(replica.fd)
        server.replicasNow.subtract(1, ordering: .relaxed)
        server.connectionClosed()
    }

    func ready(_ replica: ReplicaSocket, events: UInt32) {
        if events & UInt32(clinux_epoll_in | clinux_epoll_hangup | clinux_epoll_error) != 0 {
            let count = Glibc.read(replica.fd, readBuffer.baseAddress, readBuffer.count)
            if count < 0, errno == EAGAIN || errno == EINTR { return send(replica) }
            guard count > 0 else { return driver.lost(replica.id) }
            replica.input += readBuffer[..<count]
            parse(replica)
        }
        send(replica)
    }

    /// Goes through what a replica has said.
    private func parse(_ replica: ReplicaSocket) {
        let arguments = ArgumentList()
        let limits = RequestLimits(bulkLengthMax: 4096, argumentsMax: 64)
        var used = 0
        let input = replica.input
        input.withUnsafeBufferPointer { bytes in
            guard let base = bytes.baseAddress else { return }
            while used < bytes.count, !replica.isClosed {
                var parser = RequestParser()
                let outcome = parser.parse(
                    base + used, count: bytes.count - used, into: arguments, limits: limits, authenticated: true)
                switch outcome {
                case .request: driver.said((0..<arguments.count).map { arguments[$0].string }, by: replica.id)
                case .nothing: driver.heard(from: replica.id)
                case .incomplete: return
                case .failure: return driver.lost(replica.id)
                }
                used += parser.consumed
                arguments.removeAll()
            }
        }
        guard !replica.isClosed else { return }
        replica.input.removeFirst(used)
        if replica.input.count > ReplicationThread.inputMax { driver.lost(replica.id) }
    }

    /// Sends as much as the replica's socket takes.
    func send(_ replica: ReplicaSocket) {
        guard !replica.isClosed else { return }
        let hasMore = driver.send(to: replica.id, limit: ReplicationThread.outputPerTurn) { transmit($0, replica.fd) }
        guard !replica.isClosed, hasMore != replica.isWriting else { return }
        replica.isWriting = hasMore
        watch(replica.fd, replica.id, reading: true, writing: hasMore, isNew: false)
    }

    /// How many bytes the socket took; none or fewer where it takes none now.
    private func transmit(_ bytes: UnsafeRawBufferPointer, _ fd: Int32) -> Int {
        Glibc.send(fd, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
    }
}
