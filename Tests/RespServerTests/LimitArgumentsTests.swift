// What the RL.* commands accept and refuse: every option, every period, and errors that name the argument.

import LimiterEngine
import RESP
import TestSupport
import Testing

@testable import RespServer

@Suite struct LimitArgumentsTests {
    private static let engine: Engine = {
        let engine = Engine(shards: 1)
        try! engine.policies.edit(now: EngineTime(nanoseconds: 0)) { draft throws(PolicyError) in
            let limit = try! Limit(.slidingLog, units: 7, period: 1_000_000_000)
            try draft.set(Policy(name: Array("seven".utf8), limit: limit, mode: .shadow))
        }
        return engine
    }()

    private static func list(_ line: String) -> ArgumentList {
        let list = ArgumentList()
        list.load(line.split(separator: " ").map { Array($0.utf8) })
        return list
    }

    private static func take(_ line: String) throws(ArgumentProblem) -> LimitCall {
        let list = list("RL.TAKE key " + line)
        var take = LimitCall.blank
        try LimitArguments.read(
            .take, list, to: &take, KeyspaceSession(engine: engine), LimitCache(), tokenWindow: 5)
        // The borrowed bytes are no longer valid.
        if take.token != nil { take.token = UnsafeRawBufferPointer(start: nil, count: 0) }
        return take
    }

    private static func problem(_ line: String) -> String? {
        do throws(ArgumentProblem) {
            _ = try take(line)
            return nil
        } catch {
            return error.text
        }
    }

    @Test(arguments: [
        ("60", 60_000_000_000), ("60s", 60_000_000_000), ("500ms", 500_000_000), ("1m", 60_000_000_000),
        ("1h", 3_600_000_000_000), ("1d", 86_400_000_000_000), ("2d", 172_800_000_000_000), ("1ms", 1_000_000),
        ("106751d", 9_223_286_400_000_000_000),
    ])
    func periods(text: String, nanoseconds: Int64) throws {
        #expect(try Self.take("LIMIT 1 PER \(text)").limit.period == nanoseconds)
    }

