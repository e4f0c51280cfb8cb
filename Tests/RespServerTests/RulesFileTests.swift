// The rules file: its syntax, and errors that name the line.

import LimiterEngine
import Testing

@testable import RespServer

@Suite struct RulesFileTests {
    private func read(_ text: String) throws(RulesFileError) -> RulesFile {
        try RulesFile(Array(text.utf8), path: "rules.conf")
    }

    @Test func policiesAndRules() throws {
        let file = try read(
            """
            # who gets what

              policy free LIMIT 100 PER 1m BURST 20
            POLICY night limit 10 per 1d ALGO fixed-window OFFSET 2h MODE shadow
            rule * * * POLICY free\r
            rule acme "client 7" "\\x00*" policy night
            rule '*' * login POLICY free
            """)
        #expect(file.policies.map(\.name) == [Array("free".utf8), Array("night".utf8)])
        #expect(file.policies[0].limit.capacity == 20)
        #expect(file.policies[1].mode == .shadow && file.policies[1].limit.offset == 7_200_000_000_000)
        #expect(
            file.rules.map(\.subject) == [
                RuleSubject(tenant: nil, client: nil, action: nil),
                RuleSubject(tenant: Array("acme".utf8), client: Array("client 7".utf8), action: [0, 0x2A]),
                RuleSubject(tenant: nil, client: nil, action: Array("login".utf8)),
            ])
        #expect(try read("").policies.isEmpty)
    }

    @Test(arguments: [
        ("\npolicy", "rules.conf:2: policy needs a name"),
        ("policy a", "rules.conf:1: LIMIT is missing"),
        ("policy a LIMIT 1 PER 0", "rules.conf:1: PER must be above zero"),
        ("policy a LIMIT 1 PER 1 COST 2", "rules.conf:1: syntax error near 'COST'"),
        ("policy a LIMIT 1 PER 1 MODE loud", "rules.conf:1: MODE must be one of enforce, shadow, off"),
        ("policy '' LIMIT 1 PER 1", "rules.conf:1: name must have 1 to 512 bytes"),
        ("policy a LIMIT 1 PER 1\npolicy a LIMIT 2 PER 1", "rules.conf:2: policy 'a' is already defined in line 1"),
        (
            "rule a b POLICY c",
            "rules.conf:1: syntax error: expected tenant, client, action and POLICY with a name"
        ),
        (
            "rule a b c POLICY d\n#\nrule a b c POLICY e",
            "rules.conf:3: a rule for 'a b c' is already defined in line 1"
        ),
        ("rule a \"b c POLICY d", "rules.conf:1: unbalanced quotes, or more than 64 words"),
        ("\0\0", "rules.conf:1: a zero byte; in a name it is written \"\\x00\""),
        ("# \0\npolicy a LIMIT 1 PER 1\n \0", "rules.conf:3: a zero byte; in a name it is written \"\\x00\""),
        ("limit 5", "rules.conf:1: a line must begin with policy, rule or #, not with 'limit'"),
    ])
    func errorsNameTheirLine(text: String, error: String) {
        #expect(throws: RulesFileError(text: error)) { try read(text) }
    }

    @Test func errorsOfTheRegistryNameALineIfThereIsOne() throws {
        let file = try read("# \nrule * * * POLICY nosuch")
        #expect(
            file.error(.unknownPolicy(Array("nosuch".utf8))).text == "rules.conf:2: there is no policy 'nosuch'")
        #expect(file.error(.tooManyRules).text.hasPrefix("rules.conf: there may be at most"))
    }

    @Test func aFileThatCannotBeReadIsNamed() {
        #expect(throws: RulesFileError(text: "/nonexistent/rules: cannot be read: No such file or directory")) {
            try RulesFile(path: "/nonexistent/rules")
        }
    }
}
