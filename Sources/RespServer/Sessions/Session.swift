// What a connection speaks: the seam between the half of an event loop that moves bytes (Net/) and the halves that know
// what the bytes mean. A listener's kind decides which session its connections get.
//
//   Net/  reads ──▶ consume ──▶ the session parses: limiter calls go into the batch, each with a note that names its
//                               connection and how it is answered; anything else is admitted and run at once
//         writes ◀── the loop's reply buffer ◀── answer: the batch has been decided, and the session's kind prints it
//
// Owns: the list of what the transport asks of a session. It asks nothing else, and knows no session's type. Another
// protocol is a case here, a class beside RESPSession, and reply forms of its own in `Batch.ReplyForm`.
//
// An enumeration and not a protocol: a call through it is a test of one bit, where an existential would be opened, and
// the reference takes as many bytes as it would alone.

import RESP
import System
import Transport

/// A connection's session.
enum Session {
    case resp(RESPSession)

    /// The session of a new connection, whose fields it shares.
    init(_ kind: Listener.Kind, sharing fields: Pinned<ConnectionFields>, settings: Settings) {
        switch kind {
        case .resp: self = .resp(RESPSession(sharing: fields, needsPassword: !settings.requirepass.isEmpty))
        }
    }

    // MARK: Input

    /// Carries out everything complete in `count` bytes from `base`, and returns how many bytes are done with. The rest
    /// is the beginning of a request, or input that has to wait: the connection's flags tell.
    @inline(__always)
    func consume(
        _ base: UnsafePointer<UInt8>, count: Int, of connection: Connection, on loop: EventLoop
    ) -> Int {
        switch self {
        case .resp(let session): session.consume(base, count: count, of: connection, on: loop)
        }
    }

    /// Input that was kept, and begins at `base` now, is about to be consumed again.
    func resume(at base: UnsafePointer<UInt8>, on loop: EventLoop) {
        switch self {
        case .resp(let session): session.resume(at: base, on: loop)
        }
    }

    /// What `consume` has left is kept: remembers how far it has looked.
    func keepPlace(on loop: EventLoop) {
        switch self {
        case .resp(let session): session.keepPlace(on: loop)
        }
    }

    /// No input is kept.
    func forgetPlace() {
        switch self {
        case .resp(let session): session.forgetPlace()
        }
    }

    // MARK: Output

    /// Whether the reply to a command that was waited for is sent.
    var sendsReplies: Bool {
        switch self {
        case .resp(let session): session.flags.isDisjoint(with: [.replyOff, .replySkip])
        }
    }

    /// Whether it is sent what it did not ask for just now, and may therefore be silent for as long as it likes.
    var isListening: Bool {
        switch self {
        case .resp(let session): !session.flags.isDisjoint(with: [.subscribed, .monitor])
        }
    }

    // MARK: The connection

    /// The connection leaves its loop: gives back what the session has in places that others look at.
    func end(_ connection: Connection) {
        switch self {
        case .resp(let session): session.end(connection)
        }
    }

    /// Bytes that the session keeps beside its own object. O(1).
    var memory: Int {
        switch self {
        case .resp(let session): session.memory
        }
    }

    /// Whether its connection may be closed to save memory.
    var isEvictable: Bool {
        switch self {
        case .resp(let session): session.replica == nil
        }
    }

    /// What the client calls itself; empty until it does.
    var clientName: [UInt8] {
        switch self {
        case .resp(let session): session.description?.name ?? []
        }
    }
}

extension Connection {
    /// Its session, which speaks RESP: whatever runs a command by a handler, subscribes or is shown others' commands.
    @inline(__always)
    var resp: RESPSession {
        switch session {
        case .resp(let session): session
        }
    }

    /// What the client called itself; empty until it did.
    var name: [UInt8] { session.clientName }
}

/// What sessions have written for the connections of a wave, as the transport sees it.
extension EventLoop {
    var replyBytes: UnsafeBufferPointer<UInt8> { reply.bytes }
    var replyCount: Int { reply.count }

    /// All of it has been sent or kept. What was large gives its memory back.
    func removeReplies() { reply.removeAll(retaining: LoopBuffers.outputRetained) }
}
