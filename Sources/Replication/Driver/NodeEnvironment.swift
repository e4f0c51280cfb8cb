// What a node's driver requires of its process. Implemented by the server's replication thread and by the simulation.
//
// Every call returns when its effect is complete, unless its comment states otherwise. The driver relies on the order
// of its calls: each completes before the next begins.
//
// An implementation may read the driver from inside a call, but must not call its events: those come one at a time.

package import LimiterEngine
package import Persistence
package import System

/// The process around a `NodeDriver`.
package protocol NodeEnvironment: AnyObject {
    // MARK: Time and names

    /// The steady clock.
    var steady: SteadyInstant { get }
    /// The wall clock.
    var wall: WallInstant { get }
    /// A new name, for the history that the node is about to begin.
    func freshID() -> ReplicationID
    /// Whether the server is still starting.
    var isLoading: Bool { get }

    // MARK: Commands

    /// From now on commands are admitted by these gates. Commands admitted before may still be running.
    func show(_ gates: NodeGates)
    /// From now on engine time is this clock's.
    func show(_ clock: StreamClock)
    /// INFO and CONFIG GET report this node as the one that is followed; nil for none.
    func show(following address: PeerAddress?)
    /// Returns when every command already begun has finished, and every change of rules from a file: those that begin
    /// from here on observe the gates. A turn that lends its lock in the middle of a command has not finished.
    func waitForWriters()
    /// Returns when every command and every sweep already begun has finished: those that begin from here on observe the
    /// gates and the clock.
    func waitForReaders()
    /// Closes all client connections except the one that requested the change.
    func closeClients(except asker: Int64)

    // MARK: Journal

    /// Collects every change and passes it to the journal's readers; only passes on if changes are not journaled.
    func collect()
    /// Passes on what was added to the journal.
    func drain()
    /// Creates a backlog at the journal's end if there is none.
    func beginBacklog()
    /// Empties the backlog, which continues at the journal's end.
    func restartBacklog()
    /// Journal and backlog continue at another offset. None of it is to be written to disk.
    func restartJournal(at offset: Int64, time: EngineTime)
    /// Runs `body` with the backlog, which does not change meanwhile.
    func withBacklog<Result>(_ body: (Backlog?) -> Result) -> Result
    /// Keeps changes for replicas, permanently from now on.
    func switchStreamOn()
    /// Switches journaling on where a log or replicas need it, or off on a replica.
    func setJournaling(isPrimary: Bool)
    /// Whether changes have been made since the history began that are in no journal: then no offset identifies a
    /// state.
    var hasUncountedChanges: Bool { get }
    /// Another history or another state begins: counting of changes restarts here.
    func beginCounting()

    // MARK: Disk

    /// Offset up to which a restart would recover the journal; -1 when unknown.
    var syncedOffset: Int64 { get }
    /// Whether the files hold the state in memory, and not one that a full sync has replaced.
    var filesAreCurrent: Bool { get }
    /// Writes the journal so far, and nothing after that until `attach`.
    func detach()
    /// Returns at once; later new files are started, in this history.
    ///
    /// - Parameter isNewState: Whether the state differs from that of the files.
    func attach(history: String, isNewState: Bool)
    /// The journal has another name from now on. The files are its beginning if they are named `old`; nil for any name.
    func rename(from old: String?, to new: String)
    /// Returns at once; later the engine is emptied and the state on disk read back, and `restored` follows with the
    /// number. States that expire by `horizon` are omitted.
    func restore(number: Int, horizon: EngineTime)
    /// Cancels the restore: none of that state enters the engine after this call.
    func stopRestoring()
    /// The log continues where the restored files end.
    func resumeLog()
    /// Writes the role file.
    func save(_ role: SavedRole) throws(StorageError)

    // MARK: Links

    /// Connects to the primary; `upstreamConnected` or `upstreamFailed` follows, not inside this call.
    func connect(to address: PeerAddress)
    /// Sends these bytes to the primary.
    func sendUpstream(_ bytes: [UInt8])
    /// Closes the connection to the primary, or abandons the attempt.
    func disconnect()
    /// Closes a replica's connection, after sending these bytes as far as its socket accepts them.
    func close(_ replica: ServedReplica, after bytes: [UInt8])

    // MARK: Answers

    /// Answers WAIT or WAITAOF.
    func answer(_ answer: Acknowledgements.Answer)
    /// Ends WAIT or WAITAOF with an error: the node is no longer the primary.
    func unblock(_ ticket: UInt64)
    /// A line for the server log.
    func note(_ note: NodeNote)
}

/// Conditions that restrict commands.
package struct NodeGates: Equatable, Sendable {
    /// Writes belong to the primary.
    package var isReplica = true
    /// The state is being replaced, by a full sync or from disk: nothing can be read.
    package var isReceiving = false
    /// The state on disk is being read back, after which the node leads.
    package var isRestoring = false
    /// The node is a replica that has never had a state.
    package var lacksState = false
    /// Fewer replicas are good than `min-replicas-to-write` requires, by the driver's settings.
    package var lacksGoodReplicas = false
    /// A failover is pausing writes.
    package var holdsWrites = false

    /// The gates of a starting node: it accepts no write before its history is established.
    package init() {}
}

/// The contents of the role file.
package enum SavedRole: Equatable, Sendable {
    /// The role was set at run time.
    case role(NodeRole.Role)
    /// The node is handing over to this node and does not know whether that node has taken over.
    case handingOver(PeerAddress)
    /// No role was set at run time, so the configuration applies; the node has had replicas.
    case configured
    /// As `configured`, and as a replica by configuration it has had a consistent state.
    case configuredReplica

    /// The node's role at its start.
    ///
    /// - Parameter configured: The configuration's role.
    package static func role(_ saved: SavedRole?, configured: NodeRole.Role) -> NodeRole.Role {
        switch saved {
        case .handingOver(let address): .replica(of: address)
        case .role(let role): role
        case .configured, .configuredReplica, nil: configured
        }
    }
}

/// Events for the server log.
package enum NodeNote: Sendable {
    case following(PeerAddress)
    case leading(offset: Int64)
    case promotedInsideFullSync
    /// The node leads, and there was no state on disk to return to.
    case leadingWithoutState
    case roleSaved
    case roleNotSaved(StorageError)
    case handingOver(PeerAddress)
    /// The handover was cancelled because it could not be recorded on disk.
    case handoverNotSaved
    /// The other node refused to take over: its error text.
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
