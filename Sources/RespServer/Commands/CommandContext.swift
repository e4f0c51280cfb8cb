// What a command handler may touch. One per event loop, set up anew for each command.

import RESP

/// Everything a handler sees for the length of one command. Not thread-safe: belongs to its event loop.
final class CommandContext {
    /// The command's arguments; 0 is its name. Borrowed: valid until the handler returns.
    let arguments: ArgumentList
    /// Where the answer goes: exactly one reply per command.
    let reply: ReplyBuffer

    init(arguments: ArgumentList, reply: ReplyBuffer) {
        self.arguments = arguments
        self.reply = reply
    }
}
