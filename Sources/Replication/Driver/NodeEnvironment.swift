// What a node's driver needs of the world around it. Two things implement it: the replication thread of the server,
// and the simulation.
//
// Every call returns when what it asks for is done, unless its comment says otherwise. The driver relies on the order
// of its calls: each is complete before the next begins.
//
// An implementation may read the driver from inside a call, but must not call its events: those come one at a time.

public import LimiterEngine
public import Persistence
public import System

/// The world around a `NodeDriver`.
public protocol NodeEnvironment: AnyObject {
    // MARK: Time and names

    /// The steady clock.
    var steady: SteadyInstant { get }
    /// The wall clock.
    var wall: WallInstant { get }
    /// An unused name, for the history that the node is about to begin.
    func freshID() -> ReplicationID
    /// The server is still starting.
    var isLoading: Bool { get }

    // MARK: Commands

    /// Commands are admitted by these from now on. Those that were admitted before may still be running.
    func show(_ gates: NodeGates)
    /// Engine time is what this clock says.
    func show(_ clock: StreamClock)
    /// INFO and CONFIG GET name this node as the one that is followed; nil for none.
    func show(following address: PeerAddress?)
    /// Returns when every command that had begun is done, and so is every change of rules from a file: those that begin
    /// from here on have seen the gates. A turn that lends its lock in the middle of a command has not ended.
    func waitForWriters()
    /// Returns when every command and every sweep that had begun is done: those that begin from here on have seen the
    /// gates and the clock.
    func waitForReaders()
    /// Closes the connections of all clients that are connected now, except the one that asked for the change.
    func closeClients(except asker: Int64)

    // MARK: Journal

    /// Collects every change and passes it to the journal's readers; only the latter where changes are not kept.
    func collect()
    /// Passes on what was added to the journal.
    func drain()
    /// Begins a backlog at the journal's end if there is none.
    func beginBacklog()
    /// The backlog continues, empty, at the journal's end.
    func restartBacklog()
    /// Journal and backlog continue elsewhere. Nothing of it is wanted on disk.
    func restartJournal(at offset: Int64, time: EngineTime)
    /// Runs `body` with the backlog, which does not change meanwhile.
    func withBacklog<Result>(_ body: (Backlog?) -> Result) -> Result
    /// Keeps changes for replicas, from now on and for good.
    func switchStreamOn()
    /// Keeps changes where a log or replicas want them, or on a replica not at all.
    func setJournaling(isPrimary: Bool)
    /// Changes were made that no journal has, since the history began: no offset names a state.
    var hasUncountedChanges: Bool { get }
    /// Another history or another state begins: from here on changes count.
    func beginCounting()

    // MARK: Disk

    /// Up to where a start would find the journal; -1 where that cannot be said.
    var syncedOffset: Int64 { get }
    /// What is on disk is of the state in memory, and not of one that a full sync has replaced.
    var filesAreCurrent: Bool { get }
    /// Writes the journal so far, and nothing after that until `attach`.
    func detach()
    /// Returns at once; later the files are begun anew, in this history.
    ///
    /// - Parameter isNewState: With another state than they have.
    func attach(history: String, isNewState: Bool)
    /// The journal has another name from now on. What is on disk is its beginning if it is called `old`; nil for
    /// whatever it is called.
    func rename(from old: String?, to new: String)
    /// Returns at once; later the engine is emptied and the state on disk read back, and `restored` follows with the
    /// number. States expired by `horizon` are left out.
    func restore(number: Int, horizon: EngineTime)
    /// Gives up reading the state back: nothing more of it goes into the engine.
    func stopRestoring()
    /// The log continues where the restored files end.
    func resumeLog()
    /// Puts the role on disk.
    func save(_ role: SavedRole) throws(StorageError)

    // MARK: Links

    /// Connects to the primary; `upstreamConnected` or `upstreamFailed` follows, not inside this call.
    func connect(to address: PeerAddress)
    /// Sends this to the primary.
    func sendUpstream(_ bytes: [UInt8])
    /// Closes the connection to the primary, or gives up making one.
    func disconnect()
    /// Closes a replica's connection, after these bytes as far as its socket takes them.
    func close(_ replica: ServedReplica, after bytes: [UInt8])

    // MARK: Answers

    /// WAIT or WAITAOF has this answer.
    func answer(_ answer: Acknowledgements.Answer)
    /// WAIT or WAITAOF ends with an error: the node is not the primary any more.
    func unblock(_ ticket: UInt64)
    /// For the log.
    func note(_ note: NodeNote)
}

/// What keeps commands back.
public struct NodeGates: Equatable, Sendable {
    /// Writes are the primary's.
    public var isReplica = true
    /// The state is being replaced, by a full sync or by the one on disk: nothing can be read.
    public var isReceiving = false
    /// The state on disk is being read back; then the node leads.
    public var isRestoring = false
    /// A replica that has never had a state.
    public var lacksState = false
    /// Fewer replicas keep up than `min-replicas-to-write` demands.
    public var lacksGoodReplicas = false
    /// A failover holds writes back.
    public var holdsWrites = false

    /// Those of a node that is starting: it takes no write before it has seen to its history.
    public init() {}
}

/// What the file of the role says.
public enum SavedRole: Equatable, Sendable {
    /// It was told this at run time.
    case role(NodeRole.Role)
    /// It is handing over to this node, and does not know whether that has taken over.
    case handingOver(PeerAddress)
    /// It was told nothing at run time, so its settings count; and it has had replicas.
    case configured
    /// The same, and by its settings it was a replica with a whole state.
    case configuredReplica

    /// What the node is to be at its start.
    ///
    /// - Parameter configured: What its settings say.
    public static func role(_ saved: SavedRole?, configured: NodeRole.Role) -> NodeRole.Role {
        switch saved {
        case .handingOver(let address): .replica(of: address)
        case .role(let role): role
        case .configured, .configuredReplica, nil: configured
        }
    }
}

/// What the log is told.
public enum NodeNote: Sendable {
    case following(PeerAddress)
    case leading(offset: Int64)
    case promotedInsideFullSync
    /// It leads, and there was no state on disk to go back to.
    case leadingWithoutState
    case roleSaved
    case roleNotSaved(StorageError)
    case handingOver(PeerAddress)
    /// Not handing over: that could not be saved.
    case handoverNotSaved
    /// The other node does not take over, in its words.
    case takeoverRefused(String)
    case fullSyncBegan(offset: Int64)
    case snapshotReceived(keys: Int)
    case linkUp(PeerAddress?, offset: Int64)
    case linkDown(PeerAddress, UpstreamLink.Failure)
    case partialSync(PeerAddress)
    case fullSync(PeerAddress)
    case replicaOnline(PeerAddress)
    case replicaGone(PeerAddress, DownstreamLink.Failure)
}
