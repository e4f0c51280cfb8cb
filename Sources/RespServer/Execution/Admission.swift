// Whether a command may run: one pure function of the command, the session and the server's state.
//
// Every command passes it. Commands of a batch pass it through a single comparison (`isOnFastPath`), which holds when
// the state of neither the session nor the server restricts any command. A command that had to wait is checked again.
//
// The order of refusals is Redis's: authentication, commands not allowed in a transaction, the disk, other nodes,
// subscribed mode, stale data, loading. Memory is not checked here: the engine refuses exactly the calls that need
// more.

/// The outcome of a well-formed request.
enum Admission: Equatable {
    case run
    /// Kept for EXEC.
    case queue
    /// Kept, with all input after it, until a pause ends.
    case suspend
    case refuse(Refusal)
}

/// Why a command is refused.
enum Refusal: Equatable {
    /// The session has not authenticated.
    case unauthenticated
    /// Not allowed between MULTI and EXEC.
    case inTransaction
    case diskFailed
    /// A write, while too few replicas keep up.
    case lacksReplicas
    /// A write, on a replica.
    case readOnly
    /// The session is subscribed, in RESP2.
    case subscribed
    /// A replica without a link to its primary.
    case stale
    case loading
    /// A replica without a dataset.
    case lacksState
}

/// The states of the server in which a command may run nevertheless; for EXEC, those that all queued commands tolerate.
struct ToleratedStates: OptionSet {
    let rawValue: UInt8

    static let loading = ToleratedStates(rawValue: 1 << 0)
    static let stale = ToleratedStates(rawValue: 1 << 1)
    /// The dataset is being replaced, or has never been received.
    static let receiving = ToleratedStates(rawValue: 1 << 2)
    static let all: ToleratedStates = [.loading, .stale, .receiving]

    init(rawValue: UInt8) { self.rawValue = rawValue }

    init(_ flags: CommandFlags) {
        self = []
        if flags.contains(.loading) { insert([.loading, .receiving]) }
        // Commands that choose the primary must work in every state, even when the primary dies in the middle of a full
        // sync.
        if !flags.isDisjoint(with: [.stale, .ownRefusal]) { insert([.stale, .receiving]) }
    }
}

/// The properties of a request that decide its admission.
struct RequestFacts {
    var flags: CommandFlags
    /// It may change keys, either itself or, for EXEC, through queued commands.
    var isWrite: Bool
    var tolerates: ToleratedStates

    /// A single command.
    init(_ flags: CommandFlags, isWrite: Bool) {
        self.flags = flags
        self.isWrite = isWrite
        tolerates = ToleratedStates(flags)
    }
}

/// The properties of the requesting session that decide admission.
struct SessionFacts {
    var isUnauthenticated = false
    var isInTransaction = false
    /// Subscribed in RESP2, where a reply would be indistinguishable from a message.
    var isInSubscribedMode = false
}

extension Admission {
    /// Whether a batched command may go straight into the batch. Any other command takes the full check.
    @inline(__always)
    static func isOnFastPath(_ connection: ConnectionFields.Word, _ state: ServerState) -> Bool {
        connection.unusual | state.rawValue == 0
    }

    /// The same for a session that has selected another database than 0.
    @inline(__always)
    static func isOnFastPathInDatabase(_ connection: ConnectionFields.Word, _ state: ServerState) -> Bool {
        connection.unusualInDatabase | state.rawValue == 0
    }

    /// The outcome of a request.
    static func decide(_ request: RequestFacts, _ session: SessionFacts, _ state: ServerState) -> Admission {
        if let refusal = refusal(request, session, state) { return .refuse(refusal) }
        if session.isInTransaction, !request.flags.contains(.transactionControl) { return .queue }
        return isHeld(request, state) ? .suspend : .run
    }

    private static func refusal(_ request: RequestFacts, _ session: SessionFacts, _ state: ServerState) -> Refusal? {
        let flags = request.flags
        if session.isUnauthenticated, !flags.contains(.noAuth) { return .unauthenticated }
        if session.isInTransaction, flags.contains(.noMulti) { return .inTransaction }
        if state.contains(.diskFailed), request.isWrite || flags.contains(.reportsDisk) { return .diskFailed }
        // While the dataset is being loaded at startup, the node's role is not settled yet.
        let isLoading = state.contains(.loading)
        if !isLoading, request.isWrite {
            if state.contains(.restoring) { return .loading }
            if state.contains(.replica) { return .readOnly }
            if state.contains(.lacksReplicas) { return .lacksReplicas }
        }
        if session.isInSubscribedMode, !flags.contains(.whileSubscribed) { return .subscribed }
        if state.contains(.stale), !isLoading, !request.tolerates.contains(.stale) { return .stale }
        if isLoading, !request.tolerates.contains(.loading) { return .loading }
        guard !request.tolerates.contains(.receiving) else { return nil }
        if state.contains(.receiving) { return .loading }
        // Before its first dataset a replica has nothing to serve, stale or not.
        return state.contains(.lacksState) && !isLoading ? .lacksState : nil
    }

    private static func isHeld(_ request: RequestFacts, _ state: ServerState) -> Bool {
        guard !state.isDisjoint(with: [.paused, .writesPaused, .handingOver]), !request.flags.contains(.ignoresPause)
        else { return false }
        if state.contains(.paused) || request.isWrite { return true }
        // As in Redis; but a failover does not hold back the messages that Sentinels send each other.
        return request.flags.contains(.mayReplicate) && state.contains(.writesPaused)
    }
}
