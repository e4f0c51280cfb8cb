// Idempotency tokens: a retry gets the first answer, nothing is counted twice, and no key name reaches a token.

import LimiterEngine
import TestSupport
import Testing

@Suite struct TokenTests {
    private let session = KeyspaceSession(engine: Engine(shards: 4, seed: HashSeed(1, 2, 3)))
    private let window: Int64 = 60_000_000_000
    private let now: Int64 = 1_700_000_000_000_000_000

    private func take(
        _ key: String, _ token: String?, _ units: Int64 = 1, at now: Int64, on session: KeyspaceSession? = nil,
        _ operation: LimitCall.Operation = .take
    ) throws -> LimitDecision {
        let limit = try Limit(.fixedWindow, units: 10, period: 86_400_000_000_000)
        var take = LimitCall(limit, try Demand(units))
        take.operation = operation
        let bytes = Array((token ?? "").utf8)
        return bytes.withUnsafeBytes {
            if token != nil { take.token = $0 }
            (session ?? self.session).decide(key, &take, now: EngineTime(nanoseconds: now))
            take.token = nil
            return take.decision
        }
    }

    private func derived(_ key: String, _ token: String) -> [UInt8] {
        withUnsafeBytes(of: UInt32(key.utf8.count).littleEndian) { Array($0) } + Array(key.utf8) + Array(token.utf8)
    }

    @Test func aRetryGetsTheFirstAnswer() throws {
        let first = try take("k", "t", 3, at: now)
        #expect(first.granted == 3 && first.remaining == 7 && !first.isRepeated)
        _ = try take("k", nil, 2, at: now + 1)
        var again = try take("k", "t", 3, at: now + 2)
        #expect(again.isRepeated)
        again.isRepeated = false
        #expect(again == first)
        #expect(try take("k", nil, 0, at: now + 3).remaining == 5)
        // A token belongs to one key.
        #expect(try take("other", "t", 3, at: now + 4).remaining == 7)
        #expect(try take("k", "u", 1, at: now + 4).remaining == 4)
        #expect(session.statistics().tokens == 3 && session.statistics().repeated == 1)
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func aPeekReportsWhatTheTokenWouldGet() throws {
        _ = try take("k", "t", 3, at: now)
        _ = try take("k", nil, 2, at: now + 1)
        _ = try take("k", "denied", 6, at: now + 1)
        let peeked = try take("k", "t", 8, at: now + 2, .peek)
        #expect(peeked.outcome == .allowed && peeked.granted == 3, "the answer of the first call")
        #expect(peeked.remaining == 5, "the current value")
        #expect(try take("k", "denied", 1, at: now + 2, .peek).outcome == .denied)
        // A token that was never used has no answer, and a peek creates none.
        #expect(try take("k", "new", 6, at: now + 2, .peek).outcome == .denied)
        #expect(try take("k", "new", 5, at: now + 2).outcome == .allowed)
        #expect(session.statistics().tokens == 3 && session.statistics().repeated == 0)
        #expect(try take("k", "t", 1, at: now + window, .peek).outcome == .denied, "its window is over")
    }

    @Test func theWindowEndsToTheNanosecond() throws {
        _ = try take("k", "t", at: now)
        #expect(try take("k", "t", at: now + window - 1).isRepeated)
        let late = try take("k", "t", at: now + window)
        #expect(!late.isRepeated && late.remaining == 8)
    }

    @Test func aDenialIsAnAnswer() throws {
        let first = try take("k", "t", 11, at: now)
        #expect(first.outcome == .denied && first.retryAfter == -1)
        let again = try take("k", "t", 1, at: now + 5)
        #expect(again.outcome == .denied && again.isRepeated && again.retryAfter == -1)
        #expect(!session.exists("k", now: EngineTime(nanoseconds: now)))
    }

    @Test func noNameReachesAToken() throws {
        let time = EngineTime(nanoseconds: now)
        _ = try take("k", "t", at: now)
        let bytes = derived("k", "t")
        #expect(!bytes.withUnsafeBytes { session.exists($0, now: time) })
        #expect(!bytes.withUnsafeBytes { session.remove($0, now: time) })
        #expect(session.count() == 1 && session.allKeys(now: time) == ["k"])
        var scanned: [String] = []
        #expect(
            session.scan(cursor: 0, effort: 100, now: time) { key, _ in
                scanned.append(String(decoding: key, as: UTF8.self))
            } == 0)
        #expect(scanned == ["k"])
        for random in 0..<100 as Range<UInt64> {
            let name = session.randomKey(random: { random }, now: time) { String(decoding: $0, as: UTF8.self) }
            #expect(name == "k")
        }
        // A client key with the same bytes is a different key, watched separately.
        let watch = WatchToken()
        session.watch(bytes, token: watch, now: time)
        #expect(session.throttle(bytes, thousandOnce.limitCall, now: time).remaining == 999)
        #expect(watch.isTouched)
        session.unwatch(bytes, token: watch)
        let other = WatchToken()
        let absent = derived("k", "new")
        session.watch(absent, token: other, now: time)
        _ = try take("k", "new", at: now)
        #expect(!other.isTouched)
        session.unwatch(absent, token: other)
        #expect(try take("k", "t", at: now).isRepeated)
        #expect(session.throttle(bytes, thousandOnce.limitCall, now: time).remaining == 998)
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func tokensAreBounded() throws {
        session.engine.setTokenLimit(2)
        _ = try take("a", "1", at: now)
        _ = try take("a", "2", at: now)
        #expect(try take("a", "3", at: now).outcome == .tooManyTokens)
        #expect(try take("a", "1", at: now).isRepeated)
        // A peek reports what a take would get.
        #expect(try take("a", "3", at: now, .peek).outcome == .tooManyTokens)
        #expect(try take("a", "1", at: now, .peek).isRepeated)
        #expect(try take("a", nil, 0, at: now).remaining == 8)
        #expect(session.statistics().tokensRefused == 1)
        var sweeper = Sweeper(engine: session.engine)
        _ = sweeper.step(buckets: 1000, now: EngineTime(nanoseconds: now + window))
        #expect(session.statistics().tokens == 0)
        #expect(try take("a", "3", at: now + window).outcome == .allowed)
        session.removeAll()
        #expect(session.statistics().tokens == 0)
        #expect(try take("a", "4", at: now).outcome == .allowed)
        let long = String(repeating: "x", count: LimitCall.tokenLengthMax)
        #expect(try take("a", long, at: now).outcome == .allowed)
        #expect(try take("a", long + "x", at: now).outcome == .outOfRange)
    }

    @Test func withoutMemoryForTheAnswerNothingIsTaken() throws {
        _ = try take("known", nil, at: now)
        session.engine.setMemoryLimit(1, policy: .refuse)
        #expect(try take("new", "t", at: now).outcome == .outOfMemory)
        #expect(try take("known", "t", at: now).outcome == .outOfMemory)
        #expect(try take("known", nil, 0, at: now).remaining == 9)
        #expect(session.count() == 1 && session.statistics().tokens == 0)
        session.engine.setMemoryLimit(1, policy: .evictSoonest)
        #expect(try take("known", "t", at: now).outcome == .allowed)
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func anAnswerIsJournaledAfterItsUnitsAndSurvivesARestart() throws {
        session.engine.setJournaling(true)
        let first = try take("k", "t", 4, at: now)
        var log: [Journaled] = []
        for shard in 0..<4 { session.engine.collectChanges(shard: shard) { log.append(Journaled($0)) } }
        #expect(log.map(\.kind) == [.fixedWindow, .token], "the answer follows the units it took")
        let copy = KeyspaceSession(engine: Engine(shards: 16))
        Journaled.restore(log, into: copy.engine, horizon: now)
        var again = try take("k", "t", 4, at: now + 7, on: copy)
        #expect(again.isRepeated)
        again.isRepeated = false
        #expect(again == first)
        #expect(try take("k", nil, 0, at: now + 8, on: copy).remaining == 6)
        #expect(copy.engine.violatedInvariants() == [])
    }

    @Test func anEvictedAnswerLeavesNoTombstone() throws {
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
        session.engine.setJournaling(true)
        _ = try take("k", "t", at: now, on: session)
        session.engine.setMemoryLimit(1, policy: .evictSoonest)
        // The answer expires first, so it is evicted first.
        session.throttle("x", thousandOnce, now: EngineTime(nanoseconds: now))
        #expect(session.statistics().tokens == 0 && session.statistics().evicted >= 1)
        var log: [Journaled] = []
        session.engine.collectChanges(shard: 0) { log.append(Journaled($0)) }
        let keys = Set(log.map(\.key))
        #expect(
            keys.isSubset(of: [Array("k".utf8), Array("x".utf8)]), "a key of the same bytes would take it as its own")
        #expect(session.engine.violatedInvariants() == [])
    }
}

/// A change in the journal as bytes, in its file format.
struct Journaled: Equatable {
    var key: [UInt8]
    var isNumbered = false
    /// Nil for a removal.
    var kind: StateKind?
    var value: [UInt8] = []
    var deadline: Int64?

