// All-or-nothing calls in batches: each group is decided in its place, as if every call had come alone.

import LimiterEngine
import TestSupport
import Testing

@Suite struct TakeAllBatchTests {
    private let now = EngineTime.seconds(1_000_000)
    private let day: Int64 = 86_400_000_000_000
    private let limits: [Limit]

    init() throws {
        limits = [
            try Limit(.gcra, units: 5, period: day), try Limit(.tokenBucket, units: 3, period: day, burst: 9),
            try Limit(.fixedWindow, units: 6, period: day), try Limit(.slidingWindow, units: 4, period: day),
            try Limit(.slidingLog, units: 7, period: day),
        ]
    }

    /// A line of a batch: calls of one group, or a single call.
    private struct Line {
        var rows: [TakeAllRow]
        var isGroup: Bool
    }

    @Test func groupsOfABatchAreDecidedAsOneByOne() throws {
        var random = SeededGenerator(for: "groupsOfABatchAreDecidedAsOneByOne")
        let seed = random.seed
        for _ in 0..<60 {
            let batched = KeyspaceSession(engine: Engine(shards: 4, seed: HashSeed(1, 2, 3)))
            let single = KeyspaceSession(engine: Engine(shards: 4, seed: HashSeed(1, 2, 3)))
            let isFull = Int.random(in: 0..<4, using: &random) == 0
            var instant = now.nanoseconds
            for _ in 0..<6 {
                if isFull {
                    for session in [batched, single] { session.engine.setMemoryLimit(1, policy: .refuse) }
                }
                instant += Int64.random(in: 0...day / 8, using: &random)
                let time = EngineTime(nanoseconds: instant)
                var lines = (0..<Int.random(in: 1...8, using: &random)).map { _ in line(limits, &random) }
                var expected = lines
                let outcomes = decideAsBatch(&lines, batched, time)
                for position in expected.indices {
                    if expected[position].isGroup {
                        let outcome = single.takeAll(&expected[position].rows, now: time)
                        #expect(outcomes[position] == outcome, "seed \(seed)")
                    } else {
                        let key = expected[position].rows[0].key
                        single.decide(key, &expected[position].rows[0].take, now: time)
                    }
                    #expect(
                        lines[position].rows.map(\.take.decision) == expected[position].rows.map(\.take.decision),
                        "seed \(seed)")
                    #expect(
                        lines[position].rows.map(\.take.hasChangedState)
                            == expected[position].rows.map(\.take.hasChangedState), "seed \(seed)")
                }
            }
            let (left, right) = (batched.statistics(), single.statistics())
            #expect(left.allowed == right.allowed && left.denied == right.denied, "seed \(seed)")
            #expect(left.changes == right.changes && left.keys == right.keys, "seed \(seed)")
            #expect(batched.engine.violatedInvariants() == [], "seed \(seed)")
        }
    }

    @Test func aGroupTakesWhatItsLimitsWouldAlone() throws {
        var random = SeededGenerator(for: "aGroupTakesWhatItsLimitsWouldAlone")
        let seed = random.seed
        let limits = limits
        for _ in 0..<60 {
            let grouped = KeyspaceSession(engine: Engine(shards: 4, seed: HashSeed(1, 2, 3)))
            let single = KeyspaceSession(engine: Engine(shards: 4, seed: HashSeed(1, 2, 3)))
            var instant = now.nanoseconds
            for _ in 0..<40 {
                instant += Int64.random(in: 0...day / 20, using: &random)
                let time = EngineTime(nanoseconds: instant)
                var lines = [line(limits, &random)]
                lines[0].isGroup = true
                var rows = lines[0].rows
                guard Set(rows.map(\.key)).count == rows.count else { continue }
                let outcome = decideAsBatch(&lines, grouped, time)[0]
                // Peeks each call first; takes only if all are allowed.
                for position in rows.indices {
                    rows[position].take.operation = .peek
                    single.decide(rows[position].key, &rows[position].take, now: time)
                }
                let isAllowed = rows.allSatisfy { $0.take.decision.outcome == .allowed }
                if isAllowed {
                    for position in rows.indices {
                        rows[position].take.operation = .take
                        single.decide(rows[position].key, &rows[position].take, now: time)
                    }
                } else if rows.allSatisfy({ [.allowed, .denied].contains($0.take.decision.outcome) }) {
                    // Each call that is told to wait starts its wait.
                    for row in rows where row.take.decision.outcome == .denied {
                        var take = row.take
                        take.operation = .take
                        single.decide(row.key, &take, now: time)
                    }
                }
                #expect((outcome == .allowed) == isAllowed, "seed \(seed)")
                #expect(lines[0].rows.map(\.take.decision) == rows.map(\.take.decision), "seed \(seed)")
            }
            #expect(grouped.statistics().keys == single.statistics().keys, "seed \(seed)")
            #expect(grouped.statistics().changes == single.statistics().changes, "seed \(seed)")
        }
    }

    private func line(_ limits: [Limit], _ random: inout SeededGenerator) -> Line {
        let isGroup = Bool.random(using: &random)
        let rows = (0..<(isGroup ? Int.random(in: 1...5, using: &random) : 1)).map { _ in
            // Usually one key per limit; sometimes the wrong kind of state, or a repeated key.
            let number = Int.random(in: 0..<limits.count, using: &random)
            let other = Int.random(in: 0..<20, using: &random) == 0
            var take = LimitCall(limits[other ? 0 : number], random.demand(limits[number]))
            take.mode = [.enforce, .enforce, .enforce, .enforce, .enforce, .shadow, .off].randomElement(using: &random)!
            take.carriesOver = Int.random(in: 0..<8, using: &random) == 0
            return TakeAllRow(key: "k\(number)\(Int.random(in: 0..<3, using: &random))", take: take)
        }
        return Line(rows: rows, isGroup: isGroup)
    }

    /// Decides all lines in one batch and returns the groups' outcomes.
    private func decideAsBatch(_ lines: inout [Line], _ session: KeyspaceSession, _ time: EngineTime)
        -> [KeyspaceSession.TakeAllOutcome?]
    {
        let keys = lines.flatMap(\.rows).map { row in
            let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: row.key.utf8.count)
            _ = memory.initialize(from: row.key.utf8)
            return memory
        }
        defer { keys.forEach { $0.deallocate() } }
        var calls = lines.flatMap(\.rows).map(\.take)
        for (position, key) in keys.enumerated() { calls[position].setKey(key.baseAddress!, count: key.count) }
        var groups: [KeyspaceSession.Group] = []
        var first = 0
        for line in lines {
            if line.isGroup { groups.append(KeyspaceSession.Group(first: first, count: line.rows.count)) }
            first += line.rows.count
        }
        calls.withUnsafeMutableBufferPointer { calls in
            groups.withUnsafeMutableBufferPointer {
                session.decide(calls.baseAddress!, count: calls.count, groups: $0, now: time)
            }
        }
        var outcomes: [KeyspaceSession.TakeAllOutcome?] = []
        var position = 0
        for number in lines.indices {
            for row in lines[number].rows.indices {
                lines[number].rows[row].take = calls[position]
                position += 1
            }
            outcomes.append(lines[number].isGroup ? groups.removeFirst().outcome : nil)
        }
        return outcomes
    }
}
