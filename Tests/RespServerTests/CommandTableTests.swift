// The command table: its internal consistency, and its agreement with a real Redis.

import RESP
import Testing

@testable import RespServer

@Suite struct CommandTableTests {
    /// Every entry with the name that clients send; subcommands follow their container.
    static let all: [(name: String, spec: CommandSpec)] = CommandTable.specs.flatMap { spec in
        [(spec.name, spec)] + spec.subcommands.map { ("\(spec.name) \($0.name)", $0) }
    }

    /// Commands that deliberately differ from Redis 7.0.
    static let ownArguments: Set<String> = ["cluster", "command getkeys"]
    /// Commands of Redis 7.2 and our own.
    static let unknownToRedis: Set<String> = [
        "cl.throttle", "rl.throttle", "gcra", "client setinfo", "client no-touch", "debug sleep", "debug metrics",
        "debug help", "increx", "rl.take", "rl.peek", "rl.refund", "rl.reset", "rl.takeall", "rl.check", "rl.policy",
        "rl.policy set", "rl.policy get",
        "rl.policy del", "rl.policy list", "rl.policy help", "rl.rule", "rl.rule set", "rl.rule get", "rl.rule del",
        "rl.rule list", "rl.rule resolve", "rl.rule reload", "rl.rule help", "waitaof",
    ]

    @Test func agreesWithRedis() throws {
        var facts: [String: [String]] = [:]
        for line in redisCommandFacts.split(separator: "\n") {
            let columns = line.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
            try #require(columns.count == 9)
            facts[columns[0]] = columns
        }
        for (name, spec) in Self.all where !Self.unknownToRedis.contains(name) {
            let row = try #require(facts[name], "Redis has no \(name)")
            #expect(String(spec.arity) == row[1], "arity of \(name)")
            // The facts leave out `movablekeys`.
            #expect(
                Set(spec.flagNames).subtracting(["movablekeys"]) == Set(row[2].split(separator: " ").map(String.init)),
                "flags of \(name)")
            #expect("\(spec.keys.first) \(spec.keys.last) \(spec.keys.step)" == row[3], "keys of \(name)")
            #expect(spec.allCategories.map { "@" + $0 }.joined(separator: " ") == row[4], "categories of \(name)")
            #expect(spec.tips.joined(separator: " ") == row[5], "tips of \(name)")
            if spec.keys.first > 0 { #expect(spec.keyFlags.joined(separator: " ") == row[6], "key access of \(name)") }
            #expect(spec.group == row[7], "group of \(name)")
            if !Self.ownArguments.contains(name) {
                #expect(spec.arguments.map(Self.text).joined(separator: " ") == row[8], "arguments of \(name)")
            }
        }
    }

    private static func text(_ argument: ArgumentSpec) -> String {
        var text = "\(argument.name):\(argument.kind.rawValue)"
        if let token = argument.token { text += "=\(token)" }
        if argument.optional { text += "?" }
        if argument.multiple { text += "*" }
        if argument.multipleToken { text += "+" }
        if !argument.arguments.isEmpty { text += "(" + argument.arguments.map(Self.text).joined(separator: " ") + ")" }
        return text
    }

