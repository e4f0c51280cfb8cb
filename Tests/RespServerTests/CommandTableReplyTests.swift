// COMMAND and HELP: byte for byte what redis-server 7.0.15 answers for commands that both have; the same structure
// where only the content is our own.

import Glibc
import RESP
import Testing

@testable import RespServer

@Suite struct CommandTableReplyTests {
    typealias Answer = (ArgumentList, ReplyBuffer) -> Void

    static func bytes(_ version: ProtocolVersion, _ words: [String], _ answer: Answer) -> String {
        let arguments = ArgumentList()
        arguments.load(words.map { Array($0.utf8) })
        let reply = ReplyBuffer()
        reply.version = version
        answer(arguments, reply)
        return String(decoding: reply.bytes, as: UTF8.self)
    }

    static func info(_ version: ProtocolVersion, _ names: String...) -> String {
        bytes(version, ["COMMAND", "INFO"] + names) { CommandReply.info($0, to: $1) }
    }

    static func docs(_ version: ProtocolVersion, _ names: String...) -> String {
        bytes(version, ["COMMAND", "DOCS"] + names) { CommandReply.docs($0, to: $1) }
    }

    static func list(_ words: String...) -> String {
        bytes(.resp3, ["COMMAND", "LIST"] + words) { CommandReply.list($0, to: $1) }
    }

    static func getKeys(_ words: String...) -> String {
        bytes(.resp2, ["COMMAND", "GETKEYS"] + words) { CommandReply.getKeys($0, to: $1) }
    }

