// Examples of the commands, shown in docs/commands.md. A test runs each against the real server.
//
// A list alternates between requests, each prefixed with `> `, and replies as redis-cli prints them. It runs from first
// to last on an empty server. Remaining times in a real reply may be slightly lower.

enum LimitExamples {
    static let take = [
        "> RL.TAKE user:1 LIMIT 100 PER 1h",
        "1) (integer) 1\n2) (integer) 1\n3) (integer) 100\n4) (integer) 99\n5) (integer) -1\n6) (integer) 36000",
        "> RL.TAKE user:1 LIMIT 100 PER 1h COST 150 ATMOST",
        "1) (integer) 1\n2) (integer) 99\n3) (integer) 100\n4) (integer) 0\n5) (integer) -1\n6) (integer) 3600000",
        "> RL.TAKE user:1 LIMIT 100 PER 1h COST 2 ID request-17",
        "1) (integer) 0\n2) (integer) 0\n3) (integer) 100\n4) (integer) 0\n5) (integer) 72000\n6) (integer) 3600000",
        "> RL.TAKE user:2 LIMIT 3 PER 1d ALGO sliding-log",
        "1) (integer) 1\n2) (integer) 1\n3) (integer) 3\n4) (integer) 2\n5) (integer) -1\n6) (integer) 86400000",
    ]
    static let peek = [
        "> RL.PEEK user:1 LIMIT 5 PER 1h",
        "1) (integer) 1\n2) (integer) 1\n3) (integer) 5\n4) (integer) 5\n5) (integer) -1\n6) (integer) 0",
        "> EXISTS user:1", "(integer) 0",
    ]
    static let refund = [
        "> RL.TAKE user:1 LIMIT 5 PER 1h COST 5",
        "1) (integer) 1\n2) (integer) 5\n3) (integer) 5\n4) (integer) 0\n5) (integer) -1\n6) (integer) 3600000",
        "> RL.REFUND user:1 LIMIT 5 PER 1h COST 2",
        "1) (integer) 1\n2) (integer) 2\n3) (integer) 5\n4) (integer) 2\n5) (integer) -1\n6) (integer) 2160000",
    ]
    static let reset = [
        "> RL.TAKE user:1 LIMIT 1 PER 1h",
        "1) (integer) 1\n2) (integer) 1\n3) (integer) 1\n4) (integer) 0\n5) (integer) -1\n6) (integer) 3600000",
        "> RL.RESET user:1", "(integer) 1",
        "> RL.RESET user:1", "(integer) 0",
    ]
    static let takeAll = [
        "> RL.TAKEALL user:1 LIMIT 10 PER 1h AND login:user:1 LIMIT 1 PER 1h",
        "1) (integer) 1\n2) (integer) 1\n3) (nil)\n4) (integer) -1\n"
            + "5) 1) 1) (integer) 1\n      2) (integer) 1\n      3) (integer) 10\n      4) (integer) 9\n"
            + "      5) (integer) -1\n      6) (integer) 360000\n"
            + "   2) 1) (integer) 1\n      2) (integer) 1\n      3) (integer) 1\n      4) (integer) 0\n"
            + "      5) (integer) -1\n      6) (integer) 3600000",
        "> RL.TAKEALL user:1 LIMIT 10 PER 1h AND login:user:1 LIMIT 1 PER 1h",
        "1) (integer) 0\n2) (integer) 0\n3) \"login:user:1\"\n4) (integer) 3600000\n"
            + "5) 1) 1) (integer) 1\n      2) (integer) 1\n      3) (integer) 10\n      4) (integer) 9\n"
            + "      5) (integer) -1\n      6) (integer) 360000\n"
            + "   2) 1) (integer) 0\n      2) (integer) 0\n      3) (integer) 1\n      4) (integer) 0\n"
            + "      5) (integer) 3600000\n      6) (integer) 3600000",
    ]
    static let check = [
        "> RL.POLICY SET free LIMIT 2 PER 1h", "OK",
        "> RL.RULE SET * * * POLICY free", "OK",
        "> RL.CHECK acme client-7 login",
        "1) (integer) 1\n2) (integer) 1\n3) (integer) 2\n4) (integer) 1\n5) (integer) -1\n6) (integer) 1800000",
    ]
    static let policySet = [
        "> RL.POLICY SET pro ALGO token-bucket LIMIT 1000 PER 1m BURST 200", "OK",
        "> RL.TAKE user:1 POLICY pro",
        "1) (integer) 1\n2) (integer) 1\n3) (integer) 200\n4) (integer) 199\n5) (integer) -1\n6) (integer) 60",
        "> RL.POLICY SET pro LIMIT 2000", "OK",
        "> RL.TAKE user:2 POLICY pro",
        "1) (integer) 1\n2) (integer) 1\n3) (integer) 200\n4) (integer) 199\n5) (integer) -1\n6) (integer) 30",
        "> RL.POLICY SET pro LIMIT 1 PER 1d NX", "(nil)",
    ]
    static let policyGet = [
        "> RL.POLICY SET day LIMIT 10 PER 1d ALGO fixed-window OFFSET 2h MODE shadow", "OK",
        "> RL.POLICY GET day",
        " 1) \"name\"\n 2) \"day\"\n 3) \"algo\"\n 4) \"fixed-window\"\n 5) \"limit\"\n 6) (integer) 10\n"
            + " 7) \"per_ms\"\n 8) (integer) 86400000\n 9) \"burst\"\n10) (integer) 10\n11) \"offset_ms\"\n"
            + "12) (integer) 7200000\n13) \"mode\"\n14) \"shadow\"\n15) \"source\"\n16) \"command\"\n"
            + "17) \"capped_ms\"\n18) (integer) 0",
    ]
    static let policyDel = [
        "> RL.POLICY SET old LIMIT 1 PER 1s", "OK",
        "> RL.RULE SET acme * * POLICY old", "OK",
        "> RL.POLICY DEL old", "(error) ERR 1 rule uses the policy, such as the one for 'acme * *'",
        "> RL.RULE DEL acme * *", "(integer) 1",
        "> RL.POLICY DEL old", "(integer) 1",
    ]
    static let policyList = ["> RL.POLICY LIST", "(empty array)"]
    static let ruleSet = [
        "> RL.POLICY SET free LIMIT 2 PER 1h", "OK",
        "> RL.RULE SET acme * login POLICY free", "OK",
        "> RL.RULE SET acme * logout POLICY nosuch", "(error) ERR there is no policy 'nosuch'",
        "> RL.RULE SET acme * login POLICY free NX", "(nil)",
    ]
    static let ruleGet = [
        "> RL.POLICY SET free LIMIT 2 PER 1h", "OK",
        "> RL.RULE SET acme * login POLICY free", "OK",
        "> RL.RULE GET acme * login",
        " 1) \"tenant\"\n 2) \"acme\"\n 3) \"client\"\n 4) \"*\"\n 5) \"action\"\n 6) \"login\"\n 7) \"policy\"\n"
            + " 8) \"free\"\n 9) \"source\"\n10) \"command\"",
    ]
    static let ruleDel = ["> RL.RULE DEL acme * *", "(integer) 0"]
    static let ruleList = ["> RL.RULE LIST", "(empty array)"]
    static let ruleResolve = [
        "> RL.POLICY SET free LIMIT 2 PER 1h", "OK",
        "> RL.RULE SET * * * POLICY free", "OK",
        "> RL.RULE SET acme * login POLICY free", "OK",
        "> RL.RULE RESOLVE acme client-7 login",
        " 1) \"tenant\"\n 2) \"acme\"\n 3) \"client\"\n 4) \"*\"\n 5) \"action\"\n 6) \"login\"\n 7) \"policy\"\n"
            + " 8) \"free\"\n 9) \"source\"\n10) \"command\"\n11) \"level\"\n12) \"tenant+action\"",
    ]
}

