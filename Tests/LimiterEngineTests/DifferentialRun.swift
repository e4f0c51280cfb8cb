// A random run of the engine against the exact model. Stops at the first difference and reports it.

import LimiterEngine
import TestSupport
import Testing

struct DifferentialRun {
    private let engine: Engine
    private let session: KeyspaceSession
    private var sweeper: Sweeper
    private var model = ExactModel()
    private var random: SeededGenerator
    private let keys: [String]
    private var now: Int64 = 0
    private var isMemoryLimited = false
    private var outcomes: [LimitDecision.Outcome: Int] = [:]
    private var outcomesOfLimits: [LimitDecision.Outcome: Int] = [:]
    private(set) var hasFailed = false
    private(set) var evicted: UInt64 = 0
    var refused: Int { outcomes[.outOfMemory] ?? 0 }

    init(name: String, shards: Int, keys: Int) {
        random = SeededGenerator(for: name)
        engine = Engine(shards: shards, seed: HashSeed(random.next(), random.next(), random.next()))
        session = KeyspaceSession(engine: engine)
        sweeper = Sweeper(engine: engine)
        var random = random
        // Mostly lengths 0 … 40, so that many keys share a size class, and some long enough to be allocated by
        // malloc.
        self.keys = (0..<keys).map { number in
            number == 0
                ? "" : "\(number)" + String(repeating: "k", count: random.below(random.below(8) == 0 ? 400 : 40))
        }
        startEpoch()
    }

    mutating func limitMemory(keys: Int, policy: EvictionPolicy) {
        isMemoryLimited = true
        engine.setMemoryLimit(session.statistics().memory + keys * 60, policy: policy)
    }

    // MARK: Time

    /// Time never goes back, so a new epoch starts once the end is reached.
    private mutating func startEpoch() {
        let starts: [Int64] = [0, 1, 1_700_000_000_000_000_000, Int64.max / 2, Int64.max - 20_000_000_000]
        startEpoch(at: starts[random.below(starts.count)])
    }

    private mutating func startEpoch(at instant: Int64) {
        session.removeAll()
        model.removeAll()
        now = instant
    }

    private mutating func passTime() {
        let jump: Int64
        switch random.below(10) {
        case 0...3: jump = 0
        case 4: jump = 1
        case 5: jump = Int64(random.below(1_000_000))
        case 6...7: jump = Int64(random.below(3_000_000_000))
        case 8:
            // Advances to the end of some key, or a nanosecond to either side: the edge cases.
            let end = model.entries[keys[random.below(keys.count)]]?.end
            jump = end.map { Int64(max(0, min($0 - Exact(now) + Exact(random.below(3) - 1), 1 << 50))) } ?? 0
        default: jump = random.below(40) == 0 ? Int64(truncatingIfNeeded: random.next() >> 8) : 2
        }
        let (later, overflows) = now.addingReportingOverflow(jump)
        if overflows || later == Int64.max || random.below(3000) == 0 { startEpoch() } else { now = later }
    }

    // MARK: Steps

    mutating func step() {
        passTime()
        let key = keys[random.below(keys.count)]
        switch random.below(32) {
        case 0: compare("remove", key, session.remove(key, now: time), model.remove(key, now: Exact(now)))
        case 1...2: setDeadline(key)
        case 3:
            compare(
                "removeDeadline", key, session.removeDeadline(key, now: time),
                model.removeDeadline(key, now: Exact(now)))
        case 4: compare("exists", key, session.exists(key, now: time), model.state(key, now: Exact(now)) != nil)
        case 5: compare("timeToLive", key, session.timeToLive(key, now: time), model.timeToLive(key, now: Exact(now)))
        case 6: compare("state", key, session.state(of: key, now: time), model.state(key, now: Exact(now)))
        case 7: apply(key)
        case 8: _ = sweeper.step(buckets: 16 << random.below(6), now: time)
        case 9 where random.below(100) == 0:
            session.removeAll()
            model.removeAll()
        case 10 where random.below(10) == 0: engine.setJournaling(random.below(3) > 0)
        case 11: engine.collectChanges(shard: random.below(engine.shardCount)) { _ in }
        case 12: batch()
        case 13...18 where !isMemoryLimited: limit(key)
        case 19 where !isMemoryLimited: compare("counter", key, session.raise(key, now: time), raise(key))
        default: throttle(key)
        }
        if isMemoryLimited { followEvictions() }
    }

