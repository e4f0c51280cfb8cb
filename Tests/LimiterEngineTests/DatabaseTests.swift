// Databases: random operations on several of them against one dictionary each, and what a reader of the journal, a walk
// over everything, and a restart end up with. Keys have the same bytes in every database, and some begin with the byte
// that is another database's number.

import TestSupport
import Testing

@testable import LimiterEngine

@Suite struct DatabaseTests {
    private static let numbers = [0, 1, 2, 255]
    private let now = EngineTime.seconds(1_000)

    /// The name of a key in the journal, with its namespace.
    private struct Name: Hashable {
        let bytes: [UInt8]
        let isNumbered: Bool
        let isToken: Bool
    }

    private struct Value: Equatable {
        var kind: StateKind
        var value: [UInt8]
        var deadline: Int64?

        init(_ view: StateView) { (kind, value, deadline) = (view.kind, Array(view.value), view.deadline) }
    }

    /// What a reader of the journal knows.
    private struct Reader {
        var states: [Name: Value] = [:]

        mutating func read(_ change: JournalChange) {
            switch change {
            case .removed(let name):
                states[Name(bytes: Array(name.bytes), isNumbered: name.isNumbered, isToken: false)] = nil
            case .state(let name, let state): put(name, state)
            }
        }

        mutating func put(_ name: KeyName, _ state: StateView) {
            let isToken = state.kind == .token
            let name = Name(bytes: Array(name.bytes), isNumbered: name.isNumbered, isToken: isToken)
            states[name] = Value(state)
        }

        mutating func flush(database: Int) {
            states = states.filter { name, _ in
                let start = name.isToken ? 4 : 0
                return (name.isNumbered ? Int(name.bytes[start]) : 0) != database
            }
        }
    }

    private struct Model {
        var counters: [[UInt8]: Int64] = [:]
        var deadlines: Set<[UInt8]> = []

        mutating func remove(_ key: [UInt8]) {
            counters[key] = nil
            deadlines.remove(key)
        }
    }

    private static let keys: [[UInt8]] =
        (0..<12).map { Array("key-\($0)".utf8) } + [
            [], [1], [2], [255], [1, 1], [1, 107], [0], [3, 0, 0, 0, 1, 107, 2],
        ]

