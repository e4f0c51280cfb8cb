// A replica's connection to its primary, as a state machine: events in, actions out.
//
//                 ┌────────────────────────────────── any failure ─────────────────────────────┐
//                 ▼                                                                            │
//   off ─start─▶ waiting ─time─▶ connecting ─▶ pinging ─▶ authenticating ─▶ announcing… ─▶ requesting
//    ▲                              ▲ first one at once                                     │      │
//    └── stop, from any state       └── start                     +FULLRESYNC ┌─────────────┘      │ +CONTINUE
//                                                                             ▼                    ▼
//                                                                         receiving ─▶ completing ─▶ streaming
//                                                                         snapshot     journal up    journal
//                                                                                      to wholeAt and horizon
// Invariants:
// (1) `position` identifies the state that the actions so far have produced; nil while that is part of a snapshot. The
//     next PSYNC requests to continue from it.
// (2) `wholeAt` is set from a snapshot's end until the journal has reached it. Before that the state is one that the
//     primary never had: its keys are from different points in time. It may only be continued in the same history; it
//     is not promoted, acknowledged or served.
// (3) `horizon` is the time by which the node has expired keys, if that was its own clock as a primary. Until the
//     stream reaches it, the state may lack keys still in force at the primary, so the link is not up. If a primary's
//     clock does not get there within `patience`, a full sync is requested.
// (4) Only what has been returned as `batch`, of a consistent state, is acknowledged. The driver performs an action
//     before it returns for the next.
// (5) Between connections there is always a pause, which doubles up to a limit until a link has come up.
// (6) Buffered is at most one line of `lineMax` bytes or one batch (StreamDecoder).
//
// Owns: the handshake, what to request, timeouts. Never touches a socket, a clock, the engine or the journal. Not
// thread-safe; actions are performed inside the call and may read the link, but must not call it.

package import LimiterEngine
import Persistence
package import System

