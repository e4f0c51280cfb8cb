// Watched keys: what invalidates a watch, and the cost of many watches.

import Testing

@testable import LimiterEngine

@Suite struct WatchTests {
    private let session = KeyspaceSession(engine: Engine(shards: 1))
    private let now = EngineTime.seconds(1)

    private func isTouched(_ key: String = "k", by action: () -> Void) -> Bool {
        session.removeAll()
        session.throttle("k", Call(maxBurst: 1, count: 1, period: 10), now: now)
        let token = WatchToken()
        session.watch(key, token: token, now: now)
        action()
        session.unwatch(key, token: token)
        return token.isTouched
    }

    @Test func operationsThatTouchAWatch() {
        let call = Call(maxBurst: 1, count: 1, period: 10)
        #expect(isTouched { session.throttle("k", call, now: now) })
        #expect(isTouched { session.remove("k", now: now) })
        #expect(isTouched { session.removeAll() })
        #expect(isTouched { session.setDeadline("k", to: .seconds(5), now: now) })
        #expect(isTouched { _ = session.exists("k", now: .seconds(100)) })
        #expect(isTouched("absent") { session.throttle("absent", call, now: now) })
    }

    @Test func operationsThatDoNotTouchAWatch() {
        let call = Call(maxBurst: 1, count: 1, period: 10)
        #expect(!isTouched { session.throttle("k", call.taking(2), now: now) })
        #expect(!isTouched { session.throttle("k", call.taking(0), now: now) })
        #expect(!isTouched { session.throttle("other", call, now: now) })
        #expect(!isTouched { _ = session.exists("k", now: now) })
        #expect(!isTouched("absent") { session.removeAll() })
    }

    @Test func endingOneWatchKeepsTheOthers() {
        let token = WatchToken()
        session.watch("a", token: token, now: now)
        session.watch("b", token: token, now: now)
        session.unwatch("a", token: token)
        session.throttle("a", thousandOnce, now: now)
        #expect(!token.isTouched)
        session.throttle("b", thousandOnce, now: now)
        #expect(token.isTouched)
        session.unwatch("b", token: token)
        #expect(session.engine.violatedInvariants() == [])
    }

    /// A key that is not watched is not compared with watched keys, and ending a watch visits only its own key.
    @Test func theCostOfAWatchIsIndependentOfTheirNumber() {
        let count = 10_000
        let token = WatchToken()
        let keys = (0..<count).map { "watched:\($0)" }
        for key in keys { session.watch(key, token: token, now: now) }
        #expect(comparisons == 0)
        for number in 0..<count { session.throttle("other:\(number)", thousandOnce, now: now) }
        #expect(!token.isTouched)
        #expect(comparisons == 0)
        for key in keys { session.unwatch(key, token: token) }
        #expect(comparisons == count)
        #expect(session.engine.shard(0).pointee.watchCount == 0)
        #expect(session.engine.violatedInvariants() == [])
    }

    /// Clients that watch the same key leave without visiting each other, and a change notifies each of them once.
    @Test func manyWatchersOfOneKey() {
        let tokens = (0..<5_000).map { _ in WatchToken() }
        for token in tokens { session.watch("k", token: token, now: now) }
        let before = comparisons
        for token in tokens.prefix(2_500) { session.unwatch("k", token: token) }
        #expect(comparisons - before == 2_500)
        session.throttle("k", thousandOnce, now: now)
        #expect(tokens.prefix(2_500).allSatisfy { !$0.isTouched })
        #expect(tokens.dropFirst(2_500).allSatisfy { $0.isTouched })
        // All have been notified: no watch is left to visit.
        #expect(session.engine.shard(0).pointee.watchCount == 0)
        for token in tokens { session.unwatch("k", token: token) }
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func keysWithTheSameHashAreWatchedSeparately() {
        var table = WatchTable()
        let tokens = (0..<3).map { _ in WatchToken() }
        let keys: [[UInt8]] = [[1], [2], []]
        for (key, token) in zip(keys, tokens) {
            key.withUnsafeBytes { table.add(7, KeyName($0), token: token) }
        }
        #expect(table.count == 3)
        keys[1].withUnsafeBytes { table.touch(7, KeyName($0)) }
        #expect(tokens.map(\.isTouched) == [false, true, false])
        keys[0].withUnsafeBytes { table.remove(7, KeyName($0), token: tokens[0]) }
        keys[0].withUnsafeBytes { table.touch(7, KeyName($0)) }
        keys[2].withUnsafeBytes { table.touch(7, KeyName($0)) }
        #expect(tokens.map(\.isTouched) == [false, true, true])
        #expect(table.count == 0)
    }

    private var comparisons: Int { session.engine.shard(0).pointee.watches.comparisons }
}
