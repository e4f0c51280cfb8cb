// What a command handler may touch. One per event loop, set up anew for each command.

import LimiterEngine
import RESP

/// Everything a handler sees for the length of one command. Not thread-safe: belongs to its event loop.
final class CommandContext {
    /// The command's arguments; 0 is its name. Borrowed: valid until the handler returns.
    let arguments: ArgumentList
    /// Where the answer goes: exactly one reply per command.
    let reply: ReplyBuffer
    /// This loop's access to the keys.
    let keyspace: KeyspaceSession
    unowned(unsafe) let server: Server
    /// The loop that runs the command. Set once, right after the loop has made its context.
    unowned(unsafe) var loop: EventLoop!
    /// UNSUBSCRIBE has confirmed something in this call.
    var hasConfirmed = false
    /// Who sent the command.
    var client: Connection!

    init(server: Server, arguments: ArgumentList, reply: ReplyBuffer, keyspace: KeyspaceSession) {
        self.server = server
        self.arguments = arguments
        self.reply = reply
        self.keyspace = keyspace
    }

    /// Engine time of this turn.
    var now: EngineTime { loop.now }

    /// The argument as an integer; nil after answering that it is none.
    func integerOrReply(_ index: Int) -> Int64? {
        if let value = arguments[index].integer { return value }
        reply.error("ERR value is not an integer or out of range")
        return nil
    }

    func syntaxError() { reply.error("ERR syntax error") }
}
