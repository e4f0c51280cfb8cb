// A replica's connection to its primary, as a state machine: events in, actions out.
//
//                 ┌────────────────────────────────── any failure ─────────────────────────────┐
//                 ▼                                                                            │
//   off ─start─▶ waiting ─time─▶ connecting ─▶ pinging ─▶ authenticating ─▶ announcing… ─▶ requesting
//    ▲                              ▲ first one at once                                     │      │
//    └── stop, from anywhere        └── start                     +FULLRESYNC ┌─────────────┘      │ +CONTINUE
//                                                                             ▼                    ▼
//                                                                         receiving ─▶ completing ─▶ streaming
//                                                                         snapshot     journal up    journal
//                                                                                      to wholeAt and horizon
// Invariants:
// (1) `position` names the state that the actions so far have made; nil while that is a part of a snapshot. It is what
//     the next PSYNC asks to continue.
// (2) `wholeAt` is there from a snapshot's end until the journal has reached it. Before that the state is one that the
//     primary never had: keys of different moments. It is continued in the same history only, is not promoted, not
//     acknowledged, not served.
// (3) `horizon` is the time by which the node has forgotten keys, where that was its own clock as a primary. Until the
//     stream says as much, the state may lack what is still in force at the primary: so the link is not up. A primary
//     whose clock does not get there within `patience` is asked for everything.
// (4) Acknowledged is only what has been handed out as `batch`, of a whole state. The driver performs an action before
//     it comes back for the next.
// (5) Between connections there is always a pause, which doubles up to a limit until a link has come up.
// (6) Held is one line of `lineMax` bytes or one batch (StreamDecoder).
//
// Owns: the handshake, what to ask for, time-outs. Refuses to touch a socket, a clock, the engine or the journal.
// Not thread-safe; actions are performed inside of the call, and must not call the link but to read it.

public import LimiterEngine
import Persistence
public import System

/// The replica's side of a link.
public final class UpstreamLink {
    /// Bytes of a line of the handshake at most.
    static let lineMax = 1024

    /// Takes effect with the next step it concerns.
    public var settings: Settings
    /// Where the link stands.
    public private(set) var state = State.off
    /// What the node's state is; nil when it is none.
    public private(set) var position: StreamPosition?
    /// Where the state becomes whole; nil when it is, or when there is none.
    public private(set) var wholeAt: Int64?
    /// The time by which keys have been forgotten here, if the stream has not said it yet.
    public private(set) var horizon: EngineTime?
    /// When the primary was heard of last.
    public private(set) var lastHeard = SteadyInstant.boot
    /// Why the link failed last; nil while it is up.
    public private(set) var failure: Failure?
    /// Whether the primary is asked to be one, and has not answered yet.
    public private(set) var takesOver = false
    /// PSYNC has been sent since the start: the other may have taken over, whatever it is heard to say.
    private var hasAsked = false
    private var pause = Nanoseconds.zero
    private var line: [UInt8] = []
    private var decoder = StreamDecoder()
    private var fullSyncPosition: StreamPosition?
    private var lastSent = SteadyInstant.boot
    private var hasProgressed = false
    private var completingSince = SteadyInstant.boot

    /// A link that is off.
    public init(settings: Settings) { self.settings = settings }

    /// Whether the journal comes in, and the state is whole: `master_link_status:up`.
    public var isUp: Bool { state == .streaming }
    /// Whether a full sync is under way: `master_sync_in_progress`.
    public var isSyncing: Bool { state == .receiving || state == .completing }

    private var hasConnection: Bool {
        switch state {
        case .off, .waiting: false
        default: true
        }
    }

    // MARK: Events

    /// Begins to follow. `position` is that of the node's state; nil when it has none, or none that is whole.
    ///
    /// - Parameters:
    ///   - horizon: Engine time here: the stream has to get there before the link is up. Nil asks nothing of it.
    ///   - takesOver: The node was primary until now, and wants the other to be.
    public func start(
        position: StreamPosition?, horizon: EngineTime?, takesOver: Bool = false, now: SteadyInstant,
        _ perform: (Action) -> Void
    ) {
        stop(perform)
        self.position = position
        self.horizon = horizon
        self.takesOver = takesOver
        hasAsked = false
        wholeAt = nil
        failure = nil
        hasProgressed = true
        pause = settings.firstPause
        connect(now, perform)
    }

    /// Ends; the node follows nobody.
    public func stop(_ perform: (Action) -> Void) {
        let wasConnected = hasConnection
        state = .off
        takesOver = false
        if wasConnected { perform(.disconnect(nil)) }
    }

