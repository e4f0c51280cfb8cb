// The CLIENT container: a connection's own properties, and the commands for operators.
//
// LIST, KILL and PAUSE access connections of other loops, so they run with all loops stopped
// (`CommandFlags.stopsAllLoops`).

import Glibc
import LimiterEngine
import RESP
import System
import Transport

extension Handlers {
    static func clientId(_ context: CommandContext) { context.reply.integer(context.client.id) }

    static func clientGetname(_ context: CommandContext) {
        let name = context.client.name
        name.isEmpty ? context.reply.null() : context.reply.bulk(name)
    }

    static func clientSetname(_ context: CommandContext) {
        let name = context.arguments[2]
        if let refusal = ClientNames.refusal(of: name) { return context.reply.error(refusal) }
        context.client.describe { $0.name = name.bytes }
        context.reply.ok()
    }

    static func clientSetinfo(_ context: CommandContext) {
        let attribute = context.arguments[2]
        let value = context.arguments[3]
        let isName = attribute.matches("LIB-NAME")
        guard isName || attribute.matches("LIB-VER") else {
            let word = Argument(base: attribute.base, count: min(128, attribute.count)).string
            return context.reply.error("ERR Unrecognized option '\(word)'")
        }
        if let refusal = ClientNames.refusal(of: value, as: isName ? "lib-name" : "lib-ver") {
            return context.reply.error(refusal)
        }
        context.client.describe { isName ? ($0.libraryName = value.bytes) : ($0.libraryVersion = value.bytes) }
        context.reply.ok()
    }

    static func clientInfo(_ context: CommandContext) {
        context.reply.verbatim(
            ClientLine.text(context.client, server: context.server, at: context.loop.steady) + "\n")
    }

    static func clientNoEvict(_ context: CommandContext) {
        guard let isOn = onOrReply(context) else { return }
        if isOn { context.client.flags.insert(.noEvict) } else { context.client.flags.remove(.noEvict) }
        context.reply.ok()
    }

    static func clientNoTouch(_ context: CommandContext) {
        guard let isOn = onOrReply(context) else { return }
        let session = context.client.resp
        if isOn { session.flags.insert(.noTouch) } else { session.flags.remove(.noTouch) }
        context.reply.ok()
    }

    /// Whether the argument is ON rather than OFF; otherwise replies with an error and returns nil.
    private static func onOrReply(_ context: CommandContext) -> Bool? {
        if context.arguments[2].matches("ON") { return true }
        if context.arguments[2].matches("OFF") { return false }
        context.syntaxError()
        return nil
    }

    static func clientReply(_ context: CommandContext) {
        let client = context.client!
        let mode = context.arguments[2]
        if mode.matches("ON") {
            client.resp.flags.remove([.replyOff, .replySkip, .replySkipNext])
            context.reply.ok()
        } else if mode.matches("OFF") {
            client.resp.flags.insert(.replyOff)
            // EXEC's reply has an element for each command, in case a later one turns replies on again.
            if context.loop.isExecuting { context.reply.ok() }
        } else if mode.matches("SKIP") {
            guard !client.resp.flags.contains(.replyOff) else { return }
            // EXEC's reply has an element for each command, including this one; the reply after EXEC's is skipped.
            guard !context.loop.isExecuting else {
                client.resp.flags.insert(.replySkipNext)
                return context.reply.ok()
            }
            client.resp.flags.insert([.replySkip, .replySkipNext])
        } else {
            context.syntaxError()
        }
    }

    // MARK: Other connections

    static func clientList(_ context: CommandContext) {
        guard let filter = ClientFilter(list: context) else { return }
        let all = context.allConnections.sorted { $0.id < $1.id }
        // In the middle of a turn, as when a loop has lent it, what changes is not counted yet.
        assert(all.allSatisfy { $0.loop.currentTurn != 0 || $0.countedMemory == $0.memory }, "memory not counted")
        let lines = all.filter { filter.matches($0, caller: context.client) }
            .map { ClientLine.text($0, server: context.server, at: context.loop.steady) + "\n" }
        let links = context.server.replication.status.links.filter(filter.matches)
            .map { ClientLine.text($0, at: context.loop.steady) + "\n" }
        context.reply.verbatim((lines + links).joined())
    }

