// The protocol of a connection: the seam between the half of an event loop that moves bytes (Net/) and the halves that
// know what the bytes mean. A listener's kind determines which session its connections get.
//
//   Net/  reads ──▶ consume ──▶ the session parses: limiter calls go into the batch, each with a note that names its
//                               connection and how it is answered; anything else is admitted and run at once
//         writes ◀── the loop's reply buffer ◀── answer: the batch has been decided, and the session's kind prints it
//
// Owns: the list of what the transport asks of a session. It asks nothing else, and knows no session's type. Adding a
// protocol takes a case here, a class beside RESPSession, and its own reply forms in `Batch.ReplyForm`.
//
// An enumeration rather than a protocol: a call through it is a test of one bit, where an existential would have to be
// opened, and it is no larger than the bare reference.

import HTTP
import RESP
import System
import Transport

/// A connection's session.
enum Session {
    case resp(RESPSession)
    case http(HTTPSession)

    /// The session of a new connection, whose fields it shares.
    init(_ kind: Listener.Kind, sharing fields: Pinned<ConnectionFields>, settings: Settings) {
        switch kind {
        case .resp: self = .resp(RESPSession(sharing: fields, needsPassword: !settings.requirepass.isEmpty))
        case .http: self = .http(HTTPSession(.gateway, sharing: fields))
        case .admin: self = .http(HTTPSession(.admin, sharing: fields))
        }
    }

    // MARK: Input

    /// Executes everything complete in `count` bytes from `base`, and returns how many bytes were consumed. The rest is
    /// an incomplete request, or input that has to wait: the connection's flags specify which.
    @inline(__always)
    func consume(
        _ base: UnsafePointer<UInt8>, count: Int, of connection: Connection, on loop: EventLoop
    ) -> Int {
        switch self {
        case .resp(let session): session.consume(base, count: count, of: connection, on: loop)
        case .http(let session): session.consume(base, count: count, of: connection, on: loop)
        }
    }

    /// Prepares to consume kept input again, which now begins at `base`.
    func resume(at base: UnsafePointer<UInt8>, on loop: EventLoop) {
        switch self {
        case .resp(let session): session.resume(at: base, on: loop)
        case .http: break
        }
    }

    /// Remembers how far `consume` has looked: the input it left is kept.
    func keepPlace(on loop: EventLoop) {
        switch self {
        case .resp(let session): session.keepPlace(on: loop)
        case .http(let session): session.keepPlace(at: loop.steady)
        }
    }

    /// Discards that position: no input is kept.
    func forgetPlace() {
        switch self {
        case .resp(let session): session.forgetPlace()
        case .http(let session): session.forgetPlace()
        }
    }

    // MARK: Output

    /// Whether the reply to a blocking command is sent.
    var sendsReplies: Bool {
        switch self {
        case .resp(let session): session.flags.isDisjoint(with: [.replyOff, .replySkip])
        case .http: true
        }
    }

    /// Whether no request runs while the peer has not accepted all replies to earlier ones.
    var waitsForReader: Bool {
        switch self {
        case .resp: false
        case .http: true
        }
    }

    /// Whether the client receives messages it did not request, and may therefore be idle indefinitely.
    var isListening: Bool {
        switch self {
        case .resp(let session): !session.flags.isDisjoint(with: [.subscribed, .monitor])
        case .http: false
        }
    }

    /// Whether the connection has been idle for too long.
    func isOverdue(_ connection: Connection, at now: SteadyInstant, _ settings: Settings) -> Bool {
        switch self {
        case .resp:
            settings.timeoutSeconds > 0 && now - connection.lastActiveAt > .seconds(settings.timeoutSeconds)
                && !isListening
        case .http(let session): session.isOverdue(connection, at: now, settings)
        }
    }

    /// The time in which the request being received has to arrive begins now: it was not read before.
    func restartRequestTime() {
        if case .http(let session) = self { session.noteRequest() }
    }

    /// Sends what the client of an overdue connection is told before it is closed.
    func sendFarewell(to connection: Connection) {
        if case .http(let session) = self { session.sendFarewell(to: connection) }
    }

    /// Whether the client is subscribed to a channel or a pattern.
    var isSubscribed: Bool {
        switch self {
        case .resp(let session): session.flags.contains(.subscribed)
        case .http: false
        }
    }

    /// Counts bytes exchanged with an HTTP client; all bytes are also counted together.
    @inline(__always)
    func note(received: Int = 0, sent: Int = 0, on counters: LoopCounters) {
        if case .http(let session) = self { session.note(received: received, sent: sent, on: counters) }
    }

    // MARK: The connection

    /// The connection has been adopted by its loop.
    func begin(_ connection: Connection) {
        if case .http(let session) = self { connection.loop.http.count(1, session.listener) }
    }

    /// Detaches the session from its loop: removes its entries in structures shared with others.
    func end(_ connection: Connection) {
        switch self {
        case .resp(let session): session.end(connection)
        case .http(let session): connection.loop.http.count(-1, session.listener)
        }
    }

    /// Bytes of memory the session uses besides its own object. O(1).
    var memory: Int {
        switch self {
        case .resp(let session): session.memory
        case .http: HTTPSession.excessMemory
        }
    }

    /// Whether its connection may be closed to free memory.
    var isEvictable: Bool {
        switch self {
        case .resp(let session): session.replica == nil
        case .http: true
        }
    }

    /// The name the client has set; empty if none.
    var clientName: [UInt8] {
        switch self {
        case .resp(let session): session.description?.name ?? []
        case .http: []
        }
    }
}

extension Connection {
    /// Its RESP session: for code that runs a handler, subscribes or shows others' commands.
    @inline(__always)
    var resp: RESPSession {
        switch session {
        case .resp(let session): session
        case .http: preconditionFailure("not a connection in RESP")
        }
    }

    /// Its RESP session; nil for another protocol.
    var respIfAny: RESPSession? {
        if case .resp(let session) = session { session } else { nil }
    }

    /// The name the client has set; empty if none.
    var name: [UInt8] { session.clientName }
}

/// The replies that sessions have written for the connections of a wave, as the transport sees them.
extension EventLoop {
    var replyBytes: UnsafeBufferPointer<UInt8> { reply.bytes }
    var replyCount: Int { reply.count }

    /// Clears the buffer after all of it has been sent or kept. A buffer that grew large releases its memory.
    func removeReplies() { reply.removeAll(retaining: LoopBuffers.outputRetained) }
}
