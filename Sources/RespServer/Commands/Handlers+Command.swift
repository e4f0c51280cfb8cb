// COMMAND and its subcommands: the command table for programs. Owns the wire format of an entry, with the structure and
// types of Redis 7.0; redis-cli asserts them and aborts on a mismatch. Depends only on the table.

import RESP

extension Handlers {
    /// `COMMAND`: every entry.
    static func command(_ context: CommandContext) { CommandReply.all(to: context.reply) }

    /// `COMMAND COUNT`
    static func commandCount(_ context: CommandContext) { context.reply.integer(CommandTable.specs.count) }

    /// `COMMAND INFO [name …]`
    static func commandInfo(_ context: CommandContext) { CommandReply.info(context.arguments, to: context.reply) }

    /// `COMMAND DOCS [name …]`
    static func commandDocs(_ context: CommandContext) { CommandReply.docs(context.arguments, to: context.reply) }

    /// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`
    static func commandList(_ context: CommandContext) { CommandReply.list(context.arguments, to: context.reply) }

    /// `COMMAND GETKEYS command [argument …]`
    static func commandGetkeys(_ context: CommandContext) {
        CommandReply.getKeys(context.arguments, to: context.reply)
    }
}

// MARK: Replies to the subcommands

extension CommandReply {
    /// All top-level entries.
    static func all(to reply: ReplyBuffer) {
        reply.array(CommandTable.specs.count)
        for spec in CommandTable.specs { info(spec, in: nil, to: reply) }
    }

    /// Maximum number of names in a call of COMMAND INFO or COMMAND DOCS: an entry may have thousands of bytes.
    static let namesMax = 1024

    /// If there are too many names, replies with an error and returns false.
    private static func accepts(_ arguments: ArgumentList, to reply: ReplyBuffer) -> Bool {
        guard arguments.count - 2 > namesMax else { return true }
        reply.error("ERR at most \(namesMax) command names in one call")
        return false
    }

    /// The entries of the given names, null for unknown names. All entries if no name is given.
    static func info(_ arguments: ArgumentList, to reply: ReplyBuffer) {
        guard arguments.count > 2 else { return all(to: reply) }
        guard accepts(arguments, to: reply) else { return }
        reply.array(arguments.count - 2)
        for index in 2..<arguments.count {
            if let found = find(fullName: arguments[index]) {
                info(found.spec, in: found.container, to: reply)
            } else {
                reply.null()
            }
        }
    }

    /// The documentation of the given names, without unknown names. All entries if no name is given.
    static func docs(_ arguments: ArgumentList, to reply: ReplyBuffer) {
        guard accepts(arguments, to: reply) else { return }
        let found: [Found]
        if arguments.count <= 2 {
            found = CommandTable.specs.map { Found(spec: $0, container: nil) }
        } else {
            found = (2..<arguments.count).compactMap { find(fullName: arguments[$0]) }
        }
        reply.map(found.count)
        for entry in found { docs(entry.spec, in: entry.container, to: reply) }
    }

    /// The names of all commands and subcommands, or of those that match a filter.
    static func list(_ arguments: ArgumentList, to reply: ReplyBuffer) {
        if arguments.count == 5, arguments[4].count > GlobPattern.lengthMax { return reply.error(GlobPattern.refusal) }
        guard let accepts = listFilter(arguments) else { return reply.error("ERR syntax error") }
        var names: [String] = []
        for spec in CommandTable.specs {
            if accepts(spec, spec.name) { names.append(spec.name) }
            for subcommand in spec.subcommands where accepts(subcommand, subcommand.fullName(in: spec)) {
                names.append(subcommand.fullName(in: spec))
            }
        }
        reply.array(names.count)
        for name in names { reply.bulk(name) }
    }

    /// Nil on a syntax error.
    private static func listFilter(_ arguments: ArgumentList) -> ((CommandSpec, String) -> Bool)? {
        if arguments.count == 2 { return { _, _ in true } }
        guard arguments.count == 5, arguments[2].matches("filterby") else { return nil }
        // There are no modules, so no command comes from one.
        if arguments[3].matches("module") { return { _, _ in false } }
        if arguments[3].matches("aclcat") {
            let category = arguments[4].string.lowercased()
            return { spec, _ in spec.allCategories.contains(category) }
        }
        guard arguments[3].matches("pattern") else { return nil }
        let pattern = GlobPattern(arguments[4].bytes, ignoringCase: true)
        return { _, name in pattern.matches(name) }
    }