    private var time: EngineTime { EngineTime(nanoseconds: now) }

    private mutating func throttle(_ key: String) { throttle(key, random.call()) }

    private mutating func throttle(_ key: String, _ call: Call) {
        guard case .success(let limit) = ExactLimit.checked(call) else { return }
        let got = session.throttle(Array(key.utf8), call.limitCall, now: time)
        check(got, key, call, limit)
    }

    /// Several calls in one batch, possibly with a repeated key; sometimes with stripes held.
    private mutating func batch() {
        let call = random.call()
        guard case .success(let limit) = ExactLimit.checked(call) else { return }
        let batch = (0..<1 + random.below(20)).map { _ in keys[random.below(keys.count)] }
        let bytes = batch.map { Array($0.utf8) }
        let got =
            random.below(2) == 0
            ? session.throttle(batch: bytes, call.limitCall, now: time)
            : session.holdingAll { session.throttle(batch: bytes, call.limitCall, now: time) }
        for (key, decision) in zip(batch, got) { check(decision, key, call, limit) }
    }

    private mutating func check(_ got: LimitDecision, _ key: String, _ call: Call, _ limit: ExactLimit) {
        outcomes[got.outcome, default: 0] += 1
        if isMemoryLimited { return checkLimited(got, key, call, limit) }
        compare("throttle \(call)", key, got, model.throttle(key, limit, now: Exact(now)))
    }

    /// With limited memory, the key may have been evicted before this call, or the call refused; each only where
    /// allowed.
    private mutating func checkLimited(
        _ got: LimitDecision, _ key: String, _ call: Call, _ limit: ExactLimit
    ) {
        var kept = model
        let expected = kept.throttle(key, limit, now: Exact(now))
        if got == expected {
            model = kept
        } else if got.outcome == .outOfMemory {
            compare("refused \(call)", key, model.state(key, now: Exact(now)), nil)
        } else {
            model.evict(key)
            compare("throttle \(call) after eviction", key, got, model.throttle(key, limit, now: Exact(now)))
        }
    }

    // MARK: Limits

    /// Each key has one limit per algorithm, so that the model needs no history of changes.
    private func limit(_ algorithm: Limit.Algorithm, of key: String) -> Limit {
        let variety = key.utf8.count
        let period = [1_000_000_000, 3_000_000_000, 700, Int64.max / 2][variety % 4]
        return try! Limit.sample(algorithm, units: [1, 5, 40, 0][variety / 4 % 4], period: period)
    }

    /// A call with a limit, sometimes of another algorithm than the key's, sometimes with a token.
    private mutating func limit(_ key: String) {
        let other = random.pick(Limit.Algorithm.allCases)
        let held = session.state(of: key, now: time)?.kind
        let algorithm = random.below(4) == 0 ? other : Limit.Algorithm.allCases.first { $0.kind == held } ?? other
        var take = LimitCall(limit(algorithm, of: key), random.demand(limit(algorithm, of: key)))
        take.operation = random.pick([.take, .take, .take, .peek, .refund])
        let token = random.below(4) == 0 && take.operation == .take ? "t\(random.below(5))" : nil
        // One in four clients with a token did not receive the answer, and retries.
        for _ in 0..<(token != nil && random.below(4) == 0 ? 2 : 1) { decide(key, take, token: token) }
    }

    private mutating func decide(_ key: String, _ take: LimitCall, token: String? = nil) {
        let got = session.decide(key, take, token: token, now: time)
        outcomesOfLimits[got.outcome, default: 0] += 1
        compare(
            "\(take.operation) \(take.demand) of \(take.limit)", key, got.shape,
            model.decide(key, take, token: token, now: Exact(now)))
    }

    private mutating func raise(_ key: String) -> Int64? {
        model.raiseCounter(key, now: Exact(now))
    }

    private mutating func setDeadline(_ key: String) {
        let deadline = now.addingReportingOverflow(Int64(random.below(8_000_000_000)) - 1_000_000_000)
        guard !deadline.overflow, deadline.partialValue < Int64.max else { return }
        let got = session.setDeadline(key, to: EngineTime(nanoseconds: deadline.partialValue), now: time)
        compare(
            "setDeadline", key, got,
            model.setDeadline(key, to: Exact(deadline.partialValue), now: Exact(now)))
    }

