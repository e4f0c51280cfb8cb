// Copying and moving a key's state, and setting several counters at once: against a dictionary, with the invariants of
// the shards and what a reader of the journal ends up with.

import LimiterEngine
import TestSupport
import Testing

@Suite struct CopyTests {
    private let now = EngineTime.seconds(1_000)

    /// A state as bytes, with its kind and deadline.
    private struct Whole: Equatable {
        var kind: StateKind
        var value: [UInt8]
        var deadline: Int64?

        init(_ view: StateView) { (kind, value, deadline) = (view.kind, Array(view.value), view.deadline) }
    }

    private func state(_ session: KeyspaceSession, _ key: String) -> Whole? {
        key.bytes { session.withState(of: $0, now: now) { Whole($0) } }
    }

    private func create(_ session: KeyspaceSession, _ key: String, kind: Int, units: Int64) throws {
        let day: Int64 = 86_400_000_000_000
        let algorithms: [Limit.Algorithm] = [.gcra, .tokenBucket, .fixedWindow, .slidingWindow, .slidingLog]
        guard kind < algorithms.count else {
            return session.holdingAll { _ = session.apply(KeyState(kind: .counter, word: units), to: key, now: now) }
        }
        var take = LimitCall(try Limit(algorithms[kind], units: 100, period: day), try Demand(units))
        session.decide(key, &take, now: now)
    }

    private func copy(
        _ session: KeyspaceSession, _ from: String, _ to: String, _ replaces: Bool, _ moves: Bool
    ) -> KeyCopy {
        session.holdingAll {
            from.bytes { source in
                to.bytes { session.copy(source, to: $0, replaces: replaces, moves: moves, now: now) }
            }
        }
    }

    @Test(arguments: [1, 8]) func followsADictionary(shards: Int) throws {
        let session = KeyspaceSession(engine: Engine(shards: shards, seed: HashSeed(1, 2, 3)))
        session.engine.setJournaling(true)
        var random = SeededGenerator(for: "copies among \(shards) shards")
        var model: [String: Whole] = [:]
        var read: [String: Whole] = [:]
        for step in 0..<4_000 {
            let (from, to) = ("key-\(random.below(40))", "key-\(random.below(40))")
            let (replaces, moves) = (random.below(2) == 0, random.below(2) == 0)
            switch random.below(8) {
            case 0:
                session.remove(from, now: now)
                model[from] = nil
                try create(session, from, kind: random.below(6), units: Int64(1 + random.below(9)))
                model[from] = state(session, from)
                #expect(model[from] != nil)
            case 1 where model[from] != nil:
                session.setDeadline(from, to: .seconds(2_000), now: now)
                model[from] = state(session, from)
                #expect(model[from] != nil)
            case 2:
                session.remove(from, now: now)
                model[from] = nil
            case _ where from != to:
                let outcome = copy(session, from, to, replaces, moves)
                let expected: KeyCopy =
                    model[from] == nil ? .missing : model[to] != nil && !replaces ? .exists : .done
                #expect(outcome == expected, "step \(step)")
                guard expected == .done else { break }
                model[to] = model[from]
                if moves { model[from] = nil }
            default: break
            }
            if step % 7 == 0 { collect(session.engine, into: &read) }
            if step % 100 == 0 { #expect(session.engine.violatedInvariants() == [], "step \(step)") }
        }
        collect(session.engine, into: &read)
        #expect(session.allKeys(now: now) == Set(model.keys))
        for (key, expected) in model { #expect(state(session, key) == expected, "\(key)") }
        #expect(read == model)
        #expect(session.engine.violatedInvariants() == [])
    }

    private func collect(_ engine: Engine, into read: inout [String: Whole]) {
        for shard in 0..<engine.shardCount {
            engine.collectChanges(shard: shard) { change in
                switch change {
                case .removed(let key): read[String(decoding: key.bytes, as: UTF8.self)] = nil
                case .state(let key, let state): read[String(decoding: key.bytes, as: UTF8.self)] = Whole(state)
                }
            }
        }
    }

    /// Full memory: a copy needs room, a move and a replacement do not, and several counters are set or none.
    @Test func fullMemory() throws {
        let session = KeyspaceSession(engine: Engine(shards: 8, seed: HashSeed(1, 2, 3)))
        try create(session, "a", kind: 4, units: 5)
        try create(session, "b", kind: 0, units: 5)
        let before = try #require(state(session, "a"))
        session.engine.setMemoryLimit(1, policy: .refuse)
        #expect(copy(session, "a", "c", false, false) == .outOfMemory)
        #expect(throws: CounterError.outOfMemory) { try set(session, ["b": 1, "new": 2]) }
        #expect(session.allKeys(now: now) == ["a", "b"] && state(session, "b")?.kind == .gcra)
        #expect(try set(session, ["b": 1]))
        #expect(copy(session, "a", "b", true, false) == .done)
        #expect(copy(session, "a", "a longer name", false, true) == .done)
        #expect(session.allKeys(now: now) == ["b", "a longer name"])
        #expect(state(session, "b") == before && state(session, "a longer name") == before)
        session.engine.setMemoryLimit(1, policy: .evictSoonest)
        #expect(try set(session, ["x": 1, "y": 2, "z": 3]))
        #expect(session.allKeys(now: now).isSuperset(of: ["x", "y", "z"]))
        #expect(copy(session, "x", "w", false, false) == .done)
        #expect(session.state(of: "w", now: now) == KeyState(kind: .counter, word: 1))
        #expect(session.engine.violatedInvariants() == [])
    }

    private func set(_ session: KeyspaceSession, _ values: [String: Int64]) throws(CounterError) -> Bool {
        let pairs = values.map { (key: Array($0.key.utf8), value: $0.value) }
        let memory = pairs.map { pair in
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: pair.key.count, alignment: 1)
            copy.copyBytes(from: pair.key)
            return copy
        }
        defer { for copy in memory { copy.deallocate() } }
        let result = session.holdingAll {
            Result<Bool, CounterError> { () throws(CounterError) in
                try session.setCounters(pairs.count, ifAbsent: false, now: now) {
                    (key: UnsafeRawBufferPointer(memory[$0]), value: pairs[$0].value)
                }
            }
        }
        return try result.get()
    }
}
