// Several threads on one engine: exactly as many calls admitted as the formula allows, and no intermediate state
// visible where several stripes are held. Also run under ThreadSanitizer.

import Glibc
import LimiterEngine
import Synchronization
import TestSupport
import Testing

/// Runs `body` on this many threads at once and waits for all of them.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    final class Start {
        let number: Int
        let body: @Sendable (Int) -> Void
        init(_ number: Int, _ body: @escaping @Sendable (Int) -> Void) {
            self.number = number
            self.body = body
        }
    }
    let threads = (0..<count).map { number in
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(number, body))
        let result = pthread_create(
            &thread, nil,
            { argument in
                let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
                start.body(start.number)
                return nil
            }, start.toOpaque())
        precondition(result == 0)
        return thread
    }
    for thread in threads { pthread_join(thread, nil) }
}

@Suite struct ConcurrencyTests {
    private let now = EngineTime.seconds(1)

    @Test(arguments: [1, 16]) func exactlyTheLimitIsAdmitted(batch: Int) {
        let engine = Engine(shards: 4)
        let keys = ["a", "b", "c"].map { Array($0.utf8) }
        let counts = Counts()
        onThreads(4) { _ in
            let session = KeyspaceSession(engine: engine)
            for round in 0..<(2_000 / batch) {
                let names = (0..<batch).map { keys[(round + $0) % 3] }
                let decisions = session.throttle(batch: names, thousandOnce.limitCall, now: .seconds(1))
                for (position, decision) in decisions.enumerated() where decision.outcome == .allowed {
                    counts.add((round + position) % 3)
                }
            }
        }
        // 8,000 calls to three keys of a thousand units each: all units are granted, and not one more.
        #expect(counts.values == [1_000, 1_000, 1_000])
        #expect(engine.violatedInvariants() == [])
    }

    private final class Counts: Sendable {
        private let first = Atomic(0)
        private let second = Atomic(0)
        private let third = Atomic(0)

        func add(_ key: Int) {
            switch key {
            case 0: first.add(1, ordering: .relaxed)
            case 1: second.add(1, ordering: .relaxed)
            default: third.add(1, ordering: .relaxed)
            }
        }

        var values: [Int] {
            [first.load(ordering: .relaxed), second.load(ordering: .relaxed), third.load(ordering: .relaxed)]
        }
    }

    @Test func heldStripesHideIntermediateStates() {
        let engine = Engine(shards: 64)
        let differences = Atomic<Int>(0)
        onThreads(4) { number in
            let session = KeyspaceSession(engine: engine)
            var stripes = session.stripes()
            for key in ["left", "right"] { key.bytes { session.insertStripe(of: $0, into: &stripes) } }
            for _ in 0..<300 {
                session.holding(stripes) {
                    let quantity: Int64 = number < 2 ? 1 : 0
                    let left = session.throttle("left", thousandOnce.taking(quantity), now: .seconds(1))
                    let right = session.throttle("right", thousandOnce.taking(quantity), now: .seconds(1))
                    if left != right { differences.add(1, ordering: .relaxed) }
                }
            }
        }
        #expect(differences.load(ordering: .relaxed) == 0)
    }

    @Test func everythingAtOnce() {
        let engine = Engine(shards: 8)
        engine.setJournaling(true)
        let stop = Atomic<Bool>(false)
        onThreads(5) { number in
            let session = KeyspaceSession(engine: engine)
            switch number {
            case 0:
                var sweeper = Sweeper(engine: engine)
                while !stop.load(ordering: .relaxed) { _ = sweeper.step(buckets: 64, now: .seconds(1)) }
            case 1:
                for shard in stride(from: 0, to: 20_000, by: 1) where !stop.load(ordering: .relaxed) {
                    engine.collectChanges(shard: shard % engine.shardCount) { _ in }
                }
            case 2:
                for _ in 0..<20 {
                    _ = session.count()
                    var cursor: UInt64 = 0
                    repeat {
                        cursor = session.scan(cursor: cursor, effort: 50, now: .seconds(1)) { _, _ in }
                    } while cursor != 0
                    _ = session.statistics()
                }
            default:
                for round in 0..<3_000 {
                    let name = "k\(round % 1_500):\(round % 7 == 0 ? number : 0)"
                    session.throttle(name, thousandOnce, now: .seconds(1))
                    if round % 3 == 0 { session.remove(name, now: .seconds(1)) }
                }
                if number == 4 { stop.store(true, ordering: .relaxed) }
            }
        }
        engine.setJournaling(false)
        #expect(engine.violatedInvariants() == [])
    }
}
