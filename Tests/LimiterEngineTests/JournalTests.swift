// What a consumer of the journal receives: absolute states, one per key, removals first.

import LimiterEngine
import TestSupport
import Testing

@Suite struct JournalTests {
    private enum Change: Equatable {
        case removed(String)
        case state(String, KeyState)
    }

    private let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
    private let now = EngineTime.seconds(1)

    private func collect(_ engine: Engine) -> [Change] {
        var changes: [Change] = []
        for shard in 0..<engine.shardCount {
            engine.collectChanges(shard: shard) { change in
                switch change {
                case .removed(let key): changes.append(.removed(String(decoding: key.bytes, as: UTF8.self)))
                case .state(let key, let state):
                    changes.append(.state(String(decoding: key.bytes, as: UTF8.self), KeyState(state)))
                }
            }
        }
        return changes
    }

    @Test func aKeyChangedOftenIsOneRecord() throws {
        session.engine.setJournaling(true)
        for _ in 0..<1_000 { session.throttle("hot", thousandOnce, now: now) }
        session.throttle("hot", thousandOnce, now: now)
        session.throttle("hot", thousandOnce.taking(0), now: now)
        let state = try #require(session.state(of: "hot", now: now))
        #expect(collect(session.engine) == [.state("hot", state)])
        #expect(collect(session.engine) == [])
        #expect(session.throttle("hot", thousandOnce, now: now).outcome == .denied)
        #expect(collect(session.engine) == [])
    }

    @Test func aRemovalComesBeforeTheNewState() throws {
        session.engine.setJournaling(true)
        session.throttle("a", thousandOnce, now: now)
        session.throttle("b", thousandOnce, now: now)
        session.remove("a", now: now)
        session.throttle("a", thousandOnce, now: now)
        session.remove("b", now: now)
        let state = try #require(session.state(of: "a", now: now))
        let changes = collect(session.engine)
        #expect(changes.count == 3)
        #expect(Set(["a", "b"]) == Set(changes.prefix(2).map { if case .removed(let key) = $0 { key } else { "" } }))
        #expect(changes.last == .state("a", state))
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func expiryIsNotJournaled() {
        session.engine.setJournaling(true)
        session.throttle("gone", Call(maxBurst: 0, count: 1, period: 1), now: now)
        _ = collect(session.engine)
        #expect(!session.exists("gone", now: .seconds(5)))
        #expect(collect(session.engine) == [])
    }

    @Test func withoutJournalingNothingIsKept() {
        session.throttle("a", thousandOnce, now: now)
        session.remove("a", now: now)
        #expect(collect(session.engine) == [])
        session.engine.setJournaling(true)
        session.throttle("b", thousandOnce, now: now)
        session.engine.setJournaling(false)
        #expect(collect(session.engine) == [])
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func replayIsIdempotent() {
        var random = SeededGenerator(for: "replay")
        let source = KeyspaceSession(engine: Engine(shards: 8))
        source.engine.setJournaling(true)
        let copy = KeyspaceSession(engine: Engine(shards: 2))
        var clock = now
        for _ in 0..<200 {
            for _ in 0..<20 {
                let key = "k\(random.below(50))"
                switch random.below(6) {
                case 0: source.remove(key, now: clock)
                case 1:
                    let deadline = EngineTime(nanoseconds: clock.nanoseconds + Int64(random.below(5_000_000_000)) + 1)
                    source.setDeadline(key, to: deadline, now: clock)
                case 2: source.removeDeadline(key, now: clock)
                default:
                    source.throttle(key, Call(maxBurst: 3, count: 1, period: Int64(random.below(9) + 1)), now: clock)
                }
            }
            let changes = collect(source.engine)
            for _ in 0..<(random.below(2) + 1) {
                for change in changes {
                    switch change {
                    case .removed(let key): copy.remove(key, now: clock)
                    case .state(let key, let state): copy.apply(state, to: key, now: clock)
                    }
                }
            }
            #expect(source.allKeys(now: clock) == copy.allKeys(now: clock))
            for key in source.allKeys(now: clock) {
                #expect(source.state(of: key, now: clock) == copy.state(of: key, now: clock))
            }
            clock = EngineTime(nanoseconds: clock.nanoseconds + Int64(random.below(700_000_000)))
        }
        #expect(source.engine.violatedInvariants() == [])
        #expect(copy.engine.violatedInvariants() == [])
    }
}
