// A client's RESP session: the progress of its parser, the negotiated protocol options, and unfinished transactions and
// subscriptions.
//
// Owns all state of a connection that is specific to RESP. Ten thousand idle connections must cost next to nothing, so
// whatever few clients need is a nil pointer until then.
//
// Threads: the same as its connection, whose fields it shares: only with the turn lock of its loop held.
//
// Other files continue this type: +Input (from bytes to requests), +Answers (from decisions to bytes); of the loop,
// EventLoop+Dispatch (from a request to its handler) and +LimiterCalls (from a request to calls of the batch).

import RESP
import System

/// The state of a session. These flags are the upper half of one word shared with the connection's own flags: see
/// `ConnectionFields`.
struct SessionFlags: OptionSet {
    let rawValue: UInt32

    /// Has not authenticated yet.
    static let unauthenticated = SessionFlags(rawValue: 1 << 16)
    /// Between MULTI and EXEC.
    static let inTransaction = SessionFlags(rawValue: 1 << 17)
    /// Subscribed to at least one channel or pattern.
    static let subscribed = SessionFlags(rawValue: 1 << 18)
    /// Receives a copy of every command.
    static let monitor = SessionFlags(rawValue: 1 << 19)
    /// CLIENT REPLY OFF.
    static let replyOff = SessionFlags(rawValue: 1 << 20)
    /// CLIENT REPLY SKIP: the next command's reply is dropped.
    static let replySkipNext = SessionFlags(rawValue: 1 << 21)
    /// The command being run is the one whose reply is dropped.
    static let replySkip = SessionFlags(rawValue: 1 << 22)
    /// CLIENT NO-TOUCH, shown by CLIENT LIST.
    static let noTouch = SessionFlags(rawValue: 1 << 23)
    /// Speaks RESP3.
    static let resp3 = SessionFlags(rawValue: 1 << 24)

    /// Has selected another database than 0: its limiter calls need other keys in the batch.
    static let otherDatabase = SessionFlags(rawValue: 1 << 25)

    /// Flags that do not affect how a command runs.
    static let fastPathCompatible: SessionFlags = [.noTouch, .resp3]
}

/// A client's self-description. Allocated when it first sets something.
final class ClientDescription {
    var name: [UInt8] = []
    var libraryName: [UInt8] = []
    var libraryVersion: [UInt8] = []

    var memory: Int { name.capacity + libraryName.capacity + libraryVersion.capacity }
}

/// A session in RESP. Belongs to one connection.
final class RESPSession {
    /// The connection's fields; the connection frees them.
    private let fields: Pinned<ConnectionFields>
    var parser = RequestParser()
    /// Arguments found so far of the first request in the kept input.
    var pendingArguments: [ArgumentRange] = []
    var transaction: Transaction?
    private var rareState: RareState?

    /// State that few clients ever have.
    private final class RareState {
        var description: ClientDescription?
        var subscriptions: Subscriptions?
        var replica: ReplicaGreeting?
    }

    init(sharing fields: Pinned<ConnectionFields>, needsPassword: Bool) {
        self.fields = fields
        if needsPassword { flags.insert(.unauthenticated) }
    }

    @inline(__always)
    var flags: SessionFlags {
        get { fields.pointee.sessionFlags }
        set { fields.pointee.sessionFlags = newValue }
    }

    @inline(__always)
    var version: ProtocolVersion {
        get { flags.contains(.resp3) ? .resp3 : .resp2 }
        set { if newValue == .resp3 { flags.insert(.resp3) } else { flags.remove(.resp3) } }
    }

    /// The database that the client has selected.
    var database: Int {
        get { Int(fields.pointee.database) }
        set {
            fields.pointee.database = UInt8(newValue)
            if newValue == 0 { flags.remove(.otherDatabase) } else { flags.insert(.otherDatabase) }
        }
    }

    /// Index of the last command in the command table; -1 before the first.
    @inline(__always)
    var lastCommand: Int16 {
        get { fields.pointee.lastCommand }
        set { fields.pointee.lastCommand = newValue }
    }

    @inline(__always)
    var lastSubcommand: Int16 {
        get { fields.pointee.lastSubcommand }
        set { fields.pointee.lastSubcommand = newValue }
    }

    /// The session's state that determines which commands it may run.
    var facts: SessionFacts {
        SessionFacts(
            isUnauthenticated: flags.contains(.unauthenticated), isInTransaction: flags.contains(.inTransaction),
            isInSubscribedMode: isInSubscribedMode)
    }

    /// Subscribed in RESP2: only a few commands are allowed then, since a reply would be indistinguishable from a
    /// message.
    var isInSubscribedMode: Bool { flags.contains(.subscribed) && version == .resp2 }

    // MARK: Rare state

    var description: ClientDescription? {
        get { rareState?.description }
        set { change(newValue == nil) { $0.description = newValue } }
    }

    var subscriptions: Subscriptions? {
        get { rareState?.subscriptions }
        set { change(newValue == nil) { $0.subscriptions = newValue } }
    }

    /// What REPLCONF and PSYNC specified. After PSYNC the connection is about to be handed over.
    var replica: ReplicaGreeting? {
        get { rareState?.replica }
        set { change(newValue == nil) { $0.replica = newValue } }
    }

    private func change(_ isRemoval: Bool, _ body: (RareState) -> Void) {
        if rareState == nil {
            guard !isRemoval else { return }
            rareState = RareState()
        }
        body(rareState!)
    }

    /// Bytes of memory it uses besides its own object. O(1).
    var memory: Int {
        var sum = pendingArguments.capacity * MemoryLayout<ArgumentRange>.stride
        if let transaction { sum += transaction.memory + Connection.objectMemory }
        guard let rareState else { return sum }
        sum += Connection.objectMemory
        if let description = rareState.description { sum += description.memory + Connection.objectMemory }
        if let subscriptions = rareState.subscriptions { sum += subscriptions.bytes + Connection.objectMemory }
        return sum
    }

    // MARK: Ending

    /// Detaches the session from its loop: unwatches keys, unsubscribes, and leaves MONITOR.
    func end(_ connection: Connection) {
        let loop = connection.loop
        loop.endTransaction(of: connection)
        pendingArguments = []
        if flags.contains(.monitor) { loop.server.monitors.remove(connection) }
        if subscriptions != nil { loop.server.publisher.unsubscribeAll(connection) }
    }
}

extension Connection {
    /// Changes the client's self-description.
    func describe(_ change: (ClientDescription) -> Void) {
        if resp.description == nil { resp.description = ClientDescription() }
        change(resp.description!)
        loop.countMemory(of: self)
    }
}