    @Test(arguments: [
        "", "s", "1w", "1.5s", "+1", "01", "1 s", "1us", "1sm", "9223372036854775808", "m1", "0x1", "1M",
        "1S", "1H", "2D", "1MS", "1mS",
    ])
    func invalidPeriods(text: String) {
        let list = ArgumentList()
        list.load([[], [], Array("LIMIT".utf8), [0x31], Array("PER".utf8), Array(text.utf8)])
        let problem = ArgumentProblem(Self.period("PER", text))
        #expect(throws: problem) {
            _ = try LimitArguments(list, from: 2, accepting: .take)
        }
    }

    @Test func everyOptionIsParsed() throws {
        let take = try Self.take("cost 3 BURST 9 per 2s ATMOST id abc limit 4 ALGO token-bucket")
        #expect(take.limit == (try Limit(.tokenBucket, units: 4, period: 2_000_000_000, burst: 9)))
        #expect(take.demand == (try Demand(3, isPartial: true)))
        #expect(take.token != nil && take.tokenWindow == 5)
        #expect(take.mode == .enforce && !take.carriesOver)
        let window = try Self.take("LIMIT 4 PER 1d ALGO FIXED-WINDOW OFFSET -5h")
        #expect(
            window.limit
                == (try Limit(.fixedWindow, units: 4, period: 86_400_000_000_000, offset: -18_000_000_000_000)))
        #expect(window.demand == .one && window.token == nil)
    }

    @Test func everyCalendarOptionIsParsed() throws {
        let month = try Self.take("zone -0530 LIMIT 4 start 31 PER MONTH ALGO Calendar COST 2")
        let zone = try ZoneRegistry.shared.intern(try ZoneName("-05:30"))
        #expect(month.limit == (try Limit(units: 4, per: CalendarPeriod(.month, start: 31)!, zone: zone)))
        #expect(month.demand.units == 2)
        let day = try Self.take("LIMIT 4 PER day ALGO calendar")
        #expect(day.limit == (try Limit(units: 4, per: CalendarPeriod(.day)!, zone: .utc)))
    }

    private static let withPolicy =
        "ERR POLICY cannot be combined with LIMIT, PER, BURST, ALGO, OFFSET, ZONE or START"

    @Test func aPolicyIsLookedUp() throws {
        let take = try Self.take("POLICY seven COST 2")
        #expect(take.limit.algorithm == .slidingLog && take.limit.units == 7)
        #expect(take.mode == .shadow && take.carriesOver)
        #expect(take.demand.units == 2)
    }

    @Test(arguments: [
        ("COST 1", "ERR a limit is missing: LIMIT with PER, or POLICY"),
        ("LIMIT 1", "ERR PER is missing"),
        ("PER 1", "ERR LIMIT is missing"),
        ("LIMIT 1 PER", "ERR PER needs a value"),
        ("LIMIT 1 PER 1 LIMIT 1", "ERR LIMIT is given twice"),
        ("LIMIT 1 PER 1 ATMOST ATMOST", "ERR ATMOST is given twice"),
        ("LIMIT x PER 1", "ERR LIMIT is not an integer or out of range"),
        ("LIMIT 9223372036854775808 PER 1", "ERR LIMIT is not an integer or out of range"),
        ("LIMIT -1 PER 1", "ERR LIMIT must not be negative"),
        ("LIMIT 1 PER 0", "ERR PER must be above zero"),
        ("LIMIT 1 PER -1", "ERR PER must not be negative"),
        ("LIMIT 1 PER 106752d", "ERR PER is out of range"),
        ("LIMIT 1 PER 1 BURST -1", "ERR BURST must not be negative"),
        ("LIMIT 1 PER 1 BURST x", "ERR BURST is not an integer or out of range"),
        ("LIMIT 1 PER 1 BURST 0", noBurst),
        ("LIMIT 1 PER 1 BURST 0 ALGO token-bucket", noBurst),
        ("LIMIT 1 PER 1 BURST 0 ALGO fixed-window", "ERR BURST has no meaning with ALGO fixed-window"),
        ("LIMIT 1 PER 1 ALGO fixed-window OFFSET 2H", period("OFFSET", "2H")),
        ("LIMIT 0 PER 1 BURST 1", "ERR LIMIT must be above zero if BURST is"),
        ("LIMIT 1 PER 1d BURST 9223372036854775807", "ERR BURST is out of range"),
        ("LIMIT 1 PER 1 BURST 1 ALGO fixed-window", "ERR BURST has no meaning with ALGO fixed-window"),
        ("LIMIT 1 PER 1 OFFSET 1h", "ERR OFFSET has no meaning with ALGO gcra"),
        ("LIMIT 1 PER 1 ALGO fixed-window OFFSET 25h", "ERR OFFSET must be at most a day either way"),
        ("LIMIT 9000000000 PER 1 ALGO sliding-window", "ERR LIMIT must be at most 4294967295 with this ALGO"),
        ("LIMIT 2000000000 PER 1s", "ERR LIMIT is more than one per nanosecond of PER"),
        ("LIMIT 1 PER 1 COST -1", "ERR COST must not be negative"),
        ("LIMIT 1 PER 1 COST 1.5", "ERR COST is not an integer or out of range"),
        (
            "LIMIT 1 PER 1 ALGO leaky",
            "ERR ALGO must be one of gcra, token-bucket, fixed-window, sliding-window, sliding-log, calendar"
        ),
        ("LIMIT 1 PER 1 MODE off", "ERR syntax error near 'MODE'"),
        ("LIMIT 1 PER 1 AND", "ERR syntax error near 'AND'"),
        ("LIMIT 1 PER 1 FOO", "ERR syntax error near 'FOO'"),
        ("1 PER 1", "ERR syntax error near '1'"),
        ("POLICY nosuch", "ERR POLICY: there is no policy 'nosuch'"),
        ("POLICY", "ERR POLICY needs a value"),
        ("POLICY seven PER 1", withPolicy), ("POLICY seven ZONE UTC", withPolicy), ("POLICY seven START 1", withPolicy),
        ("LIMIT 1 PER 1d ALGO calendar", "ERR PER must be day, week, month or year with ALGO calendar"),
        (
            "LIMIT 1 PER day",
            "ERR PER must be a duration with ALGO gcra, such as 1d; calendar units need ALGO calendar"
        ),
        ("LIMIT 1 PER days ALGO calendar", period("PER", "days")),
        ("LIMIT 1 PER 1 ZONE UTC", "ERR ZONE has no meaning with ALGO gcra"),
        ("LIMIT 1 PER 1 START 1 ALGO fixed-window", "ERR START has no meaning with ALGO fixed-window"),
        ("LIMIT 1 PER day BURST 1 ALGO calendar", "ERR BURST has no meaning with ALGO calendar"),
        ("LIMIT 1 PER day OFFSET 1h ALGO calendar", "ERR OFFSET has no meaning with ALGO calendar"),
        ("LIMIT 1 PER day START 24 ALGO calendar", "ERR START must be 0 to 23 with PER day"),
        ("LIMIT 1 PER week ALGO calendar START 0", "ERR START must be 1 to 7 with PER week"),
        ("START 32 LIMIT 1 PER month ALGO calendar", "ERR START must be 1 to 31 with PER month"),
        ("LIMIT 1 PER year ALGO calendar START -1", "ERR START must be 1 to 12 with PER year"),
        ("LIMIT 1 PER year ALGO calendar START x", "ERR START is not an integer or out of range"),
        ("LIMIT -1 PER year ALGO calendar", "ERR LIMIT must not be negative"),
        ("LIMIT 1 PER day ALGO calendar ZONE", "ERR ZONE needs a value"),
        ("LIMIT 1 PER day ALGO calendar ZONE Mars/Olympus", "ERR ZONE: this server has no time zone 'Mars/Olympus'"),
        (
            "LIMIT 1 PER day ALGO calendar ZONE ../etc/passwd",
            "ERR ZONE: time zone '../etc/passwd' contains '.', which no name of a zone does"
        ),
        ("LIMIT 1 PER day ALGO calendar ZONE UTC ZONE UTC", "ERR ZONE is given twice"),
        ("LIMIT 1 PER 1 ID \(String(repeating: "x", count: 257))", "ERR ID must have 1 to 256 bytes"),
    ])
    func errorsNameTheArgument(line: String, text: String) {
        #expect(Self.problem(line) == text)
    }

    private static let noBurst =
        "ERR BURST must be 1 or more: 1 lets units pass one at a time, as max_burst 0 of CL.THROTTLE does; use LIMIT "
        + "0 to let nothing pass"

    private static func period(_ word: String, _ value: String) -> String {
        "ERR \(word) must be a whole number of seconds, or one with the unit ms, s, m, h or d in lower case, not "
            + "'\(value)'"
    }

    /// A block (LIMIT 0) has no burst; an explicit BURST 0 is also accepted.
    @Test func aBlockMayHaveNoBurst() throws {
        #expect(try Self.take("LIMIT 0 PER 1 BURST 0").limit.capacity == 0)
    }

    @Test(arguments: [
        ("RL.TAKE LIMIT 5 PER 1m", 2, LimitWords.take, "near '5': the key seems to be missing before LIMIT"),
        ("RL.TAKE POLICY free COST 2", 2, .take, "near 'free': the key seems to be missing before POLICY"),
        ("RL.TAKE limit LIMIT 5 PER 1m x", 2, .take, "near 'x'"),
        ("RL.TAKE k 5 PER 1m", 2, .take, "near '5'"),
        ("RL.REFUND LIMIT 5 PER 1m", 2, .refund, "near '5': the key seems to be missing before LIMIT"),
        (
            "RL.CHECK acme login COST 2", 4, .check,
            "near '2': one of tenant, client and action seems to be missing before COST"
        ),
        ("policy LIMIT 5 PER 1m", 2, .policy, "near '5': the policy's name seems to be missing before LIMIT"),
        (
            "RL.POLICY SET MODE off", 3, .policyChange,
            "near 'off': the policy's name seems to be missing before MODE"
        ),
    ])
    func errorsNameTheMissingArgument(line: String, start: Int, accepted: LimitWords, text: String) {
        #expect(throws: ArgumentProblem("ERR syntax error " + text)) {
            _ = try LimitArguments(Self.list(line), from: start, accepting: accepted)
        }
    }

    @Test func theLongestTokenIsAccepted() {
        #expect(Self.problem("LIMIT 1 PER 1 ID \(String(repeating: "x", count: 256))") == nil)
    }

    @Test func quotedInputIsTruncatedAndPrintable() {
        #expect(Self.problem("LIMIT 1 PER 1 \u{7}\(String(repeating: "x", count: 500))")!.utf8.count < 100)
    }

    @Test func subjectsAndNames() throws {
        let subject = try PolicyArguments.subject(Self.list("* c *"), at: 0)
        #expect(subject == RuleSubject(tenant: nil, client: [0x63], action: nil))
        let long = String(repeating: "n", count: 513)
        #expect(throws: ArgumentProblem("ERR client must have 1 to 512 bytes")) {
            try PolicyArguments.subject(Self.list("* \(long) *"), at: 0)
        }
        #expect(throws: ArgumentProblem("ERR POLICY must have 1 to 512 bytes")) {
            try PolicyArguments.rule(Self.list("* * * POLICY \(long)"), subjectAt: 0)
        }
    }
}
