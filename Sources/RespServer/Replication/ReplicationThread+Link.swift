// The link to the primary: its socket, and what comes over it on its way to engine, journal and clock.

import CLinux
import Glibc
import LimiterEngine
import Persistence
import Replication
import Synchronization
import System

extension ReplicationThread {
    func perform(_ action: ReplicaLink.Action) {
        switch action {
        case .connect: connect()
        case .send(let bytes):
            upstreamOutput += bytes
            flushUpstream()
        case .disconnect(let failure): disconnect(failure)
        case .tookOver(let result):
            if case .failure(let error) = result {
                server.log.warning("the other node does not take over", ["error": "\(error.text)"])
            }
            tookOver.append((try? result.get()) != nil)
        case .follow(let id): run(role.follows(id, end: server.durability.journal.offset))
        case .beginSnapshot(let id, let header): beginSnapshot(id, header)
        case .snapshotBatch(let batch, let bytes):
            apply(bytes, horizon: snapshotHeader!.time)
            clock.heard(batch.time, at: EngineClock.steady())
        case .endSnapshot(let keys):
            applier.endSnapshot()
            role.snapshotEnded()
            server.log.notice("snapshot of the primary received", ["keys": .integer(keys)])
        case .batch(let batch, let bytes):
            apply(bytes, horizon: batch.time)
            server.durability.journal.append(batch, bytes)
            clock.heard(batch.time, at: EngineClock.steady())
            server.clock.show(clock)
            drain()
        case .becameWhole:
            role.becameWhole()
            clock.becameWhole()
            face.set(lacksState: false)
            face.set(isReceiving: false)
            server.durability.ask(.attach(history: role.identity.id.text, isNewState: true))
        case .online:
            rememberRole()
            linkLog.reset()
            var fields: LogFields = ["offset": "\(server.durability.journal.offset)"]
            if let upstreamAddress {
                fields.append("host", "\(upstreamAddress.host)")
                fields.append("port", .integer(upstreamAddress.port))
            }
            server.log.notice("link to the primary is up", fields)
        }
    }

    private func apply(_ bytes: UnsafeRawBufferPointer, horizon: EngineTime) {
        do throws(RecordError) {
            try applier.apply(bytes, horizon: horizon)
        } catch {
            // The link has found every record valid before it handed the batch on, those of policies and rules too;
            // and a record that is valid applies to any state.
            preconditionFailure("a record of the stream: \(error.reason)")
        }
    }

    private func beginSnapshot(_ id: ReplicationID, _ header: FileHeader) {
        server.log.notice("full sync from the primary", ["offset": "\(header.journalOffset)"])
        // Readers are told LOADING, and the disk keeps the old state, until the new one is whole.
        face.set(isReceiving: true)
        awaitDisk { .detach($0) }
        server.durability.beginCounting()
        run(role.snapshotBegan(id))
        clock.replaced(
            at: header.time, EngineClock.steady(), filesAreCurrent: server.durability.status.filesAreCurrent)
        server.clock.show(clock)
        letReadersEnd()
        applier.beginSnapshot()
        snapshotHeader = header
        stream.restart(at: header.journalOffset, time: header.time)
    }

    // MARK: Socket

    private func connect() {
        guard let address = upstreamAddress else { return }
        if untried.of == address, !untried.addresses.isEmpty { return connect(to: untried.addresses.removeFirst()) }
        guard questions < PeerResolver.questionsMax else {
            return connectFailed("too many names are being looked up already")
        }
        questions += 1
        let (face, attempt) = (face, attempt)
        PeerResolver.ask(address) { face.ask(.resolved(attempt: attempt, address, $0)) }
    }

    /// A name's addresses are there: one of them for this attempt, the others for the next ones.
    func resolved(_ attempt: Int, _ address: PeerAddress, _ addresses: [ResolvedAddress]) {
        questions -= 1
        // The link has gone on without them.
        guard attempt == self.attempt, upstreamAddress == address else { return }
        guard let first = addresses.first else {
            return connectFailed("no address is found for this host")
        }
        untried = (address, Array(addresses.dropFirst()))
        connect(to: first)
    }

