// Which arguments MONITOR and the slow log redact, whatever a client sends.

import RESP
import Testing

@testable import RespServer

@Suite struct HiddenArgumentsTests {
    /// The request as it is logged, with `*` for redacted arguments.
    private func shown(_ line: String) throws -> String {
        let words = line.split(separator: " ").map(String.init)
        let arguments = SlowLogTests.arguments(words)
        let spec = try #require(CommandReply.find(arguments, from: 0))
        let hidden = spec.hiddenArguments(arguments)
        return words.indices.map { hidden.contains($0) ? "*" : words[$0] }.joined(separator: " ")
    }

    @Test(arguments: [
        ("AUTH pw", "AUTH *"), ("auth user pw more", "auth * * *"), ("HELLO 3 AUTH u pw", "HELLO * * * *"),
        ("CONFIG SET requirepass pw", "CONFIG SET requirepass *"),
        ("config set MasterAuth pw hz 10", "config set MasterAuth * hz 10"),
        ("CONFIG SET hz 10 masteruser u REQUIREPASS pw", "CONFIG SET hz 10 masteruser * REQUIREPASS *"),
        // Misspelt names, and an incomplete pair.
        ("CONFIG SET requirepas pw", "CONFIG SET requirepas *"),
        ("CONFIG SET requirepass my pw", "CONFIG SET * * *"),
        ("CONFIG SET maxmemory requirepass pw", "CONFIG SET * * *"),
        // The value of another setting is not a secret.
        ("CONFIG SET hz requirepass", "CONFIG SET hz requirepass"),
        ("CONFIG GET requirepass", "CONFIG GET requirepass"),
        ("COMMAND GETKEYS AUTH pw", "COMMAND GETKEYS AUTH *"), ("COMMAND GETKEYS AUHT pw", "COMMAND GETKEYS AUHT *"),
        ("command getkeys config set requirepass pw hz 1", "command getkeys config set requirepass * hz 1"),
        ("COMMAND GETKEYS CONFIG STE requirepass pw", "COMMAND GETKEYS CONFIG * * *"),
        ("COMMAND GETKEYS COMMAND GETKEYS AUTH pw", "COMMAND GETKEYS COMMAND * * *"),
        ("COMMAND GETKEYS SET k 1", "COMMAND GETKEYS SET k 1"), ("SET requirepass 1", "SET requirepass 1"),
    ])
    func hides(_ line: String, _ expected: String) throws {
        #expect(try shown(line) == expected)
    }

    /// Nested as deeply as a request can be: the recursion stays shallow.
    @Test func isShallow() throws {
        let words = Array(repeating: "COMMAND GETKEYS", count: 32_000).joined(separator: " ")
        #expect(try shown(words).hasPrefix("COMMAND GETKEYS COMMAND * *"))
    }

    @Test func settingsThatHoldSecretsAreMarked() {
        let secrets = SettingsTable.all.filter(\.isSecret).map(\.name)
        #expect(secrets == ["admin-token", "requirepass", "masteruser", "masterauth"])
        let telling = SettingsTable.all.filter { $0.name.contains("pass") || $0.name.contains("auth") }
        #expect(telling.allSatisfy { $0.isSecret })
    }
}