    /// The keys among the arguments of a complete command.
    static func getKeys(_ arguments: ArgumentList, to reply: ReplyBuffer) {
        guard let spec = find(arguments, from: 2) else { return reply.error("ERR Invalid command specified") }
        guard spec.keys.first > 0 || spec.flags.contains(.script) else {
            return reply.error("ERR The command has no key arguments")
        }
        guard spec.accepts(argumentCount: arguments.count - 2) else {
            return reply.error("ERR Invalid number of arguments specified for command")
        }
        let positions = spec.keyPositions(arguments, from: 2)
        guard !positions.isEmpty || spec.flags.contains(.script) else {
            return reply.error("ERR Invalid arguments specified for command")
        }
        reply.array(positions.count)
        for position in positions { reply.bulk(arguments[position]) }
    }
}

extension KeyPositions {
    /// Positions of the keys of a command with this many arguments, including its name; empty if it has none.
    func positions(argumentCount: Int) -> [Int] {
        guard first > 0, step > 0 else { return [] }
        let end = last < 0 ? argumentCount + last : last
        guard end >= first, end < argumentCount else { return [] }
        return Array(stride(from: first, through: end, by: step))
    }
}

/// One entry of the table in the format of COMMAND INFO and COMMAND DOCS.
enum CommandReply {
    /// An entry, and the command it is a subcommand of.
    struct Found {
        var spec: CommandSpec
        var container: CommandSpec?
    }

    /// The entry of `name` or `container|name`.
    static func find(fullName: Argument) -> Found? {
        let bytes = fullName.buffer
        guard let bar = bytes.firstIndex(of: UInt8(ascii: "|")) else {
            return CommandTable.lookup.find(fullName).map { Found(spec: CommandTable.specs[$0], container: nil) }
        }
        let head = Argument(base: fullName.base, count: bar)
        let tail = Argument(base: fullName.base + bar + 1, count: fullName.count - bar - 1)
        guard let index = CommandTable.lookup.find(head) else { return nil }
        let container = CommandTable.specs[index]
        return CommandTable.lookup.findSubcommand(of: index, tail).map {
            Found(spec: container.subcommands[$0], container: container)
        }
    }

    /// The entry that a request with these arguments from `start` on would run; for a container, its subcommand.
    static func find(_ arguments: ArgumentList, from start: Int) -> CommandSpec? {
        guard arguments.count > start, let index = CommandTable.lookup.find(arguments[start]) else { return nil }
        let spec = CommandTable.specs[index]
        guard !spec.subcommands.isEmpty, arguments.count > start + 1 else { return spec }
        return CommandTable.lookup.findSubcommand(of: index, arguments[start + 1]).map { spec.subcommands[$0] }
    }

    /// The ten elements of COMMAND INFO.
    static func info(_ spec: CommandSpec, in container: CommandSpec?, to reply: ReplyBuffer) {
        reply.array(10)
        reply.bulk(spec.fullName(in: container))
        reply.integer(spec.arity)
        simpleSet(spec.flagNames, to: reply)
        reply.integer(spec.keys.first)
        reply.integer(spec.keys.last)
        reply.integer(spec.keys.step)
        simpleSet(spec.allCategories.map { "@" + $0 }, to: reply)
        reply.set(spec.tips.count)
        for tip in spec.tips { reply.bulk(tip) }
        keySpecification(spec, to: reply)
        // As in Redis: an empty list is a set, a non-empty one an array.
        guard !spec.subcommands.isEmpty else { return reply.set(0) }
        reply.array(spec.subcommands.count)
        for subcommand in spec.subcommands { info(subcommand, in: spec, to: reply) }
    }

    private static func simpleSet(_ words: [String], to reply: ReplyBuffer) {
        reply.set(words.count)
        for word in words { reply.simple(text: word) }
    }

    private static func keySpecification(_ spec: CommandSpec, to reply: ReplyBuffer) {
        if spec.flags.contains(.script) { return countedKeySpecification(spec, to: reply) }
        guard spec.keys.first > 0 else { return reply.set(0) }
        guard let second = spec.secondKeyAccess else {
            reply.set(1)
            return keySpecification(spec.keyFlags, spec.keys, to: reply)
        }
        reply.set(2)
        for (position, flags) in [(spec.keys.first, spec.keyFlags), (spec.keys.last, second)] {
            let keys = KeyPositions(first: position, last: position, step: 1)
            keySpecification(flags, keys, to: reply)
        }
    }