    private func connect(to address: ResolvedAddress) {
        upstream = clinux_socket(address.family, Int32(SOCK_STREAM.rawValue))
        guard upstream >= 0 else { return connectFailed("no socket: \(String(cString: strerror(errno)))") }
        var one: Int32 = 1
        setsockopt(upstream, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        let result = address.bytes.withUnsafeBytes {
            Glibc.connect(upstream, $0.baseAddress!.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
        guard result == 0 || errno == EINPROGRESS else {
            return connectFailed("cannot connect: \(String(cString: strerror(errno)))")
        }
        upstreamIsConnecting = true
        watch(upstream, ReplicationThread.upstreamToken, reading: true, writing: true, isNew: true)
    }

    /// Tells the link when it does not expect a call from inside of its own: at the next event.
    private func connectFailed(_ problem: String) {
        connectionProblem = problem
        if upstream >= 0 { close(upstream) }
        upstream = -1
        upstreamHasFailed = true
        face.wake()
    }

    func upstreamReady(events: UInt32) {
        guard upstream >= 0 else { return }
        let now = EngineClock.steady()
        if upstreamIsConnecting {
            var error: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(upstream, SOL_SOCKET, SO_ERROR, &error, &length)
            guard error == 0 else { return lostUpstream(now, "cannot connect: \(String(cString: strerror(error)))") }
            guard events & UInt32(clinux_epoll_out) != 0 else { return }
            upstreamIsConnecting = false
            // When it is lost, the name may stand for others.
            untried.addresses = []
            upstreamLine = LinkLine(
                isToPrimary: true, id: server.lastClientID.add(1, ordering: .relaxed).newValue, fd: upstream,
                peerAddress: SocketAddress.peer(of: upstream), localAddress: SocketAddress.local(of: upstream),
                since: now / 1_000_000_000, idle: 0)
            link.connected(now: now) { perform($0) }
        }
        flushUpstream()
        if events & UInt32(clinux_epoll_in | clinux_epoll_hangup | clinux_epoll_error) != 0 { readUpstream() }
    }

    private func readUpstream() {
        // A few reads, then the others have a turn.
        for _ in 0..<8 {
            guard upstream >= 0 else { return }
            let count = read(upstream, readBuffer.baseAddress, readBuffer.count)
            let now = EngineClock.steady()
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            guard count > 0 else {
                let problem = count == 0 ? "the primary has closed it" : String(cString: strerror(errno))
                return lostUpstream(now, "connection lost: \(problem)")
            }
            let bytes = UnsafeRawBufferPointer(rebasing: readBuffer[..<count])
            link.received(bytes, now: now, synced: syncedOffset) { perform($0) }
            if count < readBuffer.count { return }
        }
    }

    func lostUpstream(_ now: Int64, _ problem: String) {
        connectionProblem = problem
        link.failed(now: now) { perform($0) }
    }

    private func flushUpstream() {
        guard upstream >= 0, !upstreamIsConnecting else { return }
        while !upstreamOutput.isEmpty {
            let sent = upstreamOutput.withUnsafeBytes {
                Glibc.send(upstream, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard sent > 0 else { break }
            upstreamOutput.removeFirst(sent)
        }
        watch(
            upstream, ReplicationThread.upstreamToken, reading: true, writing: !upstreamOutput.isEmpty, isNew: false)
    }

    private func disconnect(_ failure: ReplicaLink.Failure?) {
        if upstream >= 0 { close(upstream) }
        upstream = -1
        attempt += 1
        upstreamHasFailed = false
        upstreamIsConnecting = false
        upstreamLine = nil
        upstreamOutput = []
        if let failure { logDown(failure) }
    }

    private func logDown(_ failure: ReplicaLink.Failure) {
        guard let address = upstreamAddress else { return }
        let why = failure.words(connection: connectionProblem, timeout: link.settings.timeout)
        guard let attempts = linkLog.failed(why, now: EngineClock.steady()) else { return }
        server.log.warning(
            "link to the primary is down; trying again",
            [
                "host": "\(address.host)", "port": .integer(address.port), "because": "\(why)",
                "attempts": .integer(attempts),
            ])
    }
}