    private mutating func apply(_ key: String) {
        let (deadline, overflows) = now.addingReportingOverflow(Int64(random.below(4_000_000_000)))
        let word = now.addingReportingOverflow(Int64(random.below(4_000_000_000)))
        let state = KeyState(
            kind: random.below(2) == 0 ? .counter : .gcra, word: word.overflow ? 0 : word.partialValue,
            deadline: random.below(2) == 0 || overflows || deadline == Int64.max ? nil : deadline)
        if session.apply(state, to: key, now: time) {
            model.apply(state, to: key)
        } else {
            compare("refused apply", key, model.state(key, now: Exact(now)), nil)
        }
    }

    // MARK: Comparison

    private mutating func compare<Value: Equatable>(_ what: String, _ key: String, _ got: Value, _ wanted: Value) {
        guard got != wanted, !hasFailed else { return }
        hasFailed = true
        Issue.record("\(what) of '\(key.prefix(12))' at \(now): \(got), not \(wanted)")
    }

    /// Removes evicted keys from the model, and checks that the engine counted the evictions.
    private mutating func followEvictions() {
        model.forgetAllEnded(now: Exact(now))
        let held = session.allKeys(now: time)
        let missing = model.entries.keys.filter { !held.contains($0) }
        for key in missing { model.evict(key) }
        let counted = session.statistics().evicted
        // A call may have re-created an evicted key, so fewer keys may be missing than were evicted, but never more.
        if UInt64(missing.count) > counted - evicted { compare("evictions", "", missing.count, Int(counted - evicted)) }
        evicted = counted
    }

    /// Checks the engine's own invariants, and the state of every key.
    mutating func checkEverything() {
        let violations = engine.violatedInvariants()
        compare("invariants", "", violations, [])
        model.forgetAllEnded(now: Exact(now))
        compare("keys", "", session.allKeys(now: time), Set(model.entries.keys))
        let held = session.statistics().tokens
        if held < model.tokens.count { compare("tokens", "", held, model.tokens.count) }
        for (key, entry) in model.entries { compare("state", key, session.state(of: key, now: time), entry.state) }
    }

    // MARK: Required coverage

    /// Creates new state for every key, so that limited memory runs out.
    mutating func overfill() {
        startEpoch(at: 1)
        for key in keys { throttle(key, thousandOnce) }
        followEvictions()
    }

    /// Produces every outcome of both kinds of calls, a key that expires, and repeated answers, since random choice
    /// may miss one.
    mutating func meetEveryCase() {
        let (key, counter) = (keys[0], keys[1])
        // For the empty key: one unit per second, burst 1.
        let take = LimitCall(limit(.gcra, of: key), .one)
        let second = Call(maxBurst: 0, count: 1, period: 1)
        startEpoch(at: 1_700_000_000_000_000_000)
        for _ in 0..<2 { throttle(key, second) }
        now += 1_000_000_000
        compare("exists", key, session.exists(key, now: time), model.state(key, now: Exact(now)) != nil)
        for _ in 0..<2 { decide(key, take) }
        for _ in 0..<22 { decide(key, take, token: "again") }
        compare("counter", counter, session.raise(counter, now: time), raise(counter))
        throttle(counter, second)
        decide(counter, LimitCall(limit(.slidingLog, of: counter), .one))
        // Half a second before the end of time.
        startEpoch(at: Int64.max - 500_000_000)
        throttle(key, second)
        decide(key, take)
        startEpoch()
    }

    /// A run that misses the interesting cases proves nothing.
    func expectVariety() {
        for outcome in [LimitDecision.Outcome.allowed, .denied, .wrongKind, .outOfRange] {
            #expect(outcomes[outcome, default: 0] > 0, "no call was \(outcome)")
        }
        for outcome in [LimitDecision.Outcome.allowed, .denied, .wrongKind, .outOfRange] {
            #expect(outcomesOfLimits[outcome, default: 0] > 0, "no limit returned \(outcome)")
        }
        let statistics = session.statistics()
        #expect(statistics.expired > 0 && statistics.repeated > 20)
    }
}
