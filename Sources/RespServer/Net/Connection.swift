// One client connection: its channel, how far its parser has come, and what is rarely there.
//
// Owns its channel, and with it the descriptor and whatever input or output had to be kept. Ten thousand idle
// connections must cost next to nothing, so everything a connection needs only while something is unfinished is a nil
// pointer until then.
//
// Threads: every field is touched only by whoever holds the turn lock of the connection's event loop: its own loop
// during a turn, or another loop that has stopped all of them.

import RESP
import System
import Transport

/// The state of a connection. While only `fastPathCompatible` ones are set, a limiter call goes into the batch.
struct ConnectionFlags: OptionSet {
    let rawValue: UInt32

    /// Has not given the password yet.
    static let unauthenticated = ConnectionFlags(rawValue: 1 << 0)
    /// Between MULTI and EXEC.
    static let inTransaction = ConnectionFlags(rawValue: 1 << 1)
    /// Subscribed to something.
    static let subscribed = ConnectionFlags(rawValue: 1 << 2)
    /// Receives a copy of every command.
    static let monitor = ConnectionFlags(rawValue: 1 << 3)
    /// CLIENT REPLY OFF.
    static let replyOff = ConnectionFlags(rawValue: 1 << 4)
    /// CLIENT REPLY SKIP: the next command's reply is dropped.
    static let replySkipNext = ConnectionFlags(rawValue: 1 << 5)
    /// The command being run is the one whose reply is dropped.
    static let replySkip = ConnectionFlags(rawValue: 1 << 6)
    /// Reads nothing more, and closes once everything written has gone out.
    static let closeAfterReply = ConnectionFlags(rawValue: 1 << 7)
    /// To be closed by its loop as soon as it can, whatever is unsent.
    static let closeSoon = ConnectionFlags(rawValue: 1 << 8)
    /// Waits for CLIENT PAUSE to end; its input is kept.
    static let suspended = ConnectionFlags(rawValue: 1 << 9)
    /// CLIENT NO-EVICT and NO-TOUCH, remembered for CLIENT LIST.
    static let noEvict = ConnectionFlags(rawValue: 1 << 10)
    static let noTouch = ConnectionFlags(rawValue: 1 << 11)
    /// Came in over the unix socket.
    static let unixSocket = ConnectionFlags(rawValue: 1 << 12)
    /// The descriptor is closed; the object waits for the end of the turn.
    static let closed = ConnectionFlags(rawValue: 1 << 13)

    /// Waits for the answer to a command that takes its time; its input is kept.
    static let blocked = ConnectionFlags(rawValue: 1 << 14)
    /// Its next command waits for the next turn; its input is kept, and not read until then.
    static let deferred = ConnectionFlags(rawValue: 1 << 19)

    /// A replica: goes over to the replication thread as soon as its turn's replies are sent.
    static let handedOver = ConnectionFlags(rawValue: 1 << 15)

    /// The peer was seen to have ended its input while a request waits: nothing is read until that request is done,
    /// and then the end is found again.
    static let inputEnded = ConnectionFlags(rawValue: 1 << 16)
    /// With `blocked`: the answer may never come, or later than a peer that has ended its input is waited for.
    static let waitsLong = ConnectionFlags(rawValue: 1 << 17)
    /// On its loop's list of connections that are about to end.
    static let ending = ConnectionFlags(rawValue: 1 << 18)

    /// Flags that do not concern how a command runs.
    static let fastPathCompatible: ConnectionFlags = [.unixSocket, .noEvict, .noTouch]
}

/// What a client said of itself. Allocated when it first says something.
final class ClientDescription {
    var name: [UInt8] = []
    var libraryName: [UInt8] = []
    var libraryVersion: [UInt8] = []

    var memory: Int { name.capacity + libraryName.capacity + libraryVersion.capacity }
}

/// A client connection.
///
/// `@unchecked Sendable`: references travel between threads in mailboxes and registries, but fields are touched only
/// with the turn lock of `loop` held.
final class Connection: @unchecked Sendable {
    /// Its socket, and what had to be kept of input and output.
    var channel: Channel
    /// Arguments of the first request in the channel's input that have been found so far.
    var pendingArguments: [ArgumentRange] = []
    /// Unique for the life of the process, ascending.
    let id: Int64
    /// Outlives its connections.
    unowned(unsafe) let loop: EventLoop
    let createdAt: SteadyInstant
    var lastActiveAt: SteadyInstant

    private struct Hot {
        var flags: ConnectionFlags
        var lastCommand: Int16 = -1
        var version = ProtocolVersion.resp2
        var countedMemory = 0
    }

    /// Looked at with every request, so pinned.
    private let hot: Pinned<Hot>

    var flags: ConnectionFlags {
        get { hot.pointee.flags }
        set { hot.pointee.flags = newValue }
    }

    var version: ProtocolVersion {
        get { hot.pointee.version }
        set { hot.pointee.version = newValue }
    }

    /// Index of the last command in the command table; -1 before the first.
    var lastCommand: Int16 {
        get { hot.pointee.lastCommand }
        set { hot.pointee.lastCommand = newValue }
    }

    /// What the loop has counted of the connection's memory: see ClientMemory.
    var countedMemory: Int {
        get { hot.pointee.countedMemory }
        set { hot.pointee.countedMemory = newValue }
    }

    var lastSubcommand: Int16 = -1
    var parser = RequestParser()
    /// Position in the loop's list of connections.
    var slot = -1

    /// Replies that wait for the disk, and whatever has to come behind them.
    var held: HeldReplies?
    /// What it said by REPLCONF, and by PSYNC: then it is about to be handed over.
    var replica: ReplicaGreeting?
    var description: ClientDescription?
    var transaction: Transaction?
    var subscriptions: Subscriptions?

    init(_ stream: ByteStream, id: Int64, loop: EventLoop, flags: ConnectionFlags, at steady: SteadyInstant) {
        channel = Channel(stream)
        self.id = id
        self.loop = loop
        hot = Pinned(Hot(flags: flags))
        createdAt = steady
        lastActiveAt = steady
    }

    deinit { hot.deallocate() }

    /// Whether input is looked at when it comes.
    var isReading: Bool {
        flags.isDisjoint(with: [.suspended, .deferred, .closeAfterReply, .handedOver, .inputEnded])
    }

    /// Whether nothing about it is unusual.
    @inline(__always)
    var isFastPathEligible: Bool { flags.isSubset(of: .fastPathCompatible) }

    /// What decides which commands it may run.
    var facts: SessionFacts {
        SessionFacts(
            isUnauthenticated: flags.contains(.unauthenticated), isInTransaction: flags.contains(.inTransaction),
            isInSubscribedMode: isInSubscribedMode)
    }

    /// Subscribed in RESP2: only a few commands are allowed then, since a reply could not be told from a message.
    var isInSubscribedMode: Bool { flags.contains(.subscribed) && version == .resp2 }

    /// What the client called itself; empty until it did.
    var name: [UInt8] { description?.name ?? [] }

    func describe(_ change: (ClientDescription) -> Void) {
        if description == nil { description = ClientDescription() }
        change(description!)
        loop.countMemory(of: self)
    }
}