enum CounterExamples {
    static let get = ["> GET hits", "(nil)", "> INCR hits", "(integer) 1", "> GET hits", "\"1\""]
    static let set = [
        "> SET hits 10 EX 60", "OK", "> SET hits 11 NX", "(nil)", "> SET hits 12 KEEPTTL GET", "\"10\"",
        "> TTL hits", "(integer) 60",
    ]
    static let getdel = ["> SET hits 3", "OK", "> GETDEL hits", "\"3\"", "> GETDEL hits", "(nil)"]
    static let getex = [
        "> SET hits 3", "OK", "> GETEX hits EX 60", "\"3\"", "> TTL hits", "(integer) 60", "> GETEX hits PERSIST",
        "\"3\"", "> TTL hits", "(integer) -1",
    ]
    static let getset = ["> INCR hits", "(integer) 1", "> GETSET hits 0", "\"1\"", "> GET hits", "\"0\""]
    static let setnx = ["> SETNX hits 5", "(integer) 1", "> SETNX hits 6", "(integer) 0", "> GET hits", "\"5\""]
    static let setex = ["> SETEX hits 60 5", "OK", "> TTL hits", "(integer) 60"]
    static let psetex = ["> PSETEX hits 60000 5", "OK", "> TTL hits", "(integer) 60"]
    static let strlen = ["> SET hits 1234", "OK", "> STRLEN hits", "(integer) 4"]
    static let mget = [
        "> MSET in 5 out 7", "OK", "> MGET in out other", "1) \"5\"\n2) \"7\"\n3) (nil)",
    ]
    static let mset = ["> MSET in 5 out 7", "OK", "> INCR out", "(integer) 8"]
    static let msetnx = ["> MSETNX in 5 out 7", "(integer) 1", "> MSETNX out 1 other 1", "(integer) 0"]
    static let incr = [
        "> INCR hits", "(integer) 1", "> EXPIRE hits 60 NX", "(integer) 1", "> INCR hits", "(integer) 2",
    ]
    static let incrby = ["> INCRBY hits 5", "(integer) 5", "> INCRBY hits -2", "(integer) 3"]
    static let decr = ["> DECR left", "(integer) -1"]
    static let decrby = ["> DECRBY left 3", "(integer) -3"]
    static let increx = [
        "> INCREX hits UBOUND 2 EX 60 ENX", "1) (integer) 1\n2) (integer) 1",
        "> INCREX hits BYINT 5 UBOUND 2 EX 60 ENX", "1) (integer) 1\n2) (integer) 0",
        "> INCREX hits BYINT 5 UBOUND 2 SATURATE", "1) (integer) 2\n2) (integer) 1",
    ]
}

enum KeyExamples {
    static let copy = [
        "> SET hits 5 EX 60", "OK", "> COPY hits saved", "(integer) 1", "> TTL saved", "(integer) 60",
        "> COPY hits saved", "(integer) 0", "> COPY hits saved REPLACE", "(integer) 1",
    ]
    static let rename = [
        "> SET hits 5 EX 60", "OK", "> RENAME hits calls", "OK", "> GET calls", "\"5\"", "> TTL calls",
        "(integer) 60", "> RENAME hits calls", "(error) ERR no such key",
    ]
    static let move = [
        "> SET hits 5 EX 60", "OK", "> MOVE hits 1", "(integer) 1", "> EXISTS hits", "(integer) 0", "> SELECT 1", "OK",
        "> TTL hits", "(integer) 60",
    ]
    static let renamenx = [
        "> MSET in 5 out 7", "OK", "> RENAMENX in out", "(integer) 0", "> RENAMENX in other", "(integer) 1",
    ]
}