    static func clientKill(_ context: CommandContext) {
        let isOldForm = context.arguments.count == 3
        guard let filter = ClientFilter(kill: context) else { return }
        var killed: Int64 = 0
        var concerned: Set<Int> = []
        for connection in context.allConnections where filter.matches(connection, caller: context.client) {
            killed += 1
            if connection === context.client {
                // The reply is still sent.
                connection.flags.insert(.closeAfterReply)
            } else {
                // Shut down now, so that the peer notices before the caller gets the reply; the loop cleans up later.
                connection.channel.stream.shutdown()
                connection.flags.insert(.closeSoon)
                concerned.insert(connection.loop.index)
            }
        }
        for index in concerned { context.server.loops[index].mailbox.post(.closeMarked) }
        let links = context.server.replication.status.links.filter(filter.matches).map(\.id)
        killed += Int64(links.count)
        if !isOldForm {
            context.reply.integer(killed)
        } else {
            killed > 0 ? context.reply.ok() : context.reply.error("ERR No such client")
        }
        // Only the replication thread can close these, and the reply waits for it.
        guard !links.isEmpty else { return }
        context.loop.followUp.add(.replication(.closeLinks(links)), replyOffset: context.reply.count)
    }

    static func clientPause(_ context: CommandContext) {
        let arguments = context.arguments
        if let milliseconds = arguments[2].integer, milliseconds < 0 {
            return context.reply.error("ERR timeout is negative")
        }
        guard let length = arguments[2].integer.flatMap(Nanoseconds.milliseconds(exactly:)),
            context.loop.steady + length < .distantFuture
        else { return context.reply.error("ERR timeout is not an integer or out of range") }
        var mode = PauseState.Mode.all
        if arguments.count > 3 {
            guard arguments.count == 4, arguments[3].matches("WRITE") || arguments[3].matches("ALL") else {
                return context.reply.error("ERR CLIENT PAUSE mode must be WRITE or ALL")
            }
            if arguments[3].matches("WRITE") { mode = .writes }
        }
        context.server.pause.begin(mode, until: context.loop.steady + length, now: context.loop.steady)
        context.reply.ok()
    }

    static func clientUnpause(_ context: CommandContext) {
        context.server.pause.end()
        for loop in context.server.loops { loop.mailbox.post(.resume) }
        context.reply.ok()
    }
}

extension CommandContext {
    /// The connections of all loops.
    ///
    /// - Precondition: The command runs with all loops stopped.
    fileprivate var allConnections: [Connection] {
        precondition(loop.hasStoppedAllLoops, "other loops' connections accessed while the loops run")
        return server.loops.flatMap(\.connections)
    }
}

/// A connection's line in CLIENT LIST: `field=value` pairs, without spaces in values.
enum ClientLine {
    static func text(_ connection: Connection, server: Server, at now: SteadyInstant) -> String {
        let input = connection.channel.input
        let output = connection.channel.output
        let session = connection.respIfAny
        let transaction = session?.transaction
        let fields: [(String, String)] = [
            ("id", "\(connection.id)"), ("addr", connection.peerAddress), ("laddr", connection.localAddress),
            ("fd", "\(connection.channel.stream.descriptor)"),
            ("name", String(decoding: connection.name, as: UTF8.self)),
            ("age", seconds(now - connection.createdAt)), ("idle", seconds(now - connection.lastActiveAt)),
            ("flags", flags(connection)), ("db", "\(session?.database ?? 0)"),
            ("sub", "\(session?.subscriptions?.channels.count ?? 0)"),
            ("psub", "\(session?.subscriptions?.patterns.count ?? 0)"), ("ssub", "0"),
            ("multi", session?.flags.contains(.inTransaction) == true ? "\(transaction?.queue.count ?? 0)" : "-1"),
            ("qbuf", "\(input?.count ?? 0)"), ("qbuf-free", "\(input?.free.count ?? 0)"),
            ("argv-mem", "0"), ("multi-mem", "\(transaction?.memory ?? 0)"), ("rbs", "0"), ("rbp", "0"),
            ("obl", "\(output?.count ?? 0)"), ("oll", "0"), ("omem", "\(output?.memory ?? 0)"),
            ("tot-mem", "\(connection.memory)"),
            ("events", events(connection)),
            ("cmd", server.commands.name(command: connection.lastCommand, subcommand: connection.lastSubcommand)),
            ("user", "default"), ("redir", "-1"), ("resp", "\(session?.version.rawValue ?? 0)"),
            ("lib-name", String(decoding: session?.description?.libraryName ?? [], as: UTF8.self)),
            ("lib-ver", String(decoding: session?.description?.libraryVersion ?? [], as: UTF8.self)),
        ]
        return fields.map { "\($0.0)=\($0.1)" }.joined(separator: " ")
    }

    /// A connection of the replication thread.
    static func text(_ link: LinkLine, at now: SteadyInstant) -> String {
        let (flag, command, user) = link.isToPrimary ? ("M", "NULL", "(superuser)") : ("S", "psync", "default")
        return "id=\(link.id) addr=\(link.peerAddress) laddr=\(link.localAddress) fd=\(link.fd) name= "
            + "age=\(seconds(now - link.since)) idle=\(seconds(link.idle)) flags=\(flag) db=0 sub=0 psub=0 "
            + "ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 "
            + "events=r cmd=\(command) user=\(user) redir=-1 resp=2 lib-name= lib-ver="
    }