    @Test func isConsistent() {
        for (name, spec) in Self.all {
            #expect(spec.name == spec.name.lowercased() && !spec.name.isEmpty, "\(name)")
            #expect(!spec.summary.isEmpty && spec.summary.hasSuffix("."), "summary of \(name)")
            #expect(!spec.complexity.isEmpty, "complexity of \(name)")
            #expect(spec.arity != 0, "\(name)")
            #expect(spec.isRunnable || !spec.subcommands.isEmpty, "nothing runs \(name)")
            for category in spec.categories {
                #expect(CommandSpec.categoryNames.contains(category), "\(category) of \(name)")
            }
            let changes = spec.flags.contains(.write)
            #expect(!(changes && spec.flags.contains(.readonly)), "\(name) is both a write and read-only")
            #expect(!spec.flags.contains(.denyOOM) || changes, "\(name) has denyoom but does not write")
            if spec.keys.first > 0 { #expect(spec.keys.step > 0, "\(name)") }
            Self.check(spec.arguments, of: name)
        }
        for spec in CommandTable.specs where !spec.isRunnable {
            #expect(spec.subcommands.last?.name == "help", "\(spec.name) has no help")
        }
    }

    /// Invariants that redis-cli asserts of argument specifications.
    private static func check(_ arguments: [ArgumentSpec], of name: String) {
        for argument in arguments {
            #expect(!argument.name.isEmpty, "\(name)")
            let nests = argument.kind == .oneof || argument.kind == .block
            #expect(nests == !argument.arguments.isEmpty, "\(argument.name) of \(name)")
            #expect(argument.kind != .pureToken || argument.token != nil, "\(argument.name) of \(name)")
            check(argument.arguments, of: name)
        }
    }

    /// The arity that follows from the arguments: the number of required ones, without an upper bound if some are
    /// optional.
    @Test func arityFollowsFromTheArguments() {
        // Skips containers, and commands whose arguments Redis leaves undocumented.
        for (name, spec) in Self.all where spec.subcommands.isEmpty && !["quit", "replconf"].contains(name) {
            let words = name.split(separator: " ").count
            let least = spec.arguments.map { Self.least($0) }.reduce(words, +)
            #expect(abs(spec.arity) >= least, "\(name)")
            let open = spec.arguments.contains { Self.isOpen($0) }
            if open { #expect(spec.arity < 0, "\(name) has optional arguments") }
        }
    }

    private static func least(_ argument: ArgumentSpec) -> Int {
        guard !argument.optional else { return 0 }
        let token = argument.token == nil || argument.kind == .pureToken ? 0 : 1
        switch argument.kind {
        case .block: return token + argument.arguments.map { least($0) }.reduce(0, +)
        case .oneof: return token + (argument.arguments.map { least($0) }.min() ?? 0)
        default: return token + 1
        }
    }

    private static func isOpen(_ argument: ArgumentSpec) -> Bool {
        argument.optional || argument.multiple || argument.arguments.contains { $0.optional || $0.multiple }
    }

    @Test func internalFlags() {
        func names(_ flag: CommandFlags) -> Set<String> {
            Set(Self.all.filter { $0.spec.flags.contains(flag) }.map(\.name))
        }
        #expect(names(.transactionControl) == ["multi", "exec", "discard", "watch", "quit", "reset"])
        #expect(names(.noAuth) == ["auth", "hello", "quit", "reset"])
        #expect(names(.redacted) == ["auth", "hello"])
        #expect(
            names(.whileSubscribed)
                == ["ping", "quit", "reset", "subscribe", "unsubscribe", "psubscribe", "punsubscribe"])
        #expect(
            names(.allKeys)
                == [
                    "flushall", "flushdb", "dbsize", "keys", "scan", "randomkey", "info", "config resetstat",
                    "debug metrics",
                    "rl.check", "move",
                ])
        #expect(
            names(.stopsAllLoops)
                == ["client list", "client kill", "client pause", "config resetstat", "config set", "monitor"])
        #expect(
            names(.ignoresPause)
                == ["client pause", "client unpause", "replicaof", "slaveof", "replconf", "psync", "sync", "failover"])
        #expect(names(.ownRefusal) == ["cluster", "psync"])
        #expect(names(.noMulti) == ["psync", "sync", "shutdown", "save", "rl.rule reload"])
        #expect(
            names(.denyOOM)
                == [
                    "cl.throttle", "rl.throttle", "gcra", "rl.take", "rl.takeall", "rl.check", "set", "incr", "incrby",
                    "decr", "decrby", "increx", "getset", "setnx", "setex", "psetex", "mset", "msetnx", "copy",
                ])
        let editing: Set<String> = ["rl.policy set", "rl.policy del", "rl.rule set", "rl.rule del", "rl.rule reload"]
        let renaming: Set<String> = ["rename", "renamenx", "move"]
        #expect(names(.namesDatabase) == ["copy"])
        #expect(
            names(.records) == editing.subtracting(["rl.rule reload"]).union(["flushall", "flushdb"]).union(renaming))
        // Allowed on a replica because they do not write.
        let reading = ["rl.peek", "rl.policy get", "rl.policy list", "rl.rule get", "rl.rule list", "rl.rule resolve"]
        #expect(names(.readonly).isSuperset(of: reading))
        #expect(names(.write).isSuperset(of: editing.union(["rl.take", "rl.takeall", "rl.check", "rl.refund"])))
    }

    @Test func omitsAbsentFields() {
        let names = Set(Self.all.map(\.name))
        for absent in [
            "sentinel", "acl", "client tracking", "client caching", "client capa", "client maint_notifications",
            "function", "fcall", "script debug",
        ] {
            #expect(!names.contains(absent))
        }
    }

    @Test func numbersForStatistics() {
        #expect(Set(CommandTable.fullNames).count == CommandTable.fullNames.count)
        #expect(CommandTable.fullNames.count == Self.all.count)
        for (index, spec) in CommandTable.specs.enumerated() {
            #expect(CommandTable.fullNames[index] == spec.name)
            for (inner, subcommand) in spec.subcommands.enumerated() {
                let number = CommandTable.firstSubcommandNumbers[index] + inner
                #expect(CommandTable.fullNames[number] == "\(spec.name)|\(subcommand.name)")
            }
        }
    }

    /// Keys among words that could be mistaken for AND, and keys that are AND.
    @Test func keysOfTakeAll() {
        func keys(_ line: String) -> [Int] {
            let list = ArgumentList()
            list.load(line.split(separator: " ").map { Array($0.utf8) })
            return TakeAllArguments.keyPositions(list, from: 0)
        }
        #expect(keys("RL.TAKEALL a LIMIT 1 PER 1") == [1])
        #expect(keys("RL.TAKEALL a LIMIT 1 PER 1 AND b POLICY x COST 2") == [1, 7])
        #expect(keys("RL.TAKEALL a POLICY and AND and POLICY AND AND c LIMIT 1 PER 1") == [1, 5, 9])
        #expect(keys("RL.TAKEALL a POLICY x AND") == [1])
        #expect(keys("RL.TAKEALL") == [])
        let spec = CommandTable.specs.first { $0.name == "rl.takeall" }!
        // For commands with movablekeys, clients call COMMAND GETKEYS before every call; the key specification
        // suffices here.
        #expect(!spec.flagNames.contains("movablekeys") && spec.keyFlags.contains("incomplete"))
    }

    @Test func keyPositions() {
        #expect(KeyPositions.none.positions(argumentCount: 3) == [])
        #expect(KeyPositions.one.positions(argumentCount: 5) == [1])
        #expect(KeyPositions.one.positions(argumentCount: 1) == [])
        #expect(KeyPositions.all.positions(argumentCount: 4) == [1, 2, 3])
        #expect(KeyPositions.all.positions(argumentCount: 1) == [])
        #expect(KeyPositions.afterSubcommand.positions(argumentCount: 3) == [2])
        #expect(KeyPositions.two.positions(argumentCount: 5) == [1, 2])
        #expect(KeyPositions.everySecond.positions(argumentCount: 5) == [1, 3])
        #expect(KeyPositions(first: 1, last: -2, step: 2).positions(argumentCount: 6) == [1, 3])
    }
}