    @Test(arguments: [1, 8]) func followDictionaries(shards: Int) throws {
        let session = KeyspaceSession(engine: Engine(shards: shards, seed: HashSeed(1, 2, 3)))
        session.engine.setJournaling(true)
        var random = SeededGenerator(for: "databases among \(shards) shards")
        var models: [Int: Model] = [0: Model(), 1: Model(), 2: Model(), 255: Model()]
        var reader = Reader()
        var flushes: [KeyspaceSession.Flush] = []
        for step in 0..<4_000 {
            let database = Self.numbers[random.below(4)]
            let key = Self.keys[random.below(Self.keys.count)]
            session.database = database
            switch random.below(16) {
            case 0, 1, 2, 3:
                let sum = try key.withUnsafeBytes { try session.add(3, toCounter: $0, now: now) }
                models[database]!.counters[key, default: 0] += 3
                #expect(sum == models[database]!.counters[key], "step \(step)")
            case 4, 5:
                let value = Int64(step)
                _ = try key.withUnsafeBytes { try session.setCounter($0, to: value, now: now) }
                models[database]!.counters[key] = value
                models[database]!.deadlines.remove(key)
            case 6:
                let isRemoved = key.withUnsafeBytes { session.remove($0, now: now) }
                #expect(isRemoved == (models[database]!.counters[key] != nil), "step \(step)")
                models[database]!.remove(key)
            case 7:
                let isSet = key.withUnsafeBytes { session.setDeadline($0, to: .seconds(5_000), now: now) }
                #expect(isSet == (models[database]!.counters[key] != nil), "step \(step)")
                if isSet { models[database]!.deadlines.insert(key) }
            case 8, 9: move(session, key, &random, &models, step)
            case 10: take(session, key)
            case 11 where random.below(6) == 0:
                // Before the record, as with the journal's lock held.
                collect(session.engine, into: &reader)
                let flush = session.removeDatabase()
                flushes.append(flush)
                if flush == .database { reader.flush(database: database) }
                if flush == .everything { reader.states = [:] }
                models[database] = Model()
            case 12: expect(session, key, models[database]!, step)
            default: if random.below(3) == 0 { collect(session.engine, into: &reader) }
            }
            if step % 100 == 0 { #expect(session.engine.violatedInvariants() == [], "step \(step)") }
            if step % 500 == 0 { expectAll(session, models, step) }
            if step % 1_000 == 999 {
                // One database has everything, tokens included, so that flushing it is the cheap case.
                for number in Self.numbers where number != 1 {
                    session.database = number
                    collect(session.engine, into: &reader)
                    if session.removeDatabase() == .database { reader.flush(database: number) }
                    models[number] = Model()
                }
                session.database = 1
                try [7].withUnsafeBytes { _ = try session.add(1, toCounter: $0, now: now) }
                session.database = 2
                flushes.append(session.removeDatabase())
                session.database = 1
                flushes.append(session.removeDatabase())
                reader.states = [:]
                models[1] = Model()
                expectAll(session, models, step)
            }
        }
        #expect(flushes.contains(.everything) && flushes.contains(.database) && flushes.contains(.nothing))
        for key in Self.keys.prefix(5) {
            session.database = 2
            take(session, key)
        }
        collect(session.engine, into: &reader)
        expectAll(session, models, -1)
        try expectRestarts(session, models, reader)
    }

    /// A move or a copy to another database.
    private func move(
        _ session: KeyspaceSession, _ key: [UInt8], _ random: inout SeededGenerator, _ models: inout [Int: Model],
        _ step: Int
    ) {
        let (from, other) = (session.database, Self.numbers[random.below(4)])
        let (moves, replaces) = (random.below(2) == 0, random.below(2) == 0)
        guard other != from else { return }
        let outcome = session.holdingAll {
            key.withUnsafeBytes {
                session.copy($0, to: $0, inDatabase: other, replaces: replaces, moves: moves, now: now)
            }
        }
        let isTaken = models[other]!.counters[key] != nil
        guard let value = models[from]!.counters[key] else {
            #expect(outcome == .missing, "step \(step)")
            return
        }
        #expect(outcome == (isTaken && !replaces ? .exists : .done), "step \(step)")
        guard outcome == .done else { return }
        models[other]!.counters[key] = value
        models[other]!.deadlines.remove(key)
        if models[from]!.deadlines.contains(key) { models[other]!.deadlines.insert(key) }
        if moves { models[from]!.remove(key) }
    }

    /// A limiter whose answer is remembered, and then only the answer.
    private func take(_ session: KeyspaceSession, _ key: [UInt8]) {
        var take = LimitCall(try! Limit(.gcra, units: 5, period: 1_000_000_000_000), .one)
        let limited = Array("limited".utf8) + key
        limited.withUnsafeBytes { key in
            Array("token".utf8).withUnsafeBytes { token in
                take.token = token
                session.decide(&take, key: key, now: now)
                take.token = nil
            }
            _ = session.remove(key, now: now)
        }
    }

    private func collect(_ engine: Engine, into reader: inout Reader) {
        for shard in 0..<engine.shardCount { engine.collectChanges(shard: shard) { reader.read($0) } }
    }

    private func expect(_ session: KeyspaceSession, _ key: [UInt8], _ model: Model, _ step: Int) {
        key.withUnsafeBytes { bytes in
            #expect(session.state(of: bytes, now: now)?.word == model.counters[key], "step \(step)")
            let ends = model.deadlines.contains(key)
            let left = session.timeToLive(bytes, now: now)
            let expected: TimeToLive =
                model.counters[key] == nil ? .missing : ends ? .nanoseconds(4_000_000_000_000) : .forever
            #expect(left == expected, "step \(step)")
        }
    }

    /// Counts, all walks and the statistics of every database.
    private func expectAll(_ session: KeyspaceSession, _ models: [Int: Model], _ step: Int) {
        let statistics = session.statistics()
        for number in Self.numbers {
            let model = models[number]!
            session.database = number
            #expect(session.count() == model.counters.count, "database \(number), step \(step)")
            let counted = number < statistics.databases.count ? statistics.databases[number] : .init()
            #expect(counted.keys == model.counters.count && counted.expiring == model.deadlines.count)
            #expect(counted.meanTimeToLive(now: now) == (model.deadlines.isEmpty ? 0 : 4_000_000_000_000))
            var all: Set<[UInt8]> = []
            session.forEachKey(now: now) { key, _ in all.insert(Array(key)) }
            #expect(all == Set(model.counters.keys), "database \(number), step \(step)")
            var scanned: Set<[UInt8]> = []
            var cursor: UInt64 = 0
            repeat {
                cursor = session.scan(cursor: cursor, effort: 3, now: now) { key, _ in scanned.insert(Array(key)) }
            } while cursor != 0
            #expect(scanned == all)
            var walked: [[UInt8]] = []
            var walk = KeyWalk()
            while !walk.isOver {
                session.advance(&walk, keys: 3, bytes: 100, now: now) { key, _ in walked.append(Array(key)) }
            }
            #expect(Set(walked) == all && walked.count == all.count)
            let random = session.randomKey(random: { 5 }, now: now) { Array($0) }
            #expect(random.map(all.contains) ?? true)
        }
    }

    /// The journal and a walk over everything restore the same databases, in any number of shards.
    private func expectRestarts(_ session: KeyspaceSession, _ models: [Int: Model], _ reader: Reader) throws {
        var walked = Reader()
        var cursor: UInt64 = 0
        repeat {
            cursor = session.scanStates(cursor: cursor, effort: 100, now: now) { walked.put($0, $1) }
        } while cursor != 0
        #expect(walked.states == reader.states)
        #expect(walked.states.keys.contains { $0.isToken && $0.isNumbered })
        let copy = Engine(shards: 4)
        let restorer = Restorer(engine: copy, horizon: now)
        for (name, state) in reader.states {
            name.bytes.withUnsafeBytes { bytes in
                state.value.withUnsafeBytes { value in
                    let name = KeyName(bytes, isNumbered: name.isNumbered)
                    let view = StateView(kind: state.kind, value: value, deadline: state.deadline)
                    #expect(view.isValid(for: name))
                    restorer.put(view, name)
                    restorer.flush()
                }
            }
        }
        #expect(copy.violatedInvariants() == [])
        expectAll(KeyspaceSession(engine: copy), models, -2)
        restorer.removeAll(ofDatabase: 1)
        var left = models
        left[1] = Model()
        expectAll(KeyspaceSession(engine: copy), left, -3)
        restorer.removeAll(ofDatabase: 0)
        left[0] = Model()
        expectAll(KeyspaceSession(engine: copy), left, -4)
        #expect(copy.violatedInvariants() == [])
    }

    // MARK: Batches

    /// Calls of one batch whose keys have the same bytes in different namespaces.
    @Test func callsOfABatchReachTheirOwnDatabase() {
        let session = KeyspaceSession(engine: Engine(shards: 2, seed: HashSeed(1, 2, 3)))
        let names: [(bytes: [UInt8], isNumbered: Bool)] = [
            ([1, 107], false), ([1, 107], true), ([2, 107], true), ([107], false), ([1], true), ([1], false),
        ]
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
        defer { memory.deallocate() }
        for round in 1...3 {
            var calls: [LimitCall] = []
            var end = memory
            for name in names {
                var call = LimitCall.blank
                call.setAdd(1)
                end.initialize(from: name.bytes, count: name.bytes.count)
                if name.isNumbered {
                    call.setNumberedKey(end, count: name.bytes.count)
                } else {
                    call.setKey(end, count: name.bytes.count)
                }
                end += name.bytes.count
                calls.append(call)
            }
            calls.withUnsafeMutableBufferPointer { session.decide($0.baseAddress!, count: $0.count, now: now) }
            #expect(calls.map(\.counterValue) == [Int64](repeating: Int64(round), count: names.count))
            #expect(calls.map { Array($0.clientKey) } == [[1, 107], [107], [107], [107], [], [1]])
        }
        for (database, keys) in [(0, [[1, 107], [107], [1]]), (1, [[107], []]), (2, [[107]])] as [(Int, [[UInt8]])] {
            session.database = database
            var found: Set<[UInt8]> = []
            session.forEachKey(now: now) { key, _ in found.insert(Array(key)) }
            #expect(found == Set(keys) && session.count() == keys.count)
        }
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func aTokenIsOneOfItsDatabase() throws {
        let session = KeyspaceSession(engine: Engine(shards: 1))
        func take(_ database: Int, _ key: [UInt8]) throws -> LimitDecision {
            var take = LimitCall(try Limit(.gcra, units: 5, period: 1_000_000_000_000), .one)
            session.database = database
            key.withUnsafeBytes { key in
                Array("token".utf8).withUnsafeBytes { token in
                    take.token = token
                    session.decide(&take, key: key, now: now)
                    take.token = nil
                }
            }
            return take.decision
        }
        for (database, key) in [(0, [107]), (1, [107]), (2, [107]), (0, [1, 107])] as [(Int, [UInt8])] {
            #expect(try !take(database, key).isRepeated)
            #expect(try take(database, key).isRepeated)
        }
        session.database = 1
        #expect(session.removeDatabase() == .database)
        #expect(session.statistics().tokens == 3)
        #expect(try !take(1, [107]).isRepeated)
        #expect(try take(0, [1, 107]).isRepeated)
        #expect(session.engine.violatedInvariants() == [])
    }

    @Test func aWatchIsOneOfItsDatabase() throws {
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
        func tokens() -> [WatchToken] {
            ([(0, [1, 107]), (1, [107]), (2, [107])] as [(Int, [UInt8])]).map { database, key in
                let token = WatchToken()
                session.inDatabase(database) { session.watch(key, token: token, now: now) }
                return token
            }
        }
        func add(_ database: Int, _ key: [UInt8]) throws {
            session.database = database
            try key.withUnsafeBytes { _ = try session.add(1, toCounter: $0, now: now) }
        }
        var watching = tokens()
        try add(1, [107])
        #expect(watching.map(\.isTouched) == [false, true, false])
        try add(0, [1, 107])
        #expect(watching.map(\.isTouched) == [true, true, false])
        try add(2, [107])
        watching = tokens()
        session.database = 1
        #expect(session.removeDatabase() == .database)
        #expect(watching.map(\.isTouched) == [false, true, false])
        watching = tokens()
        session.removeAll()
        #expect(watching.map(\.isTouched) == [true, false, true], "the key in database 1 did not exist")
        #expect(session.engine.violatedInvariants() == [])
    }

    // MARK: Memory

    @Test func evictionKeepsTheCountsExact() throws {
        let session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
        session.engine.setMemoryLimit(20_000, policy: .evictSoonest)
        for number in 0..<2_000 {
            session.database = number % 3
            var take = LimitCall(try Limit(.gcra, units: 5, period: 1_000_000_000_000 + Int64(number)), .one)
            "key-\(number)".bytes { session.decide(&take, key: $0, now: now) }
        }
        let statistics = session.statistics()
        #expect(statistics.evicted > 1_000)
        var sum = 0
        for number in 0..<3 {
            session.database = number
            var found = 0
            session.forEachKey(now: now) { _, _ in found += 1 }
            #expect(found == session.count() && found == statistics.databases[number].keys && found > 0)
            sum += found
        }
        #expect(sum == statistics.keys)
        #expect(session.engine.violatedInvariants() == [])
    }

    /// A record of a key whose length does not fit the header has four bytes more; nothing else changes.
    @Test func theLongestKeysAreKept() throws {
        let session = KeyspaceSession(engine: Engine(shards: 1))
        let lengths = [(1 << 24) - 3, (1 << 24) - 2, (1 << 24) - 1, 1 << 24, keyLengthMax - 1]
        for (number, length) in lengths.enumerated() {
            let key = [UInt8](repeating: 7, count: length)
            for database in [0, 9] {
                session.database = database
                try key.withUnsafeBytes { key in
                    let sum = try session.add(Int64(number + 1), toCounter: key, now: now)
                    #expect(sum == Int64(number + 1))
                    #expect(session.setDeadline(key, to: .seconds(2_000), now: now))
                    #expect(session.state(of: key, now: now)?.word == Int64(number + 1))
                }
            }
        }
        for database in [0, 9] {
            session.database = database
            var found: Set<Int> = []
            session.forEachKey(now: now) { key, _ in found.insert(key.count) }
            #expect(found == Set(lengths))
        }
        #expect(session.engine.violatedInvariants() == [])
        session.database = 9
        #expect(session.removeDatabase() == .database)
        for length in lengths {
            let key = [UInt8](repeating: 7, count: length)
            #expect(session.inDatabase(0) { key.withUnsafeBytes { session.remove($0, now: now) } })
        }
        #expect(session.statistics().memory < 1_000_000)
    }
}