    @Test func infoOfGetIsRedissOwn() {
        #expect(
            Self.info(.resp2, "get")
                == "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n"
                + "+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n"
                + "$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n"
                + "$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n"
                + "$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n")
        #expect(
            Self.info(.resp3, "GET")
                == "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n~3\r\n+@read\r\n"
                + "+@string\r\n+@fast\r\n~0\r\n~1\r\n%3\r\n$5\r\nflags\r\n~2\r\n+RO\r\n+access\r\n"
                + "$12\r\nbegin_search\r\n%2\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n%1\r\n$5\r\nindex\r\n:1\r\n"
                + "$9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n%3\r\n$7\r\nlastkey\r\n:0\r\n"
                + "$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n~0\r\n")
    }

    /// As in Redis except for the `noscript` flag, which has no meaning here.
    @Test func infoOfASubcommand() {
        #expect(
            Self.info(.resp2, "CLIENT|list", "nope", "client|", "client|nope")
                == "*4\r\n*10\r\n$11\r\nclient|list\r\n:-2\r\n*3\r\n+admin\r\n+loading\r\n+stale\r\n:0\r\n:0\r\n:0\r\n"
                + "*4\r\n+@admin\r\n+@slow\r\n+@dangerous\r\n+@connection\r\n*1\r\n$23\r\nnondeterministic_output\r\n"
                + "*0\r\n*0\r\n$-1\r\n$-1\r\n$-1\r\n")
        #expect(Self.info(.resp3, "nope") == "*1\r\n_\r\n")
        let container = Self.info(.resp3, "client")
        let own = CommandTable.specs.first { $0.name == "client" }!
        #expect(
            container.hasPrefix(
                "*1\r\n*10\r\n$6\r\nclient\r\n:-2\r\n~0\r\n:0\r\n:0\r\n:0\r\n~1\r\n+@slow\r\n~0\r\n~0\r\n"
                    + "*\(own.subcommands.count)\r\n*10\r\n$9\r\nclient|id\r\n:2\r\n"))
    }

    @Test func infoOfThrottle() {
        let text = Self.info(.resp3, "cl.throttle")
        #expect(
            text.hasPrefix(
                "*1\r\n*10\r\n$11\r\ncl.throttle\r\n:-5\r\n~3\r\n+write\r\n+denyoom\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"))
    }

    @Test func docsOfGetHaveRedissStructure() {
        let spec = CommandTable.specs.first { $0.name == "get" }!
        let middle =
            "$7\r\nsummary\r\n$\(spec.summary.utf8.count)\r\n\(spec.summary)\r\n$5\r\nsince\r\n$5\r\n0.1.0\r\n"
            + "$5\r\ngroup\r\n$6\r\nstring\r\n$10\r\ncomplexity\r\n$4\r\nO(1)\r\n$9\r\narguments\r\n*1\r\n"
        let end = "$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14\r\nkey_spec_index\r\n:0\r\n"
        #expect(Self.docs(.resp2, "get") == "*2\r\n$3\r\nget\r\n*10\r\n" + middle + "*6\r\n" + end)
        #expect(Self.docs(.resp3, "nope", "get") == "%1\r\n$3\r\nget\r\n%5\r\n" + middle + "%3\r\n" + end)
        #expect(Self.docs(.resp2, "nope") == "*0\r\n")
    }

    /// Redis's answer from the arguments on, the part without prose.
    @Test func docsOfExpireHaveRedissArguments() {
        let text = Self.docs(.resp3, "expire")
        let arguments =
            "$9\r\narguments\r\n*3\r\n%3\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n"
            + "$14\r\nkey_spec_index\r\n:0\r\n%2\r\n$4\r\nname\r\n$7\r\nseconds\r\n$4\r\ntype\r\n$7\r\ninteger\r\n"
            + "%4\r\n$4\r\nname\r\n$9\r\ncondition\r\n$4\r\ntype\r\n$5\r\noneof\r\n$5\r\nflags\r\n~1\r\n+optional\r\n"
            + "$9\r\narguments\r\n*4\r\n%3\r\n$4\r\nname\r\n$2\r\nnx\r\n$4\r\ntype\r\n$10\r\npure-token\r\n"
            + "$5\r\ntoken\r\n$2\r\nNX\r\n"
        #expect(text.contains(arguments))
    }

    @Test func subcommandsInDocsAreNamedWithTheirContainer() {
        let text = Self.docs(.resp3, "object")
        #expect(text.contains("$11\r\nsubcommands\r\n%5\r\n$15\r\nobject|encoding\r\n%5\r\n"))
        #expect(Self.docs(.resp3, "object|freq").hasPrefix("%1\r\n$11\r\nobject|freq\r\n%5\r\n"))
    }

    @Test func lists() {
        #expect(Self.list("FILTERBY", "PATTERN", "CLIENT|l*") == "*1\r\n$11\r\nclient|list\r\n")
        let limiter = Self.list("filterby", "aclcat", "LIMITER")
        #expect(limiter.hasPrefix("*19\r\n$11\r\ncl.throttle\r\n$11\r\nrl.throttle\r\n"))
        #expect(Self.list("FILTERBY", "ACLCAT", "nope") == "*0\r\n")
        #expect(Self.list("FILTERBY", "MODULE", "x") == "*0\r\n")
        #expect(Self.list("FILTERBY") == "-ERR syntax error\r\n")
        #expect(Self.list("FILTERBY", "ACLCAT") == "-ERR syntax error\r\n")
        #expect(Self.list("FILTERBY", "X", "y") == "-ERR syntax error\r\n")
        #expect(Self.list("X") == "-ERR syntax error\r\n")
        let all = CommandTable.specs.reduce(0) { $0 + 1 + $1.subcommands.count }
        #expect(Self.list().hasPrefix("*\(all)\r\n"))
    }

    @Test func findsKeys() {
        #expect(Self.getKeys("CL.THROTTLE", "k", "1", "2", "3") == "*1\r\n$1\r\nk\r\n")
        #expect(
            Self.getKeys("rl.takeall", "a", "limit", "1", "per", "1", "and", "b", "policy", "p")
                == "*2\r\n$1\r\na\r\n$1\r\nb\r\n")
        #expect(Self.getKeys("rl.check", "t", "c", "a") == "*1\r\n$1\r\nt\r\n")
        #expect(Self.getKeys("del", "a", "b") == "*2\r\n$1\r\na\r\n$1\r\nb\r\n")
        #expect(Self.getKeys("mset", "a", "1", "b", "2") == "*2\r\n$1\r\na\r\n$1\r\nb\r\n")
        #expect(Self.getKeys("copy", "a", "b", "replace") == "*2\r\n$1\r\na\r\n$1\r\nb\r\n")
        #expect(Self.getKeys("object", "encoding", "k") == "*1\r\n$1\r\nk\r\n")
        #expect(Self.getKeys("get", "a", "b") == "-ERR Invalid number of arguments specified for command\r\n")
        #expect(Self.getKeys("client", "list") == "-ERR The command has no key arguments\r\n")
        #expect(Self.getKeys("ping", "x") == "-ERR The command has no key arguments\r\n")
        #expect(Self.getKeys("client", "nope") == "-ERR Invalid command specified\r\n")
        #expect(Self.getKeys("nope", "a") == "-ERR Invalid command specified\r\n")
    }

    /// The whole answer is well formed: it parses to its last byte in both protocol versions.
    @Test(arguments: [ProtocolVersion.resp2, .resp3])
    func wholeAnswersAreComplete(version: ProtocolVersion) throws {
        for text in [
            Self.info(version), Self.docs(version), Self.bytes(version, ["COMMAND"]) { CommandReply.all(to: $1) },
        ] {
            var reader = Reader(bytes: Array(text.utf8))
            try reader.value()
            #expect(reader.position == reader.bytes.count)
        }
    }

    @Test func helpHasRedissFormat() {
        let help = Self.bytes(.resp2, ["slowlog", "help"]) { HelpText.reply($0, to: $1) }
        #expect(
            help.hasPrefix(
                "*9\r\n+SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+GET [<count>]\r\n"))
        #expect(help.contains("\r\n+LEN\r\n+    Counts the slow log's entries.\r\n"))
        #expect(help.contains("\r\n+HELP\r\n+    "))
        for spec in CommandTable.specs where !spec.subcommands.isEmpty {
            let lines = HelpText.lines(of: spec)
            #expect(lines[0] == "\(spec.name.uppercased()) <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
            #expect(lines.count == 1 + 2 * (spec.subcommands.count + (spec.isRunnable ? 1 : 0)))
        }
    }

    @Test func syntaxLines() throws {
        func syntax(_ name: String, _ subcommand: String? = nil) throws -> String {
            let spec = try #require(CommandTable.specs.first { $0.name == name })
            return HelpText.syntax(
                of: subcommand.map { word in spec.subcommands.first { $0.name == word }! }?.arguments ?? spec.arguments)
        }
        #expect(try syntax("cl.throttle") == "<key> <max_burst> <count> <period> [<quantity>]")
        #expect(try syntax("expire") == "<key> <seconds> [NX | XX | GT | LT]")
        #expect(try syntax("scan") == "<cursor> [MATCH <pattern>] [COUNT <count>] [TYPE <type>]")
        #expect(try syntax("mset") == "<key> <value> [<key> <value> ...]")
        #expect(try syntax("copy") == "<source> <destination> [DB <destination-db>] [REPLACE]")
        #expect(try syntax("del") == "<key> [<key> ...]")
        #expect(try syntax("client", "reply") == "(ON | OFF | SKIP)")
        #expect(try syntax("client", "pause") == "<timeout> [WRITE | ALL]")
        #expect(
            try syntax("client", "list")
                == "[TYPE (NORMAL | MASTER | REPLICA | PUBSUB)] [ID <client-id> [<client-id> ...]]")
        #expect(try syntax("config", "set") == "<parameter> <value> [<parameter> <value> ...]")
        #expect(try syntax("replicaof") == "(<host> <port> | NO ONE)")
        #expect(try syntax("hello") == "[<protover> [AUTH <username> <password>] [SETNAME <clientname>]]")
    }
}

/// Skips one RESP value at a time.
private struct Reader {
    struct Malformed: Error {}

    var bytes: [UInt8]
    var position = 0

    mutating func value() throws {
        let start = position
        while position < bytes.count, bytes[position] != 0x0A { position += 1 }
        position += 1
        guard position <= bytes.count, position >= start + 3 else { throw Malformed() }
        let line = String(decoding: bytes[(start + 1)..<(position - 2)], as: UTF8.self)
        switch bytes[start] {
        case UInt8(ascii: "+"), UInt8(ascii: "_"): return
        case UInt8(ascii: ":"): guard Int(line) != nil else { throw Malformed() }
        case UInt8(ascii: "$"):
            guard let count = Int(line) else { throw Malformed() }
            position += count + 2
            guard position <= bytes.count else { throw Malformed() }
        case UInt8(ascii: "*"), UInt8(ascii: "~"):
            guard let count = Int(line) else { throw Malformed() }
            for _ in 0..<count { try value() }
        case UInt8(ascii: "%"):
            guard let count = Int(line) else { throw Malformed() }
            for _ in 0..<(2 * count) { try value() }
        default: throw Malformed()
        }
    }
}
