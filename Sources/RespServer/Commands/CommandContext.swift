// Everything a command handler may access. One per event loop, reused for each command.

import LimiterEngine
import RESP

/// The state of one command's execution. Not thread-safe: belongs to its event loop.
final class CommandContext {
    /// The command's arguments; 0 is its name. Borrowed: valid until the handler returns.
    let arguments: ArgumentList
    /// Receives exactly one reply per command.
    let reply: ReplyBuffer
    /// This loop's access to the keys.
    let keyspace: KeyspaceSession
    unowned(unsafe) let server: Server
    /// The loop that runs the command. Set once, right after the loop has created its context.
    unowned(unsafe) var loop: EventLoop!
    /// Set once an (un)subscription has been confirmed in this call.
    var hasConfirmed = false
    /// The connection that sent the command.
    var client: Connection!

    init(server: Server, arguments: ArgumentList, reply: ReplyBuffer, keyspace: KeyspaceSession) {
        self.server = server
        self.arguments = arguments
        self.reply = reply
        self.keyspace = keyspace
    }

    /// Engine time of this turn.
    var now: EngineTime { loop.now }

    /// The argument as an integer; otherwise replies with an error and returns nil.
    func integerOrReply(_ index: Int) -> Int64? {
        if let value = arguments[index].integer { return value }
        reply.error("ERR value is not an integer or out of range")
        return nil
    }

    func syntaxError() { reply.error("ERR syntax error") }
}
