// What other threads tell an event loop, through its mailbox.

import System
import Transport

/// What an event loop can be told.
enum LoopMessage: Sendable {
    /// A connection was accepted for this loop, by a listener of this kind.
    case adopt(ByteStream, id: Int64, kind: Listener.Kind, isUnixSocket: Bool)
    /// Bytes for connections of this loop that did not ask for them just now: RESP2 and RESP3 spelling.
    case deliver(MessageBytes, to: [Connection])
    /// Connections were marked to be closed.
    case closeMarked
    /// The node is a primary no longer: its clients are to ask again where that is. Concerns connections with ids up to
    /// one, and not the one that asked for the change.
    case closeClients(upTo: Int64, except: Int64)
    /// Settings changed: a loop that waits for nothing but events might have to look at the time now.
    case settingsChanged
    /// Changes have reached the disk, or will not.
    case durable
    /// The command that a connection waits for is done; its reply.
    case unblock(Connection, [UInt8])
    /// The work on files that a connection waits for is done; the reply to its command, and whether that has changed
    /// something which has to reach the disk first.
    case filesDone(Connection, [UInt8], hasChanged: Bool)
    /// CLIENT PAUSE ended: suspended connections go on.
    case resume
    /// Answer what was received, send what was answered, then leave: at `deadline`, one for all loops, whatever is
    /// unsent.
    case drain(deadline: SteadyInstant)
}
