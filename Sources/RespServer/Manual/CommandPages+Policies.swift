// The reference's pages of the commands of policies and rules.

extension CommandPages {
    private static let policyFields =
        "`name`, `algo`, `limit`, `per_ms`, `burst`, `offset_ms`, `mode`, `source`, `capped_ms`"
    private static let ruleFields = "`tenant`, `client`, `action`, `policy`, `source`"

    static let policies: [String: CommandPage] = [
        "rl.policy|set": CommandPage(
            replies: [.ok, .null("NX was given, and the policy exists")],
            errors: [
                .error("ERR LIMIT is missing", "a new policy needs LIMIT and PER", "RL.POLICY SET pro PER 1m"),
                .error("ERR MODE must be one of enforce, shadow, off", "", "RL.POLICY SET pro MODE on"),
                .error(
                    "ERR ...", "those of [the limit](#the-limit-in-a-call)",
                    "RL.POLICY SET pro LIMIT 10 PER 1m ALGO fixed-window BURST 5"),
            ],
            notes: CommandManual.policyChanges,
            examples: """
                > RL.POLICY SET pro ALGO token-bucket LIMIT 1000 PER 1m BURST 200
                OK
                > RL.TAKE user:1 POLICY pro
                1) (integer) 1
                2) (integer) 1
                3) (integer) 200
                4) (integer) 199
                5) (integer) -1
                6) (integer) 60
                > RL.POLICY SET pro LIMIT 2000
                OK
                > RL.TAKE user:2 POLICY pro
                1) (integer) 1
                2) (integer) 1
                3) (integer) 200
                4) (integer) 199
                5) (integer) -1
                6) (integer) 30
                > RL.POLICY SET pro LIMIT 1 PER 1d NX
                (nil)
                """),
        "rl.policy|get": CommandPage(
            replies: [.map(policyFields), .null("there is no such policy")],
            notes: CommandManual.policyFields,
            examples: """
                > RL.POLICY SET day LIMIT 10 PER 1d ALGO fixed-window OFFSET 2h MODE shadow
                OK
                > RL.POLICY GET day
                 1) "name"
                 2) "day"
                 3) "algo"
                 4) "fixed-window"
                 5) "limit"
                 6) (integer) 10
                 7) "per_ms"
                 8) (integer) 86400000
                 9) "burst"
                10) (integer) 10
                11) "offset_ms"
                12) (integer) 7200000
                13) "mode"
                14) "shadow"
                15) "source"
                16) "command"
                17) "capped_ms"
                18) (integer) 0
                """),
        "rl.policy|del": CommandPage(
            replies: [.integer("1, or 0 if there is no such policy")],
            errors: [
                .error(
                    "ERR 1 rule uses the policy, ...", "delete the rules first", "RL.POLICY SET old LIMIT 1 PER 1s",
                    "RL.RULE SET acme * * POLICY old", "RL.POLICY DEL old")
            ],
            examples: """
                > RL.POLICY SET old LIMIT 1 PER 1s
                OK
                > RL.RULE SET acme * * POLICY old
                OK
                > RL.POLICY DEL old
                (error) ERR 1 rule uses the policy, such as the one for 'acme * *'
                > RL.RULE DEL acme * *
                (integer) 1
                > RL.POLICY DEL old
                (integer) 1
                """),
        "rl.policy|list": CommandPage(
            replies: [.array("a reply of RL.POLICY GET for each policy")],
            examples: """
                > RL.POLICY LIST
                (empty array)
                > RL.POLICY SET free LIMIT 2 PER 1h
                OK
                > RL.POLICY LIST
                1)  1) "name"
                    2) "free"
                    3) "algo"
                    4) "gcra"
                    5) "limit"
                    6) (integer) 2
                    7) "per_ms"
                    8) (integer) 3600000
                    9) "burst"
                   10) (integer) 2
                   11) "offset_ms"
                   12) (integer) 0
                   13) "mode"
                   14) "enforce"
                   15) "source"
                   16) "command"
                   17) "capped_ms"
                   18) (integer) 0
                """),
        "rl.rule|set": CommandPage(
            replies: [.ok, .null("NX was given, and the rule exists")],
            errors: [
                .error("ERR there is no policy '...'", "create it first", "RL.RULE SET acme * logout POLICY nosuch"),
                .error(
                    "ERR syntax error: expected tenant, client, action and POLICY with a name", "",
                    "RL.RULE SET acme * logout LIMIT 5"),
            ],
            examples: """
                > RL.POLICY SET free LIMIT 2 PER 1h
                OK
                > RL.RULE SET acme * login POLICY free
                OK
                > RL.RULE SET acme * login POLICY free NX
                (nil)
                """),
        "rl.rule|get": CommandPage(
            replies: [.map(ruleFields), .null("there is no such rule")],
            examples: """
                > RL.POLICY SET free LIMIT 2 PER 1h
                OK
                > RL.RULE SET acme * login POLICY free
                OK
                > RL.RULE GET acme * login
                 1) "tenant"
                 2) "acme"
                 3) "client"
                 4) "*"
                 5) "action"
                 6) "login"
                 7) "policy"
                 8) "free"
                 9) "source"
                10) "command"
                > RL.RULE GET acme client-7 login
                (nil)
                """),
        "rl.rule|del": CommandPage(
            replies: [.integer("1, or 0 if there is no such rule")],
            examples: """
                > RL.POLICY SET free LIMIT 2 PER 1h
                OK
                > RL.RULE SET acme * * POLICY free
                OK
                > RL.RULE DEL acme * *
                (integer) 1
                > RL.RULE DEL acme * *
                (integer) 0
                """),
        "rl.rule|list": CommandPage(
            replies: [.array("a reply of RL.RULE GET for each rule")],
            examples: """
                > RL.RULE LIST
                (empty array)
                > RL.POLICY SET free LIMIT 2 PER 1h
                OK
                > RL.RULE SET acme * * POLICY free
                OK
                > RL.RULE LIST
                1)  1) "tenant"
                    2) "acme"
                    3) "client"
                    4) "*"
                    5) "action"
                    6) "*"
                    7) "policy"
                    8) "free"
                    9) "source"
                   10) "command"
                """),
        "rl.rule|resolve": CommandPage(
            replies: [
                .map("the winning rule's fields, and `level`: what it names"), .null("no rule matches"),
            ],
            notes: "Which rule wins: [precedence of rules](#precedence-of-rules).",
            examples: """
                > RL.POLICY SET free LIMIT 2 PER 1h
                OK
                > RL.RULE SET * * * POLICY free
                OK
                > RL.RULE SET acme * login POLICY free
                OK
                > RL.RULE RESOLVE acme client-7 login
                 1) "tenant"
                 2) "acme"
                 3) "client"
                 4) "*"
                 5) "action"
                 6) "login"
                 7) "policy"
                 8) "free"
                 9) "source"
                10) "command"
                11) "level"
                12) "tenant+action"
                """),
        "rl.rule|reload": CommandPage(
            replies: [.map("the names in the table above")],
            errors: [
                .error("ERR rules-file is not set", "", "RL.RULE RELOAD"),
                .error("ERR ...", "the file has an error; the text names file, line and word"),
            ],
            notes: CommandManual.reload + "\n\nSee [the rules file and commands](#the-rules-file-and-commands).",
            examples: """
                > RL.RULE RELOAD
                (error) ERR rules-file is not set
                """),
    ]
}
