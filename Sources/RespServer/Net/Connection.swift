// One client connection: its channel, the state of unfinished work, and its session, which knows what the bytes mean.
//
// Owns its channel, and with it the descriptor and any buffered input or output. Ten thousand idle connections must
// cost next to nothing, so everything a connection needs only while something is unfinished is a nil pointer until
// then.
//
// Threads: fields are accessed only with the turn lock of the connection's event loop held: by its own loop during a
// turn, or by another loop that has stopped all of them.

import System
import Transport

/// The state of a connection, independent of its protocol. `SessionFlags` adds what is specific to the session.
struct ConnectionFlags: OptionSet {
    let rawValue: UInt32

    /// Reads nothing more, and closes once everything written has gone out.
    static let closeAfterReply = ConnectionFlags(rawValue: 1 << 0)
    /// To be closed by its loop as soon as possible, even with unsent output.
    static let closeSoon = ConnectionFlags(rawValue: 1 << 1)
    /// Waits for CLIENT PAUSE to end; its input is kept.
    static let suspended = ConnectionFlags(rawValue: 1 << 2)
    /// CLIENT NO-EVICT: never closed to free memory.
    static let noEvict = ConnectionFlags(rawValue: 1 << 3)
    /// Accepted on the unix socket.
    static let unixSocket = ConnectionFlags(rawValue: 1 << 4)
    /// The descriptor is closed; the object waits for the end of the turn.
    static let closed = ConnectionFlags(rawValue: 1 << 5)

    /// Waits for the reply to a command that does not finish within the turn; its input is kept.
    static let blocked = ConnectionFlags(rawValue: 1 << 6)
    /// Its next command is deferred to the next turn; its input is kept, and not read until then.
    static let deferred = ConnectionFlags(rawValue: 1 << 7)

    /// A replica: handed over to the replication thread as soon as its turn's replies are sent.
    static let handedOver = ConnectionFlags(rawValue: 1 << 8)

    /// The peer ended its input while a request is waiting: nothing is read until that request is done, and then the
    /// end of input is found again.
    static let inputEnded = ConnectionFlags(rawValue: 1 << 9)
    /// With `blocked`: the reply may never come, or take longer than the server waits for a peer that has ended its
    /// input.
    static let waitsLong = ConnectionFlags(rawValue: 1 << 10)
    /// On its loop's list of connections that are about to close.
    static let ending = ConnectionFlags(rawValue: 1 << 11)

    /// Once its last reply is sent, its output is ended, and its input discarded for a while before it is closed:
    /// closing with unread input resets the connection, and the peer may lose the reply.
    static let lingers = ConnectionFlags(rawValue: 1 << 12)
    /// With `lingers`: the last reply is sent.
    static let discarding = ConnectionFlags(rawValue: 1 << 13)

    /// Over HTTP: the peer has not accepted all responses yet. Until it has, none of its requests run, so that the
    /// responses to a pipeline do not pile up; its input is kept.
    static let congested = ConnectionFlags(rawValue: 1 << 14)

    /// Flags that do not affect how a command runs.
    static let fastPathCompatible: ConnectionFlags = [.unixSocket, .noEvict]
}

/// What every request checks: fields of the connection and of its session, in one piece of pinned memory.
struct ConnectionFields {
    /// The flags of the connection, in the lower half, and of its session. A limiter call takes the fast path while all
    /// flags set are compatible with it.
    struct Word {
        fileprivate static let sessionHalf: UInt32 = 0xFFFF_0000
        private static let compatible =
            ConnectionFlags.fastPathCompatible.rawValue | SessionFlags.fastPathCompatible.rawValue

        fileprivate var bits: UInt32

        init(_ connection: ConnectionFlags, _ session: SessionFlags) {
            assert(connection.rawValue & Word.sessionHalf == 0 && session.rawValue & ~Word.sessionHalf == 0)
            bits = connection.rawValue | session.rawValue
        }

        /// All flags that keep the connection off the fast path; 0 if none.
        @inline(__always)
        var unusual: UInt32 { bits & ~Word.compatible }

        /// As `unusual`, but a selected database other than 0 does not count.
        @inline(__always)
        var unusualInDatabase: UInt32 { bits & ~(Word.compatible | SessionFlags.otherDatabase.rawValue) }
    }

    var word: Word
    /// Positions in the command table, for CLIENT LIST; -1 for none.
    var lastCommand: Int16 = -1
    var lastSubcommand: Int16 = -1
    var slot: Int32 = -1
    /// The selected database; the session's flag `otherDatabase` is set unless it is 0.
    var database: UInt8 = 0
    var countedMemory = 0

    init(_ flags: ConnectionFlags) { word = Word(flags, []) }

    @inline(__always)
    var connectionFlags: ConnectionFlags {
        get { ConnectionFlags(rawValue: word.bits & ~Word.sessionHalf) }
        set { word.bits = word.bits & Word.sessionHalf | newValue.rawValue }
    }

    @inline(__always)
    var sessionFlags: SessionFlags {
        get { SessionFlags(rawValue: word.bits & Word.sessionHalf) }
        set { word.bits = word.bits & ~Word.sessionHalf | newValue.rawValue }
    }
}

/// A client connection.
///
/// `@unchecked Sendable`: references travel between threads in mailboxes and registries, but fields are touched only
/// with the turn lock of `loop` held.
final class Connection: @unchecked Sendable {
    /// Its socket, and buffered input and output.
    var channel: Channel
    /// Unique for the life of the process, ascending.
    let id: Int64
    /// Outlives its connections.
    unowned(unsafe) let loop: EventLoop
    let createdAt: SteadyInstant
    var lastActiveAt: SteadyInstant

    /// Accessed by every request, so pinned. Shared with the session.
    private let fields: Pinned<ConnectionFields>

    /// The protocol half of the connection.
    let session: Session

    /// Replies that wait for the disk, and all output after them.
    var held: HeldReplies?

    @inline(__always)
    var flags: ConnectionFlags {
        get { fields.pointee.connectionFlags }
        set { fields.pointee.connectionFlags = newValue }
    }

    /// Its flags and those of its session.
    @inline(__always)
    var word: ConnectionFields.Word { fields.pointee.word }

    /// Position in the loop's list of connections.
    var slot: Int {
        get { Int(fields.pointee.slot) }
        set { fields.pointee.slot = Int32(newValue) }
    }

    /// Positions in the command table, for CLIENT LIST; -1 for none.
    var lastCommand: Int16 { fields.pointee.lastCommand }
    var lastSubcommand: Int16 { fields.pointee.lastSubcommand }

    /// The loop's accounted value of the connection's memory: see ClientMemory.
    var countedMemory: Int {
        get { fields.pointee.countedMemory }
        set { fields.pointee.countedMemory = newValue }
    }

    init(
        _ stream: ByteStream, id: Int64, loop: EventLoop, kind: Listener.Kind, flags: ConnectionFlags,
        at steady: SteadyInstant
    ) {
        channel = Channel(stream)
        self.id = id
        self.loop = loop
        fields = Pinned(ConnectionFields(flags))
        session = Session(kind, sharing: fields, settings: loop.settings)
        createdAt = steady
        lastActiveAt = steady
    }

    deinit { fields.deallocate() }

    /// Whether input is read when it arrives.
    var isReading: Bool {
        flags.isDisjoint(with: [.suspended, .deferred, .closeAfterReply, .handedOver, .inputEnded, .congested])
            || flags.contains(.discarding)
    }

    /// Whether no flag, except that for a selected database, keeps the connection off the fast path.
    @inline(__always)
    var isFastPathEligible: Bool { word.unusualInDatabase == 0 }
}
