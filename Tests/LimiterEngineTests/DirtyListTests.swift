// The dirty list while it is not collected: records that move are found however many others have changed since.

import TestSupport
import Testing

@testable import LimiterEngine

@Suite struct DirtyListTests {
    private let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
    private let now = EngineTime.seconds(1)
    private var shard: UnsafeMutablePointer<Shard> { session.engine.shard(0) }

    /// The journal's changes: a key's state, or nil for its removal.
    private func collect() -> [(key: String, state: KeyState?)] {
        var changes: [(key: String, state: KeyState?)] = []
        session.engine.collectChanges(shard: 0) { change in
            switch change {
            case .removed(let key): changes.append((String(decoding: key.bytes, as: UTF8.self), nil))
            case .state(let key, let state):
                changes.append((String(decoding: key.bytes, as: UTF8.self), KeyState(state)))
            }
        }
        return changes
    }

    /// A record that moves long after it changed keeps its place: an idempotency token after it must not be journaled
    /// first.
    @Test func aRecordThatMovesKeepsItsPlace() {
        session.engine.setJournaling(true)
        let names = (0..<1_000).map { "k\($0)" }
        for name in names { session.throttle(name, thousandOnce, now: now) }
        for name in names { session.setDeadline(name, to: .seconds(500), now: now) }
        #expect(shard.pointee.dirty.count == names.count)
        #expect(session.engine.violatedInvariants() == [])
        let changes = collect()
        #expect(changes.map(\.key) == names)
        #expect(changes.allSatisfy { $0.state?.deadline == EngineTime.seconds(500).nanoseconds })
        #expect(shard.pointee.dirtyMoves.count == 0)
        #expect(session.engine.violatedInvariants() == [])
    }

    /// A key whose record moves repeatedly keeps one extra record in memory, not one per move.
    @Test func movingOftenKeepsOneOldRecord() {
        session.engine.setJournaling(true)
        for number in 0..<100 { session.throttle("k\(number)", thousandOnce, now: now) }
        let before = session.statistics().memory
        let counter = KeyState(kind: .counter, word: 7)
        let counterUntil = KeyState(kind: .counter, word: 7, deadline: EngineTime.seconds(500).nanoseconds)
        for _ in 0..<1_000 {
            session.apply(counter, to: "k0", now: now)
            session.apply(counterUntil, to: "k0", now: now)
        }
        #expect(shard.pointee.dirtyMoves.count == 1)
        #expect(session.statistics().memory < before + 200)
        #expect(collect().first?.state == counterUntil)
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func aKeyRemovedAfterAMoveIsATombstone() {
        session.engine.setJournaling(true)
        let names = (0..<100).map { "k\($0)" }
        for name in names { session.throttle(name, thousandOnce, now: now) }
        session.setDeadline("k0", to: .seconds(500), now: now)
        session.remove("k0", now: now)
        session.throttle("k0", thousandOnce, now: now)
        #expect(session.engine.violatedInvariants() == [])
        let changes = collect()
        #expect(changes.map(\.key) == names + ["k0"])
        #expect(changes.first?.state == nil && changes.last?.state != nil)
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func removeAllDiscardsMoves() {
        for ending in ["flush", "off"] {
            session.engine.setJournaling(true)
            for number in 0..<100 { session.throttle("k\(number)", thousandOnce, now: now) }
            for number in 0..<50 { session.setDeadline("k\(number)", to: .seconds(500), now: now) }
            for number in 0..<25 { session.remove("k\(number)", now: now) }
            if ending == "flush" { session.removeAll() } else { session.engine.setJournaling(false) }
            #expect(shard.pointee.dirty.count == 0 && shard.pointee.dirtyMoves.count == 0)
            #expect(session.engine.violatedInvariants() == [])
        }
    }

    /// INCR followed by EXPIRE on a new key: the record that moves was the last one changed.
    @Test func theLastChangedRecordMovesInPlace() {
        session.engine.setJournaling(true)
        for number in 0..<100 {
            session.throttle("k\(number)", thousandOnce, now: now)
            session.setDeadline("k\(number)", to: .seconds(500), now: now)
        }
        #expect(shard.pointee.dirtyMoves.count == 0)
        #expect(collect().count == 100)
    }

    @Test func collectedChangesMatchTheTable() {
        var random = SeededGenerator(for: "dirty moves")
        session.engine.setJournaling(true)
        let copy = KeyspaceSession(engine: Engine(shards: 1))
        var sweeper = Sweeper(engine: session.engine)
        for round in 0..<40 {
            for _ in 0..<1_000 {
                let key = "k\(random.below(3_000))"
                let deadline = EngineTime.seconds(Int64(random.below(1_000)) + 2)
                switch random.below(7) {
                case 0: session.remove(key, now: now)
                case 1, 2: session.setDeadline(key, to: deadline, now: now)
                case 3: session.apply(KeyState(kind: .counter, word: 1), to: key, now: now)
                case 4:
                    let state = KeyState(kind: .counter, word: 1, deadline: deadline.nanoseconds)
                    session.apply(state, to: key, now: now)
                case 5: _ = sweeper.step(buckets: 16, now: now)
                default: session.throttle(key, thousandOnce, now: now)
                }
            }
            #expect(session.engine.violatedInvariants() == [])
            // The disk is stalled in every other round.
            guard round % 2 == 1 else { continue }
            for (key, state) in collect() {
                if let state { copy.apply(state, to: key, now: now) } else { copy.remove(key, now: now) }
            }
            #expect(session.allKeys(now: now) == copy.allKeys(now: now))
            for key in session.allKeys(now: now) {
                #expect(session.state(of: key, now: now) == copy.state(of: key, now: now))
            }
        }
        #expect(session.engine.violatedInvariants() == [])
    }

    /// Entries are removed while others are added: the list's memory is bounded by the entries present.
    @Test func aListThatNeverBecomesEmptyDoesNotGrow() {
        var list = DirtyList()
        defer { list.deallocate() }
        let address = UnsafeMutableRawPointer(bitPattern: 16)!
        for number in 0..<1_000 { list.append(address + number) }
        for number in 1_000..<200_000 {
            list.append(address + number)
            list.removeFirst(1)
        }
        #expect(list.count == 1_000 && list.capacity <= 4_096)
        #expect((0..<1_000).allSatisfy { list[$0] == address + (199_000 + $0) })
    }
}
