// Whether a command may run: one pure function of the command, the session and the server's state.
//
// Every command passes it, also each one of a batch, by the part of it that is one comparison (`isOnFastPath`): there
// is nothing unusual about the session, nor about the server. A command that had to wait for something passes it again.
//
// The order of refusals is Redis's: authentication, what a transaction cannot have, the disk, other nodes, subscribed
// mode, stale data, loading. Memory is not asked here: the engine refuses the calls that need some, and no others.

/// What becomes of a well-formed request.
enum Admission: Equatable {
    case run
    /// Kept for EXEC.
    case queue
    /// Kept with all that comes after it until a pause ends.
    case suspend
    case refuse(Refusal)
}

/// Why a command is refused.
enum Refusal: Equatable {
    /// The session has not authenticated.
    case unauthenticated
    /// Not between MULTI and EXEC.
    case inTransaction
    case diskFailed
    /// It writes, and too few replicas keep up.
    case lacksReplicas
    /// It writes, and this is a replica.
    case readOnly
    /// The session is subscribed to something, in RESP2.
    case subscribed
    /// A replica without a link.
    case stale
    case loading
    /// A replica without a state.
    case lacksState
}

/// In which states of the server a command runs nevertheless; of EXEC, in which all that it would run does.
struct ToleratedStates: OptionSet {
    let rawValue: UInt8

    static let loading = ToleratedStates(rawValue: 1 << 0)
    static let stale = ToleratedStates(rawValue: 1 << 1)
    /// The state is being replaced, or there has never been one.
    static let receiving = ToleratedStates(rawValue: 1 << 2)
    static let all: ToleratedStates = [.loading, .stale, .receiving]

    init(rawValue: UInt8) { self.rawValue = rawValue }

    init(_ flags: CommandFlags) {
        self = []
        if flags.contains(.loading) { insert([.loading, .receiving]) }
        // What says whom to follow has to work in every state, also when the primary dies in the middle of a full sync.
        if !flags.isDisjoint(with: [.stale, .ownRefusal]) { insert([.stale, .receiving]) }
    }
}

/// What counts about a request.
struct RequestFacts {
    var flags: CommandFlags
    /// It may change keys, now or, as EXEC, through what was queued.
    var isWrite: Bool
    var tolerates: ToleratedStates

    /// A command by itself.
    init(_ flags: CommandFlags, isWrite: Bool) {
        self.flags = flags
        self.isWrite = isWrite
        tolerates = ToleratedStates(flags)
    }
}

/// What counts about the session that sent it.
struct SessionFacts {
    var isUnauthenticated = false
    var isInTransaction = false
    /// Subscribed in RESP2, where a reply could not be told from a message.
    var isInSubscribedMode = false
}

extension Admission {
    /// Whether a batched command may go right into the batch. For any other the whole question is asked.
    @inline(__always)
    static func isOnFastPath(_ connection: ConnectionFields.Word, _ state: ServerState) -> Bool {
        connection.unusual | state.rawValue == 0
    }

    /// What becomes of a request.
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
        // While the state is read at the start it is not settled yet which part the node plays.
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
        // Before its first state it has nothing to be asked for, stale or not.
        return state.contains(.lacksState) && !isLoading ? .lacksState : nil
    }

    private static func isHeld(_ request: RequestFacts, _ state: ServerState) -> Bool {
        guard !state.isDisjoint(with: [.paused, .writesPaused, .handingOver]), !request.flags.contains(.ignoresPause)
        else { return false }
        if state.contains(.paused) || request.isWrite { return true }
        // As in Redis; but a failover does not keep back the messages that Sentinels send each other.
        return request.flags.contains(.mayReplicate) && state.contains(.writesPaused)
    }
}