    /// The connection is there.
    public func connected(now: SteadyInstant, _ perform: (Action) -> Void) {
        guard state == .connecting else { return }
        lastHeard = now
        line.removeAll()
        state = .pinging
        send(["PING"], now, perform)
    }

    /// No connection came about, or it has ended.
    public func failed(now: SteadyInstant, _ perform: (Action) -> Void) {
        guard hasConnection else { return }
        fail(.connection, now, perform)
    }

    /// Time has passed: to be called every 100 ms or so.
    ///
    /// - Parameter synced: Up to where a start would find the node's journal on disk; -1 without a log, and as long as
    ///   a received snapshot has not been adopted.
    public func tick(now: SteadyInstant, synced: Int64, _ perform: (Action) -> Void) {
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
        // An offset of a state that is not whole would be counted as one that survives a failover.
        case .receiving, .completing: signOfLife(now, perform)
        default: break
        }
    }

    /// Bytes have come over the connection, in any pieces.
    public func received(
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

    /// Returns whether what was read asks for an acknowledgement; nil when there is nothing more to read.
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
            fail(.unexpected("a snapshot of offset \(header.journalOffset)"), now, perform)
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
        // The primary does not have to wait for long to learn how far this node is.
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

    private func signOfLife(_ now: SteadyInstant, _ perform: (Action) -> Void) {
        lastSent = now
        perform(.send([UInt8(ascii: "\n")]))
    }

    private func fail(_ failure: Failure, _ now: SteadyInstant, _ perform: (Action) -> Void) {
        if case .stream = failure, !hasProgressed {
            // The same place twice without a batch between: what this node has does not fit, whatever the reason.
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

    /// Reads a line and answers it; false when there is none yet.
    private func readLine(
        _ rest: inout UnsafeRawBufferPointer, _ now: SteadyInstant, _ perform: (Action) -> Void
    ) -> Bool {
        while let byte = rest.first {
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst())
            guard byte != UInt8(ascii: "\n") else {
                if line.last == UInt8(ascii: "\r") { line.removeLast() }
                let text = String(decoding: line, as: UTF8.self)
                line.removeAll()
                // An empty line is a sign of life.
                if !text.isEmpty { answered(text, now, perform) }
                return true
            }
            guard line.count < UpstreamLink.lineMax else {
                fail(.unexpected("a line without an end"), now, perform)
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
            guard text.hasPrefix("+") || isNoHindrance(text) else { return refused(text, now, perform) }
            guard let password = settings.password else { return announcePort(now, perform) }
            state = .authenticating
            send(["AUTH"] + (settings.user.map { [$0] } ?? []) + [password], now, perform)
        case .authenticating:
            guard !isError else { return refused(withoutSecrets(text), now, perform) }
            announcePort(now, perform)
        // A primary that does not know these can still serve the stream.
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

    /// What AUTH was answered, for the log. A node that does not know the command repeats its arguments.
    private func withoutSecrets(_ text: String) -> String {
        let secrets = [settings.password, settings.user].compactMap { $0 }.filter { !$0.isEmpty }
        guard secrets.contains(where: { text.contains($0) }) || text.contains(", with args") else { return text }
        return "\(text.prefix { $0 != " " }) in answer to AUTH"
    }

    /// Whether what PING was answered says nothing of PSYNC: a password is missing, the other node has lost its own
    /// primary, or its disk fails. A node whose disk fails is not asked to take over, though, unless it may have been
    /// asked already: it would take no write.
    private func isNoHindrance(_ text: String) -> Bool {
        if text.hasPrefix("-MISCONF") { return !takesOver || hasAsked }
        return ["-NOAUTH", "-NOPERM", "-MASTERDOWN"].contains { text.hasPrefix($0) }
    }

    private func announcePort(_ now: SteadyInstant, _ perform: (Action) -> Void) {
        state = .announcingPort
        send(["REPLCONF", "listening-port", "\(settings.listeningPort)"], now, perform)
    }

    private func announceCapability(_ now: SteadyInstant, _ perform: (Action) -> Void) {
        state = .announcingCapability
        send(["REPLCONF", "capa", "psync2", "capa", "escapement1"], now, perform)
    }

    private func refused(_ text: String, _ now: SteadyInstant, _ perform: (Action) -> Void) {
        let words = text.hasPrefix("-") ? String(text.dropFirst()) : text
        fail(text.hasPrefix("-") ? .refused(words) : .unexpected(words), now, perform)
        // It has not heard of the wish: so it has not taken over.
        if takesOver, !hasAsked { failTakeover(words, perform) }
    }

    /// Said once: if the driver goes on following, it is as any replica.
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
                // What would make this state whole belongs to the old history alone.
                position = nil
                wholeAt = nil
                return fail(.unexpected("another history in the middle of a full sync"), now, perform)
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