    private static func keySpecification(_ flags: [String], _ keys: KeyPositions, to reply: ReplyBuffer) {
        reply.map(3)
        reply.bulk("flags")
        simpleSet(flags, to: reply)
        reply.bulk("begin_search")
        reply.map(2)
        reply.bulk("type")
        reply.bulk("index")
        reply.bulk("spec")
        reply.map(1)
        reply.bulk("index")
        reply.integer(keys.first)
        reply.bulk("find_keys")
        reply.map(2)
        reply.bulk("type")
        reply.bulk("range")
        reply.bulk("spec")
        reply.map(3)
        reply.bulk("lastkey")
        // In this field, a position that is not relative to the end is relative to the first key.
        reply.integer(keys.last < 0 ? keys.last : keys.last - keys.first)
        reply.bulk("keystep")
        reply.integer(keys.step)
        reply.bulk("limit")
        reply.integer(0)
    }

    /// The specification of keys whose number precedes them.
    private static func countedKeySpecification(_ spec: CommandSpec, to reply: ReplyBuffer) {
        reply.set(1)
        reply.map(3)
        reply.bulk("flags")
        simpleSet(spec.keyAccess ?? [], to: reply)
        reply.bulk("begin_search")
        reply.map(2)
        reply.bulk("type")
        reply.bulk("index")
        reply.bulk("spec")
        reply.map(1)
        reply.bulk("index")
        reply.integer(2)
        reply.bulk("find_keys")
        reply.map(2)
        reply.bulk("type")
        reply.bulk("keynum")
        reply.bulk("spec")
        reply.map(3)
        reply.bulk("keynumidx")
        reply.integer(0)
        reply.bulk("firstkey")
        reply.integer(1)
        reply.bulk("keystep")
        reply.integer(1)
    }

    /// The name and the map of COMMAND DOCS.
    static func docs(_ spec: CommandSpec, in container: CommandSpec?, to reply: ReplyBuffer) {
        reply.bulk(spec.fullName(in: container))
        reply.map(4 + (spec.arguments.isEmpty ? 0 : 1) + (spec.subcommands.isEmpty ? 0 : 1))
        pair("summary", spec.summary, to: reply)
        pair("since", spec.since, to: reply)
        pair("group", spec.group, to: reply)
        pair("complexity", spec.complexity, to: reply)
        if !spec.arguments.isEmpty {
            reply.bulk("arguments")
            arguments(spec.arguments, areKeysApart: spec.secondKeyAccess != nil, to: reply)
        }
        guard !spec.subcommands.isEmpty else { return }
        reply.bulk("subcommands")
        reply.map(spec.subcommands.count)
        for subcommand in spec.subcommands { docs(subcommand, in: spec, to: reply) }
    }

    /// - Parameter areKeysApart: Each key has a key specification of its own, in the order of the arguments.
    private static func arguments(
        _ arguments: [ArgumentSpec], areKeysApart: Bool = false, to reply: ReplyBuffer
    ) {
        reply.array(arguments.count)
        var keys = 0
        for argument in arguments {
            let flags = argument.flagNames
            let optionalParts = [
                argument.kind == .key, argument.token != nil, argument.summary != nil, !flags.isEmpty,
                !argument.arguments.isEmpty,
            ]
            reply.map(2 + optionalParts.count(where: { $0 }))
            pair("name", argument.name, to: reply)
            pair("type", argument.kind.rawValue, to: reply)
            if argument.kind == .key {
                reply.bulk("key_spec_index")
                reply.integer(areKeysApart ? keys : 0)
                keys += 1
            }
            if let token = argument.token { pair("token", token, to: reply) }
            if let summary = argument.summary { pair("summary", summary, to: reply) }
            if !flags.isEmpty {
                reply.bulk("flags")
                simpleSet(flags, to: reply)
            }
            if !argument.arguments.isEmpty {
                reply.bulk("arguments")
                self.arguments(argument.arguments, to: reply)
            }
        }
    }

    private static func pair(_ name: String, _ value: String, to reply: ReplyBuffer) {
        reply.bulk(name)
        reply.bulk(value)
    }
}

extension ArgumentSpec {
    /// The flags by their names in COMMAND DOCS.
    var flagNames: [String] {
        var names: [String] = []
        if optional { names.append("optional") }
        if multiple { names.append("multiple") }
        if multipleToken { names.append("multiple_token") }
        return names
    }
}
