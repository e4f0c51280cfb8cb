// Messages that other threads send to an event loop, through its mailbox.

import System
import Transport

/// A message to an event loop.
enum LoopMessage: Sendable {
    /// A connection was accepted for this loop, by a listener of this kind.
    case adopt(ByteStream, id: Int64, kind: Listener.Kind, isUnixSocket: Bool)
    /// Bytes that do not reply to a request, for connections of this loop, in RESP2 and RESP3 encoding.
    case deliver(MessageBytes, to: [Connection])
    /// Connections were marked to be closed.
    case closeMarked
    /// The node is no longer a primary: its clients are to look up the primary again. Applies to connections with ids
    /// up to `upTo`, except the one that requested the change.
    case closeClients(upTo: Int64, except: Int64)
    /// Settings changed: a loop that waits for events without a time-out may need one now.
    case settingsChanged
    /// Changes have reached the disk, or will not.
    case durable
    /// The command that a connection waits for is done; its reply.
    case unblock(Connection, [UInt8])
    /// The command that a connection waits for could not be answered at once, and may wait for long or forever.
    case waitsLong(Connection)
    /// The work of other threads that a connection waits for is done: the reply to its command, and whether it has
    /// changed data that has to reach the disk first.
    case replyDone(Connection, [UInt8], hasChanged: Bool)
    /// The service manager wants to know whether this loop turns.
    case pulse(Pulse)
    /// CLIENT PAUSE ended: suspended connections resume.
    case resume
    /// Answer the received requests, send all replies, then leave: at `deadline`, which is the same for all loops, even
    /// with unsent output.
    case drain(deadline: SteadyInstant)
}