/// The replica's side of a link.
package final class UpstreamLink {
    /// Upper bound on the bytes of a handshake line.
    static let lineMax = 1024

    /// Changes take effect with the next step they concern.
    package var settings: Settings
    /// The link's state.
    package private(set) var state = State.off
    /// The position of the node's state; nil when it has none.
    package private(set) var position: StreamPosition?
    /// Offset at which the state becomes consistent; nil when it is, or when there is none.
    package private(set) var wholeAt: Int64?
    /// The time by which keys have been expired here, until the stream has reached it.
    package private(set) var horizon: EngineTime?
    /// When something was last received from the primary.
    package private(set) var lastHeard = SteadyInstant.boot
    /// Why the link last failed; nil while it is up.
    package private(set) var failure: Failure?
    /// Whether the other node has been asked to take over and has not answered yet.
    package private(set) var takesOver = false
    private var permitsLoss = false
    /// PSYNC has been sent since the start: the other node may have taken over, whatever it answers.
    private var hasAsked = false
    private var pause = Nanoseconds.zero
    private var line: [UInt8] = []
    private var decoder = StreamDecoder()
    private var fullSyncPosition: StreamPosition?
    private var lastSent = SteadyInstant.boot
    private var hasProgressed = false
    private var completingSince = SteadyInstant.boot

    /// A link that is off.
    package init(settings: Settings) { self.settings = settings }

    /// Whether the journal is being received, and the state is consistent: `master_link_status:up`.
    package var isUp: Bool { state == .streaming }
    /// Whether a full sync is in progress: `master_sync_in_progress`.
    package var isSyncing: Bool { state == .receiving || state == .completing }

    private var hasConnection: Bool {
        switch state {
        case .off, .waiting: false
        default: true
        }
    }

    // MARK: Events

    /// Begins to follow. `position` is that of the node's state; nil when it has none, or an inconsistent one.
    ///
    /// - Parameters:
    ///   - horizon: Engine time here: the stream has to reach it before the link is up. Nil for no such condition.
    ///   - takesOver: The node was primary until now, and asks the other to take over.
    ///   - permitsLoss: It may do so even if it lacks the end of this node's journal.
    package func start(
        position: StreamPosition?, horizon: EngineTime?, takesOver: Bool = false, permitsLoss: Bool = false,
        now: SteadyInstant, _ perform: (Action) -> Void
    ) {
        stop(perform)
        self.position = position
        self.horizon = horizon
        self.takesOver = takesOver
        self.permitsLoss = permitsLoss
        hasAsked = false
        wholeAt = nil
        failure = nil
        hasProgressed = true
        pause = settings.firstPause
        connect(now, perform)
    }

    /// Stops following.
    package func stop(_ perform: (Action) -> Void) {
        let wasConnected = hasConnection
        state = .off
        takesOver = false
        if wasConnected { perform(.disconnect(nil)) }
    }

    /// The connection is established.
    package func connected(now: SteadyInstant, _ perform: (Action) -> Void) {
        guard state == .connecting else { return }
        lastHeard = now
        line.removeAll()
        state = .pinging
        send(["PING"], now, perform)
    }

    /// The connection failed or has ended.
    package func failed(now: SteadyInstant, _ perform: (Action) -> Void) {
        guard hasConnection else { return }
        fail(.connection, now, perform)
    }

    /// Time has passed: to be called about every 100 ms.
    ///
    /// - Parameter synced: Offset up to which a restart would recover the node's journal; -1 without a log, and until a
    ///   received snapshot has been adopted.
    package func tick(now: SteadyInstant, synced: Int64, _ perform: (Action) -> Void) {
        if case .waiting(let until) = state, now >= until { return connect(now, perform) }
        guard hasConnection else { return }
        if now - lastHeard > settings.timeout { return fail(.silence, now, perform) }
        if state == .completing, wholeAt == nil, now - completingSince > settings.patience {
            position = nil
            return fail(.unexpected("its clock is behind this node's"), now, perform)
        }
        guard now - lastSent >= settings.acknowledgeInterval else { return }
        switch state {
        case .streaming: acknowledge(synced: synced, now, perform)
        // The offset of an inconsistent state would be counted as one that survives a failover.
        case .receiving, .completing: sendKeepAlive(now, perform)
        default: break
        }
    }

    /// Bytes were received over the connection, split arbitrarily.
    package func received(
        _ bytes: UnsafeRawBufferPointer, now: SteadyInstant, synced: Int64, _ perform: (Action) -> Void
    ) {
        guard hasConnection, state != .connecting else { return }
        lastHeard = now
        var rest = bytes
        var isAsked = false
        while true {
            switch state {
            case .off, .waiting, .connecting: return
            case .receiving, .completing, .streaming:
                guard let isEmptyBatch = readStream(&rest, now, perform) else {
                    if isAsked, state == .streaming { acknowledge(synced: synced, now, perform) }
                    return
                }
                isAsked = isAsked || isEmptyBatch
            default:
                guard readLine(&rest, now, perform) else { return }
            }
        }
    }

    // MARK: Stream

    /// Returns whether the input calls for an acknowledgement; nil when there is nothing more to read.
    private func readStream(
        _ rest: inout UnsafeRawBufferPointer, _ now: SteadyInstant, _ perform: (Action) -> Void
    ) -> Bool? {
        let event: StreamDecoder.Event?
        do throws(StreamError) {
            event = try decoder.next(&rest)
        } catch {
            fail(.stream(error), now, perform)
            return nil
        }
        switch event {
        case nil: return nil
        case .header(let header): return began(header, now, perform) ? false : nil
        case .snapshotBatch(let batch, let bytes): perform(.snapshotBatch(batch, bytes))
        case .snapshotEnd(let keys, let end):
            position = fullSyncPosition
            wholeAt = end
            state = .completing
            perform(.endSnapshot(keys: keys))
            considerUp(now, perform)
        case .batch(let batch, let bytes):
            position!.offset = decoder.offset
            hasProgressed = true
            if let time = horizon, batch.time >= time { horizon = nil }
            perform(.batch(batch, bytes))
            considerUp(now, perform)
            return batch.payloadCount == 0
        }
        return false
    }

    private func began(_ header: FileHeader, _ now: SteadyInstant, _ perform: (Action) -> Void) -> Bool {
        guard header.journalOffset == fullSyncPosition?.offset else {
            fail(.unexpected("a snapshot at offset \(header.journalOffset)"), now, perform)
            return false
        }
        position = nil
        wholeAt = nil
        horizon = nil
        perform(.beginSnapshot(fullSyncPosition!.id, header))
        return true
    }

    private func considerUp(_ now: SteadyInstant, _ perform: (Action) -> Void) {
        guard state == .completing else { return }
        if let end = wholeAt {
            guard position!.offset >= end else { return }
            wholeAt = nil
            perform(.becameWhole)
        }
        guard horizon == nil else { return }
        state = .streaming
        failure = nil
        pause = settings.firstPause
        // Lets the primary learn this node's offset soon.
        lastSent = now - settings.acknowledgeInterval
        perform(.online)
    }

    // MARK: Sending and failing

    private func connect(_ now: SteadyInstant, _ perform: (Action) -> Void) {
        lastHeard = now
        state = .connecting
        perform(.connect)
    }

    private func send(_ words: [String], _ now: SteadyInstant, _ perform: (Action) -> Void) {
        lastSent = now
        perform(.send(encodedCommand(words)))
    }

    private func acknowledge(synced: Int64, _ now: SteadyInstant, _ perform: (Action) -> Void) {
        let offset = position!.offset
        send(["REPLCONF", "ACK", "\(offset)", "FACK", "\(min(synced, offset))"], now, perform)
    }

    private func sendKeepAlive(_ now: SteadyInstant, _ perform: (Action) -> Void) {
        lastSent = now
        perform(.send([UInt8(ascii: "\n")]))
    }

    private func fail(_ failure: Failure, _ now: SteadyInstant, _ perform: (Action) -> Void) {
        if case .stream = failure, !hasProgressed {
            // The same position twice without a batch in between: this node's state does not fit, whatever the reason.
            position = nil
            wholeAt = nil
        }
        if case .stream = failure { hasProgressed = false }
        self.failure = failure
        state = .waiting(until: now + pause)
        pause = min(pause * 2, settings.longestPause)
        perform(.disconnect(failure))
    }

    // MARK: Handshake

    /// Reads a line and handles it; false when there is none yet.
    private func readLine(
        _ rest: inout UnsafeRawBufferPointer, _ now: SteadyInstant, _ perform: (Action) -> Void
    ) -> Bool {
        while let byte = rest.first {
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst())
            guard byte != UInt8(ascii: "\n") else {
                if line.last == UInt8(ascii: "\r") { line.removeLast() }
                let text = String(decoding: line, as: UTF8.self)
                line.removeAll()
                // An empty line is a keep-alive.
                if !text.isEmpty { answered(text, now, perform) }
                return true
            }
            guard line.count < UpstreamLink.lineMax else {
                fail(.unexpected("an unterminated line"), now, perform)
                return false
            }
            line.append(byte)
        }
        return false
    }

    private func answered(_ text: String, _ now: SteadyInstant, _ perform: (Action) -> Void) {
        let isError = text.hasPrefix("-")
        switch state {
        case .pinging:
            guard text.hasPrefix("+") || permitsPSYNC(text) else { return refused(text, now, perform) }
            guard let password = settings.password else { return announcePort(now, perform) }
            state = .authenticating
            send(["AUTH"] + (settings.user.map { [$0] } ?? []) + [password], now, perform)
        case .authenticating:
            guard !isError else { return refused(withoutSecrets(text), now, perform) }
            announcePort(now, perform)
        // A primary that does not know these commands can still serve the stream.
        case .announcingPort:
            guard let address = settings.address else { return announceCapability(now, perform) }
            state = .announcingAddress
            send(["REPLCONF", "ip-address", address], now, perform)
        case .announcingAddress: announceCapability(now, perform)
        case .announcingCapability:
            state = .requesting
            hasAsked = true
            send(SyncRequest(position: position, takesOver: takesOver).words, now, perform)
        case .requesting: answeredRequest(text, now, perform)
        default: break
        }
    }

    /// The answer to AUTH, for the log. A node that does not know the command repeats its arguments.
    private func withoutSecrets(_ text: String) -> String {
        let secrets = [settings.password, settings.user].compactMap { $0 }.filter { !$0.isEmpty }
        guard secrets.contains(where: { text.contains($0) }) || text.contains(", with args") else { return text }
        return "\(text.prefix { $0 != " " }) in answer to AUTH"
    }

    /// Whether the error answering PING does not rule out PSYNC: a password is missing, the other node has lost its own
    /// primary, or its disk fails. A node whose disk fails is not asked to take over, though, unless it may already
    /// have been asked: it would accept no write.
    private func permitsPSYNC(_ text: String) -> Bool {
        if text.hasPrefix("-MISCONF") { return !takesOver || hasAsked }
        return ["-NOAUTH", "-NOPERM", "-MASTERDOWN"].contains { text.hasPrefix($0) }
    }

    private func announcePort(_ now: SteadyInstant, _ perform: (Action) -> Void) {
        state = .announcingPort
        send(["REPLCONF", "listening-port", "\(settings.listeningPort)"], now, perform)
    }

    private func announceCapability(_ now: SteadyInstant, _ perform: (Action) -> Void) {
        state = .announcingCapability
        let forced = takesOver && permitsLoss ? ["capa", ReplicaAnnouncement.permitsLossWord] : []
        send(["REPLCONF", "capa", "psync2", "capa", "escapement1"] + forced, now, perform)
    }

    private func refused(_ text: String, _ now: SteadyInstant, _ perform: (Action) -> Void) {
        let words = text.hasPrefix("-") ? String(text.dropFirst()) : text
        fail(text.hasPrefix("-") ? .refused(words) : .unexpected(words), now, perform)
        // It never received the request, so it has not taken over.
        if takesOver, !hasAsked { failTakeover(words, perform) }
    }

    /// Reported once: if the driver continues to follow, this is an ordinary replica.
    private func failTakeover(_ words: String, _ perform: (Action) -> Void) {
        takesOver = false
        perform(.tookOver(.failure(TakeoverRefused(text: words))))
    }

    private func answeredRequest(_ text: String, _ now: SteadyInstant, _ perform: (Action) -> Void) {
        guard let answer = SyncAnswer(text, asked: position) else { return refused(text, now, perform) }
        if case .refused(let words) = answer {
            fail(.refused(words), now, perform)
            if takesOver { failTakeover(words, perform) }
            return
        }
        if takesOver {
            takesOver = false
            perform(.tookOver(.success(())))
        }
        switch answer {
        case .full(let position):
            fullSyncPosition = position
            decoder = StreamDecoder()
            state = .receiving
        case .partial(let id): continues(in: id, now, perform)
        case .refused: break
        }
    }

    private func continues(in id: ReplicationID, _ now: SteadyInstant, _ perform: (Action) -> Void) {
        if id != position!.id {
            guard wholeAt == nil else {
                // Only the old history could complete this state.
                position = nil
                wholeAt = nil
                return fail(.unexpected("a different history during a full sync"), now, perform)
            }
            position!.id = id
            perform(.follow(id))
        }
        decoder = StreamDecoder(offset: position!.offset)
        state = .completing
        completingSince = now
        considerUp(now, perform)
    }
}
