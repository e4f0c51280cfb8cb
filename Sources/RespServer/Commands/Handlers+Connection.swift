// Commands on the connection itself: HELLO, AUTH, PING, ECHO, SELECT, RESET, QUIT.

import Glibc
import LimiterEngine
import RESP

extension Handlers {
    static func ping(_ context: CommandContext) {
        let arguments = context.arguments
        guard arguments.count <= 2 else {
            return context.reply.error("ERR wrong number of arguments for 'ping' command")
        }
        if context.client.resp.isInSubscribedMode {
            context.reply.array(2)
            context.reply.bulk("pong")
            arguments.count == 2 ? context.reply.bulk(arguments[1]) : context.reply.bulk("")
        } else if arguments.count == 2 {
            context.reply.bulk(arguments[1])
        } else {
            context.reply.simple("PONG")
        }
    }

    static func echo(_ context: CommandContext) { context.reply.bulk(context.arguments[1]) }

    static func quit(_ context: CommandContext) {
        context.client.flags.insert(.closeAfterReply)
        context.reply.ok()
    }

    static func select(_ context: CommandContext) {
        guard let database = context.databaseOrReply(1) else { return }
        context.client.resp.database = database
        context.loop.select(database)
        context.reply.ok()
    }

    static func reset(_ context: CommandContext) {
        let client = context.client!
        context.loop.endTransaction(of: client)
        if client.resp.flags.contains(.monitor) { context.server.monitors.remove(client) }
        context.server.publisher.unsubscribeAll(client)
        // As in Redis, a preceding CLIENT REPLY SKIP still applies to this command.
        client.resp.flags.remove([.subscribed, .monitor, .replyOff, .replySkipNext, .noTouch])
        client.flags.remove(.noEvict)
        client.resp.database = 0
        context.loop.select(0)
        if !context.loop.settings.requirepass.isEmpty { client.resp.flags.insert(.unauthenticated) }
        client.resp.version = .resp2
        context.reply.version = .resp2
        client.resp.description?.name = []
        context.loop.countMemory(of: client)
        context.reply.simple("RESET")
    }

    // MARK: Authentication

    static func auth(_ context: CommandContext) {
        let arguments = context.arguments
        guard arguments.count <= 3 else { return context.syntaxError() }
        if arguments.count == 2, context.loop.settings.requirepass.isEmpty {
            return context.reply.error(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your "
                    + "configuration is correct?")
        }
        let user = arguments.count == 3 ? arguments[1] : nil
        guard authenticate(context, user: user, password: arguments[arguments.count - 1]) else { return }
        context.reply.ok()
    }

    /// Authenticates the client; on failure replies with an error and returns false.
    private static func authenticate(_ context: CommandContext, user: Argument?, password: Argument) -> Bool {
        let expected = context.loop.settings.requirepass
        let isKnownUser = user.map { $0.equals("default") } ?? true
        // Compared even for an unknown user, so that the time does not reveal user names. If no password is set, any
        // password is accepted, as with Redis's nopass.
        let isRight = ConstantTime.equal(Array(expected.utf8), password.bytes) || expected.isEmpty
        guard isKnownUser, isRight else {
            context.loop.counters.add(.failedAuthentications, 1)
            // Don't log the user: people enter passwords there.
            context.server.warn(
                .authentication, "authentication failed", address: context.client.peerAddress, id: context.client.id)
            context.reply.error("WRONGPASS invalid username-password pair or user is disabled.")
            return false
        }
        context.client.resp.flags.remove(.unauthenticated)
        return true
    }

    // MARK: HELLO

    static func hello(_ context: CommandContext) {
        let arguments = context.arguments
        let client = context.client!
        var version = client.resp.version
        if arguments.count > 1 {
            guard let number = arguments[1].integer else {
                return context.reply.error("ERR Protocol version is not an integer or out of range")
            }
            guard let known = UInt8(exactly: number).flatMap(ProtocolVersion.init(rawValue:)) else {
                return context.reply.error("NOPROTO unsupported protocol version")
            }
            version = known
        }
        guard let options = HelloOptions(context) else { return }
        if let password = options.password {
            guard authenticate(context, user: options.user, password: password) else { return }
        }
        guard !client.resp.flags.contains(.unauthenticated) else {
            return context.reply.error(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> "
                    + "<pass> option can be used to authenticate the client and select the RESP protocol version at "
                    + "the same time")
        }
        if let name = options.name { client.describe { $0.name = name.bytes } }
        client.resp.version = version
        context.reply.version = version
        replyGreeting(context)
    }

    private static func replyGreeting(_ context: CommandContext) {
        let reply = context.reply
        reply.map(7)
        reply.bulk("server")
        reply.bulk("redis")
        reply.bulk("version")
        reply.bulk(Escapement.redisVersion)
        reply.bulk("proto")
        reply.integer(Int(context.client.resp.version.rawValue))
        reply.bulk("id")
        reply.integer(context.client.id)
        reply.bulk("mode")
        reply.bulk("standalone")
        reply.bulk("role")
        reply.bulk(context.server.replication.status.primary == nil ? "master" : "replica")
        reply.bulk("modules")
        reply.array(0)
    }
}

/// `AUTH user password` and `SETNAME name` after HELLO's version.
private struct HelloOptions {
    var user: Argument?
    var password: Argument?
    var name: Argument?

    /// If invalid, replies with an error and returns nil.
    init?(_ context: CommandContext) {
        let arguments = context.arguments
        var index = 2
        while index < arguments.count {
            if arguments[index].matches("AUTH"), index + 2 < arguments.count {
                user = arguments[index + 1]
                password = arguments[index + 2]
                index += 3
            } else if arguments[index].matches("SETNAME"), index + 1 < arguments.count {
                if let refusal = ClientNames.refusal(of: arguments[index + 1]) {
                    context.reply.error(refusal)
                    return nil
                }
                name = arguments[index + 1]
                index += 2
            } else {
                let word = Argument(base: arguments[index].base, count: min(128, arguments[index].count)).string
                context.reply.error("ERR Syntax error in HELLO option '\(word)'")
                return nil
            }
        }
    }
}

/// Validates the names of a client and its library, and the library's version: CLIENT LIST shows all of them.
enum ClientNames {
    static let lengthMax = 1024

    /// The error for an invalid name; nil if it is valid. CLIENT LIST can only show printable ASCII without spaces.
    static func refusal(of name: Argument, as what: String = "Client names") -> String? {
        guard name.count <= lengthMax else { return "ERR \(what) cannot be longer than \(lengthMax) bytes." }
        let isPrintable = name.buffer.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        return isPrintable ? nil : "ERR \(what) cannot contain spaces, newlines or special characters."
    }
}

enum ConstantTime {
    /// Whether two secrets are equal, in time that depends only on the length of the second.
    static func equal(_ secret: [UInt8], _ guess: [UInt8]) -> Bool {
        var difference: UInt8 = secret.count == guess.count ? 0 : 1
        for (index, byte) in guess.enumerated() {
            difference |= byte ^ (secret.isEmpty ? 1 : secret[index % secret.count])
        }
        return difference == 0
    }
}