    private static func seconds(_ length: Nanoseconds) -> String { "\(max(.zero, length).secondsRoundedDown)" }

    private static func flags(_ connection: Connection) -> String {
        let ofSession: [(SessionFlags, String)] = [(.monitor, "O"), (.subscribed, "P"), (.inTransaction, "x")]
        let ofConnection: [(ConnectionFlags, String)] = [
            ([.suspended, .blocked], "b"), ([.closeAfterReply, .inputEnded], "c"), (.closeSoon, "A"),
            (.unixSocket, "U"), (.noEvict, "e"),
        ]
        let session = connection.respIfAny?.flags ?? []
        var text = ofSession.filter { !session.isDisjoint(with: $0.0) }.map(\.1).joined()
        text += ofConnection.filter { !connection.flags.isDisjoint(with: $0.0) }.map(\.1).joined()
        if session.contains(.noTouch) { text += "T" }
        return text.isEmpty ? "N" : text
    }

    private static func events(_ connection: Connection) -> String {
        (connection.flags.contains(.suspended) ? "" : "r") + (connection.channel.hasOutput ? "w" : "")
    }
}

/// Selects the connections of CLIENT LIST and CLIENT KILL.
private struct ClientFilter {
    private var ids: Set<Int64>?
    private var type: String?
    private var address: String?
    private var localAddress: String?
    private var user: String?
    private var skipsCaller = false

    private static let types = ["normal", "master", "replica", "slave", "pubsub"]

    /// `[TYPE t] [ID id …]`; if invalid, replies with an error and returns nil.
    init?(list context: CommandContext) {
        let arguments = context.arguments
        var index = 2
        while index < arguments.count {
            if arguments[index].matches("TYPE"), type == nil, index + 1 < arguments.count {
                guard readType(arguments[index + 1], context) else { return nil }
                index += 2
            } else if arguments[index].matches("ID"), index + 1 < arguments.count {
                ids = []
                for position in index + 1..<arguments.count {
                    guard let id = arguments[position].integer, id > 0 else {
                        context.reply.error("ERR Invalid client ID")
                        return nil
                    }
                    ids!.insert(id)
                }
                index = arguments.count
            } else {
                context.syntaxError()
                return nil
            }
        }
    }

    /// `address`, or pairs of filters; if invalid, replies with an error and returns nil.
    init?(kill context: CommandContext) {
        let arguments = context.arguments
        if arguments.count == 3 {
            address = arguments[2].string
            return
        }
        skipsCaller = true
        var index = 2
        while index < arguments.count {
            guard index + 1 < arguments.count else {
                context.syntaxError()
                return nil
            }
            guard readPair(arguments[index], arguments[index + 1], context) else { return nil }
            index += 2
        }
    }

    private mutating func readPair(_ name: Argument, _ value: Argument, _ context: CommandContext) -> Bool {
        if name.matches("ID") {
            guard let id = value.integer, id > 0 else {
                context.reply.error("ERR client-id should be greater than 0")
                return false
            }
            ids = [id]
        } else if name.matches("TYPE") {
            return readType(value, context)
        } else if name.matches("ADDR") {
            address = value.string
        } else if name.matches("LADDR") {
            localAddress = value.string
        } else if name.matches("USER") {
            guard value.equals("default") else {
                context.reply.error("ERR No such user '\(value.shown)'")
                return false
            }
            user = value.string
        } else if name.matches("SKIPME") {
            guard value.matches("YES") || value.matches("NO") else {
                context.syntaxError()
                return false
            }
            skipsCaller = value.matches("YES")
        } else {
            context.syntaxError()
            return false
        }
        return true
    }

    private mutating func readType(_ value: Argument, _ context: CommandContext) -> Bool {
        let name = value.string.lowercased()
        guard ClientFilter.types.contains(name) else {
            context.reply.error("ERR Unknown client type '\(value.shown)'")
            return false
        }
        type = name
        return true
    }

    func matches(_ link: LinkLine) -> Bool {
        if let ids, !ids.contains(link.id) { return false }
        if let type, !(link.isToPrimary ? ["master"] : ["replica", "slave"]).contains(type) { return false }
        if let address, link.peerAddress != address { return false }
        // The link to the primary does not run as any user.
        if user != nil, link.isToPrimary { return false }
        return localAddress.map { $0 == link.localAddress } ?? true
    }

    func matches(_ connection: Connection, caller: Connection) -> Bool {
        if connection.flags.contains(.closed) || skipsCaller && connection === caller { return false }
        if let ids, !ids.contains(connection.id) { return false }
        if let type {
            let own = connection.session.isSubscribed ? "pubsub" : "normal"
            if type != own { return false }
        }
        if let address, connection.peerAddress != address { return false }
        if let localAddress, connection.localAddress != localAddress { return false }
        return true
    }
}
