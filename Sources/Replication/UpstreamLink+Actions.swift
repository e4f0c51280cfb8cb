// The vocabulary of a replica's link: settings, states, failures, actions.

package import Persistence
package import System

extension UpstreamLink {
    /// The operator's settings.
    package struct Settings: Sendable {
        /// The port on which this node serves clients, reported in the primary's INFO.
        package var listeningPort: Int
        /// The address to announce; nil for the connection's.
        package var address: String?
        /// `masteruser`; nil for the default user.
        package var user: String?
        /// `masterauth`; nil for none.
        package var password: String?
        /// `repl-timeout`: a primary silent for this long is considered lost.
        package var timeout = Nanoseconds.seconds(60)
        /// Time between acknowledgements.
        package var acknowledgeInterval = Nanoseconds.seconds(1)
        /// How long the primary's clock may take to reach the latest time this node has seen.
        package var patience = Nanoseconds.seconds(5)
        /// The pause after the first failure.
        package var firstPause = Nanoseconds.milliseconds(100)
        /// Upper bound on the pause.
        package var longestPause = Nanoseconds.seconds(3)

        /// Settings with Redis's times.
        package init(listeningPort: Int) { self.listeningPort = listeningPort }
    }

    /// The link's state.
    package enum State: Equatable, Sendable {
        /// The node is not a replica.
        case off
        /// Pausing until the next attempt.
        case waiting(until: SteadyInstant)
        /// A connection has been requested.
        case connecting
        /// PING, AUTH and REPLCONF are being exchanged, one after the other.
        case pinging, authenticating, announcingPort, announcingAddress, announcingCapability
        /// PSYNC has been sent.
        case requesting
        /// A snapshot is being received.
        case receiving
        /// The journal is being received, but the state is not consistent yet, or the stream's time is before the
        /// horizon.
        case completing
        /// The journal is being received, and every batch yields a state that the primary had.
        case streaming
    }

    /// Why a link failed.
    package enum Failure: Equatable, Sendable {
        /// No connection could be made, or it was closed.
        case connection
        /// Nothing was received for `timeout`.
        case silence
        /// The primary refused: its error text.
        case refused(String)
        /// The primary sent something unexpected.
        case unexpected(String)
        /// The stream was invalid.
        case stream(StreamError)
    }

    /// Actions for the driver. Bytes are valid until it returns.
    package enum Action {
        /// Connect; `connected` or `failed` follows.
        case connect
        /// Send these bytes.
        case send([UInt8])
        /// Close the connection, if there is one: none of its bytes may be delivered afterwards.
        case disconnect(Failure?)
        /// The primary has taken over as requested, or refused.
        case tookOver(Result<Void, TakeoverRefused>)
        /// The journal continues in this history from the current position. Durable before the next action.
        case follow(ReplicationID)
        /// A snapshot begins: the state here is void, and no position may be claimed for it. The history is the
        /// snapshot's; the journal restarts at the snapshot's offset and time. The files keep the old state until
        /// `becameWhole`.
        case beginSnapshot(ReplicationID, FileHeader)
        /// Apply a batch of the snapshot to the engine.
        case snapshotBatch(JournalBatch, UnsafeRawBufferPointer)
        /// The snapshot is complete, with this many keys.
        case endSnapshot(keys: Int)
        /// Apply a batch to the engine, then append it to the journal.
        case batch(JournalBatch, UnsafeRawBufferPointer)
        /// After a full sync the state is consistent: it replaces the old one on disk once its log is synced.
        case becameWhole
        /// The link is up.
        case online
    }

    /// Why a primary refused to take over.
    package struct TakeoverRefused: Error, Equatable, Sendable {
        /// Its error text.
        package let text: String
    }
}
