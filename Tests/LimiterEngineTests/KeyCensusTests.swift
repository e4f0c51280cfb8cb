// The census of keys, compared with an engine that restores the same records, and its table with a dictionary.

import TestSupport
import Testing

@testable import LimiterEngine

@Suite struct KeyCensusTests {
    /// Hashes whose lower bits are equal collide at every step; others close gaps across the end of the table.
    @Test(arguments: [(8, 20), (100, 20), (5000, 1)])
    func theTableIsASet(range: Int, shift: Int) {
        var random = SeededGenerator(for: "fingerprints below \(range)")
        var table = FingerprintTable()
        var model: [UInt64: Bool] = [:]
        for step in 0..<20_000 {
            // The lowest bit is not part of a fingerprint, and 0 stands for the same one as 2.
            let hash = UInt64(1 + random.below(range)) << UInt64(shift)
            if random.below(3) == 0 {
                table.remove(hash)
                model[hash] = nil
            } else {
                let isMarked = random.below(2) == 0
                table.put(hash, isMarked: isMarked)
                model[hash] = isMarked
            }
            guard table.count == model.count, table.marked == model.values.count(where: { $0 }) else {
                Issue.record("step \(step): \(table.count), \(table.marked), expected \(model.count)")
                return
            }
        }
        for hash in model.keys { table.remove(hash) }
        #expect(table.count == 0 && table.marked == 0)
        table.remove(2)
    }

    /// Random records of three databases, among them tokens, expired states, removals and flushes.
    @Test func itCountsWhatAnEngineRestores() {
        var random = SeededGenerator(for: "key census")
        let horizon = EngineTime(nanoseconds: 1000)
        let engine = Engine(shards: 4)
        let restorer = Restorer(engine: engine, horizon: horizon)
        var census = KeyCensus(horizon: horizon)
        for step in 0..<30_000 {
            let database = UInt8(random.below(3) * 7)
            let text = [UInt8](database == 0 ? [] : [database]) + Array("key \(random.below(300))".utf8)
            switch random.below(5000) {
            case 0:
                restorer.removeAll()
                census.removeAll()
            case 1..<5:
                restorer.removeAll(ofDatabase: database)
                census.removeAll(ofDatabase: database)
            case 5..<1500:
                text.withUnsafeBytes { bytes in
                    let name = KeyName(bytes, isNumbered: database != 0)
                    restorer.remove(name)
                    census.remove(name)
                    restorer.flush()
                }
            default:
                let isToken = random.below(4) == 0
                put(text, database, random.below(2000), isToken, restorer, &census)
            }
            guard step % 500 == 0 else { continue }
            expectTheSame(census, engine, "step \(step)")
        }
        expectTheSame(census, engine, "the end")
    }

    private func put(
        _ name: [UInt8], _ database: UInt8, _ expiry: Int, _ isToken: Bool, _ restorer: Restorer,
        _ census: inout KeyCensus
    ) {
        let length = withUnsafeBytes(of: UInt32(name.count).littleEndian) { Array($0) }
        let key = isToken ? length + name + Array("id".utf8) : name
        let words = isToken ? TokenAnswer.size / 8 : 1
        let value = ([Int64(expiry)] + [Int64](repeating: 0, count: words - 1)).flatMap { word in
            withUnsafeBytes(of: word.littleEndian) { Array($0) }
        }
        key.withUnsafeBytes { key in
            value.withUnsafeBytes { value in
                let state = StateView(kind: isToken ? .token : .gcra, value: value, deadline: nil)
                let name = KeyName(key, isNumbered: database != 0)
                precondition(state.isValid(for: name))
                restorer.put(state, name)
                census.put(state, name)
                restorer.flush()
            }
        }
    }

    private func expectTheSame(_ census: KeyCensus, _ engine: Engine, _ what: String) {
        let found = KeyspaceSession(engine: engine).statistics()
        let expected = found.databases.enumerated().filter { $0.element.keys > 0 }.map { [$0.offset, $0.element.keys] }
        let counted = census.databases.filter { $0.keys > 0 }.map { [$0.number, $0.keys] }
        #expect(counted == expected, "\(what)")
        #expect(census.tokensInForce == found.tokens, "\(what)")
    }
}