    init(_ change: JournalChange) {
        switch change {
        case .removed(let key): self.init(removed: key)
        case .state(let key, let state): self.init(key: key, state)
        }
    }

    private init(removed key: KeyName) {
        self.key = Array(key.bytes)
        isNumbered = key.isNumbered
    }

    init(key: KeyName, _ state: StateView) {
        self.key = Array(key.bytes)
        isNumbered = key.isNumbered
        kind = state.kind
        value = Array(state.value)
        deadline = state.deadline
    }

    static func restore(_ changes: [Journaled], into engine: Engine, horizon: Int64) {
        let restorer = Restorer(engine: engine, horizon: EngineTime(nanoseconds: horizon))
        for change in changes {
            change.key.withUnsafeBytes { key in
                change.value.withUnsafeBytes { value in
                    let key = KeyName(key, isNumbered: change.isNumbered)
                    guard let kind = change.kind else { return restorer.remove(key) }
                    let state = StateView(kind: kind, value: value, deadline: change.deadline)
                    #expect(state.isValid(for: key))
                    restorer.put(state, key)
                }
                restorer.flush()
            }
        }
    }

    /// Everything an engine holds, including hidden keys, in byte order.
    static func all(_ session: KeyspaceSession, now: EngineTime) -> [Journaled] {
        var found: [Journaled] = []
        var cursor: UInt64 = 0
        repeat {
            cursor = session.scanStates(cursor: cursor, effort: 1000, now: now) { found.append(Journaled(key: $0, $1)) }
        } while cursor != 0
        return found.sorted { $0.key != $1.key ? $0.key.lexicographicallyPrecedes($1.key) : $0.kind != .token }
    }
}
