// One client connection: its channel, what is under way with it, and its session, which knows what the bytes mean.
//
// Owns its channel, and with it the descriptor and whatever input or output had to be kept. Ten thousand idle
// connections must cost next to nothing, so everything a connection needs only while something is unfinished is a nil
// pointer until then.
//
// Threads: every field is touched only by whoever holds the turn lock of the connection's event loop: its own loop
// during a turn, or another loop that has stopped all of them.

import System
import Transport

/// The state of a connection, whatever it speaks. What its session adds are `SessionFlags`.
struct ConnectionFlags: OptionSet {
    let rawValue: UInt32

    /// Reads nothing more, and closes once everything written has gone out.
    static let closeAfterReply = ConnectionFlags(rawValue: 1 << 0)
    /// To be closed by its loop as soon as it can, whatever is unsent.
    static let closeSoon = ConnectionFlags(rawValue: 1 << 1)
    /// Waits for CLIENT PAUSE to end; its input is kept.
    static let suspended = ConnectionFlags(rawValue: 1 << 2)
    /// Is not closed to save memory: CLIENT NO-EVICT.
    static let noEvict = ConnectionFlags(rawValue: 1 << 3)
    /// Came in over the unix socket.
    static let unixSocket = ConnectionFlags(rawValue: 1 << 4)
    /// The descriptor is closed; the object waits for the end of the turn.
    static let closed = ConnectionFlags(rawValue: 1 << 5)

    /// Waits for the answer to a command that takes its time; its input is kept.
    static let blocked = ConnectionFlags(rawValue: 1 << 6)
    /// Its next command waits for the next turn; its input is kept, and not read until then.
    static let deferred = ConnectionFlags(rawValue: 1 << 7)

    /// A replica: goes over to the replication thread as soon as its turn's replies are sent.
    static let handedOver = ConnectionFlags(rawValue: 1 << 8)

    /// The peer was seen to have ended its input while a request waits: nothing is read until that request is done,
    /// and then the end is found again.
    static let inputEnded = ConnectionFlags(rawValue: 1 << 9)
    /// With `blocked`: the answer may never come, or later than a peer that has ended its input is waited for.
    static let waitsLong = ConnectionFlags(rawValue: 1 << 10)
    /// On its loop's list of connections that are about to end.
    static let ending = ConnectionFlags(rawValue: 1 << 11)

    /// Flags that do not concern how a command runs.
    static let fastPathCompatible: ConnectionFlags = [.unixSocket, .noEvict]
}

/// What is looked at with every request: fields of the connection and of its session, in one piece of pinned memory.
struct ConnectionFields {
    /// The flags of the connection, in the lower half, and of its session. While only those are set that are compatible
    /// with it, a limiter call takes the fast path.
    struct Word {
        fileprivate static let sessionHalf: UInt32 = 0xFFFF_0000
        private static let compatible =
            ConnectionFlags.fastPathCompatible.rawValue | SessionFlags.fastPathCompatible.rawValue

        fileprivate var bits: UInt32

        init(_ connection: ConnectionFlags, _ session: SessionFlags) {
            assert(connection.rawValue & Word.sessionHalf == 0 && session.rawValue & ~Word.sessionHalf == 0)
            bits = connection.rawValue | session.rawValue
        }

        /// All that keeps the connection off the fast path; 0 for nothing.
        @inline(__always)
        var unusual: UInt32 { bits & ~Word.compatible }
    }

    var word: Word
    /// Positions in the command table, for CLIENT LIST; -1 for none.
    var lastCommand: Int16 = -1
    var lastSubcommand: Int16 = -1
    var slot: Int32 = -1
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
    /// Its socket, and what had to be kept of input and output.
    var channel: Channel
    /// Unique for the life of the process, ascending.
    let id: Int64
    /// Outlives its connections.
    unowned(unsafe) let loop: EventLoop
    let createdAt: SteadyInstant
    var lastActiveAt: SteadyInstant

    /// Looked at with every request, so pinned. The session uses them, too.
    private let fields: Pinned<ConnectionFields>

    /// What it speaks.
    let session: Session

    /// Replies that wait for the disk, and whatever has to come behind them.
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

    /// What the loop has counted of the connection's memory: see ClientMemory.
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

    /// Whether input is looked at when it comes.
    var isReading: Bool {
        flags.isDisjoint(with: [.suspended, .deferred, .closeAfterReply, .handedOver, .inputEnded])
    }

    /// Whether nothing about it is unusual.
    @inline(__always)
    var isFastPathEligible: Bool { word.unusual == 0 }
}
