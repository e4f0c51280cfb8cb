import RESP
import Testing

@testable import RespServer

@Suite struct UnsupportedCallsTests {
    private func count(_ words: [String], in commands: UnsupportedCalls) -> UnsupportedCalls.Warning {
        let arguments = ArgumentList()
        arguments.load(words.map { Array($0.utf8) })
        let lacking: Unsupported =
            words.count > 1 ? .subcommand(arguments[1], of: arguments[0]) : .command(arguments[0])
        return commands.count(lacking.name)
    }

    @Test func countsByNameAndWarnsOnce() {
        let commands = UnsupportedCalls()
        #expect(count(["EVAL"], in: commands) == .name("eval"))
        #expect(count(["eVal"], in: commands) == .none)
        #expect(count(["CLIENT", "Foo"], in: commands) == .name("client|foo"))
        commands.countStranger()
        #expect(commands.counts == .init(calls: 4, others: 1, names: ["eval": 2, "client|foo": 1]))
        commands.reset()
        #expect(commands.counts == .init())
        #expect(count(["EVAL"], in: commands) == .none, "warned about once per server run")
        #expect(commands.counts == .init(calls: 1, others: 0, names: ["eval": 1]))
    }

    @Test func valuesAndScriptsHaveNamesOfTheirOwn() {
        let arguments = ArgumentList()
        arguments.load([Array("SETEX".utf8)])
        #expect(Unsupported.value(arguments[0]).name == "setex|value-not-an-integer")
        #expect(Unsupported.script("a1de").name == "script|a1de")
    }

    @Test func namesAreBounded() {
        let commands = UnsupportedCalls()
        for number in 0..<UnsupportedCalls.namesMax {
            #expect(count(["c\(number)"], in: commands) == .name("c\(number)"))
        }
        #expect(count(["more"], in: commands) == .noMoreNames)
        #expect(count(["more"], in: commands) == .none && count(["evenmore"], in: commands) == .none)
        let counts = commands.counts
        #expect(counts.names.count == UnsupportedCalls.namesMax && counts.others == 3)
        #expect(counts.calls == UnsupportedCalls.namesMax + 3)
    }

    @Test(arguments: [
        ("", ""), ("JSON.GET", "json.get"), ("a-b_c", "a-b_c"), ("a:b", "a%3Ab"), ("a|b", "a%7Cb"), ("%", "%25"),
        ("~", "%7E"), ("x\r\n", "x%0D%0A"), ("é", "%C3%A9"),
        (String(repeating: "n", count: 48), String(repeating: "n", count: 48)),
        (String(repeating: "n", count: 49), String(repeating: "n", count: 48) + "~"),
    ])
    func namesAreEscaped(word: String, name: String) {
        let arguments = ArgumentList()
        arguments.load([Array(word.utf8)])
        #expect(UnsupportedCalls.name(arguments[0]) == name)
    }
}
