// What a replica's link is told and what it says: settings, states, failures, actions.

public import Persistence
public import System

extension UpstreamLink {
    /// What the operator may set.
    public struct Settings: Sendable {
        /// The port on which this node serves clients: shown in the primary's INFO.
        public var listeningPort: Int
        /// The address it wants to be known under; nil for the connection's.
        public var address: String?
        /// `masteruser`; nil for the default user.
        public var user: String?
        /// `masterauth`; nil for none.
        public var password: String?
        /// `repl-timeout`: a primary silent for so long is gone.
        public var timeout = Nanoseconds.seconds(60)
        /// Between acknowledgements.
        public var acknowledgeInterval = Nanoseconds.seconds(1)
        /// How long the primary's clock may take to reach what this node has seen.
        public var patience = Nanoseconds.seconds(5)
        /// The first pause after a failure.
        public var firstPause = Nanoseconds.milliseconds(100)
        /// The longest.
        public var longestPause = Nanoseconds.seconds(3)

        /// Settings with Redis's times.
        public init(listeningPort: Int) { self.listeningPort = listeningPort }
    }

    /// Where the link stands.
    public enum State: Equatable, Sendable {
        /// The node is no replica.
        case off
        /// Until the next attempt.
        case waiting(until: SteadyInstant)
        /// A connection has been asked for.
        case connecting
        /// PING, AUTH and REPLCONF are under way, one after the other.
        case pinging, authenticating, announcingPort, announcingAddress, announcingCapability
        /// PSYNC has been sent.
        case requesting
        /// A snapshot comes in.
        case receiving
        /// The journal comes in, and the state is not whole yet, or the stream's time behind the horizon.
        case completing
        /// The journal comes in, and every batch makes a state that the primary had.
        case streaming
    }

    /// Why a link failed.
    public enum Failure: Equatable, Sendable {
        /// No connection could be made, or it was closed.
        case connection
        /// Nothing came for `timeout`.
        case silence
        /// The primary said no, in the words of its error reply.
        case refused(String)
        /// The primary said something that has no place here.
        case unexpected(String)
        /// The stream was not valid.
        case stream(StreamError)
    }

    /// What the driver is to do. Bytes are valid until it returns.
    public enum Action {
        /// Connect; `connected` or `failed` follows.
        case connect
        /// Send these bytes.
        case send([UInt8])
        /// Close the connection, if there is one: nothing of it may come in any more.
        case disconnect(Failure?)
        /// The primary took over as asked, or did not, in its words.
        case tookOver(Result<Void, TakeoverRefused>)
        /// The journal goes on in this history from the position on. On disk before another action.
        case follow(ReplicationID)
        /// A snapshot begins: the state here is worth nothing any more, and no position may be claimed for it. The
        /// history is the snapshot's; the journal restarts at the snapshot's offset and time. What is on disk stays the
        /// state on disk until `becameWhole`.
        case beginSnapshot(ReplicationID, FileHeader)
        /// Put a batch of the snapshot into the engine.
        case snapshotBatch(JournalBatch, UnsafeRawBufferPointer)
        /// The snapshot is there; so many keys.
        case endSnapshot(keys: Int)
        /// Put a batch into the engine, then into the journal.
        case batch(JournalBatch, UnsafeRawBufferPointer)
        /// After a full sync the state is whole: it takes the place of the old one on disk once its log is synced.
        case becameWhole
        /// The link is up.
        case online
    }

    /// Why a primary did not take over.
    public struct TakeoverRefused: Error, Equatable, Sendable {
        /// Its words.
        public let text: String
    }
}
