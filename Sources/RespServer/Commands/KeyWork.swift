// KEYS, SCAN and RANDOMKEY as sliced work. Keys are copied with their stripe locked, a few hundred at a time, and
// matched without locks: a long pattern or a long key blocks no other command.

import LimiterEngine
import RESP

/// KEYS: the names of all matching keys, each once. Includes every key that exists from beginning to end. Inside EXEC,
/// where every stripe is locked, the result is a consistent snapshot.
final class KeysWork: SlicedWork {
    private let pattern: GlobPattern
    private var walk = KeyWalk()
    private var batch = KeyBatch()
    private let found = ReplyPieces()
    private var count = 0

    init(_ pattern: GlobPattern) { self.pattern = pattern }

    func advance(_ keyspace: KeyspaceSession, now: EngineTime, _ budget: inout StepBudget) -> Bool {
        while !budget.isSpent {
            guard batch.isEmpty else {
                batch.withNext { key in
                    guard pattern.matches(key, budget: &budget) else { return }
                    found.buffer.bulk(key)
                    found.endElement()
                    count += 1
                }
                continue
            }
            guard !walk.isOver else { return true }
            batch.removeAll()
            keyspace.advance(&walk, keys: KeyBatch.keysMax, bytes: KeyBatch.bytesMax, now: now) { key, _ in
                batch.append(key)
            }
            budget.steps -= KeyBatch.keysMax * budget.stepsPerKey
        }
        return batch.isEmpty && walk.isOver
    }

    func writeReply(to reply: ReplyBuffer) { reply.array(count) }

    var elements: ReplyPieces? { found }

    var refusalInTransaction: String {
        "ERR KEYS in a transaction: the pattern takes too long to match with this many keys; use SCAN"
    }

    func cancel(_ keyspace: KeyspaceSession) { keyspace.end(&walk) }
}

/// SCAN: the matching names among the next keys, and the cursor to continue from.
final class ScanWork: SlicedWork {
    /// Steps after which a call ends, with a cursor to continue from, however few keys it has visited.
    private static let stepsMax = 16_000_000

    private var cursor: UInt64
    /// Keys still to be visited.
    private var left: Int
    private let pattern: GlobPattern?
    private let type: [UInt8]?
    private var hasBegun = false
    private var steps = 0
    private var batch = KeyBatch()
    private let found = ReplyPieces()
    private var count = 0

    /// - Parameters:
    ///   - effort: Approximate number of keys to visit, 1 or more.
    ///   - type: The name of a kind, in lower case; nil for all.
    init(cursor: UInt64, effort: Int, pattern: GlobPattern?, type: [UInt8]?) {
        self.cursor = cursor
        left = effort
        self.pattern = pattern
        self.type = type
    }

    func advance(_ keyspace: KeyspaceSession, now: EngineTime, _ budget: inout StepBudget) -> Bool {
        while true {
            // Fetched keys must be matched before returning: the cursor is already past them.
            while !batch.isEmpty, budget.isFinal || !budget.isSpent { matchNext(&budget) }
            guard batch.isEmpty else { return false }
            let isEnough = left <= 0 || cursor == 0 || steps >= ScanWork.stepsMax || budget.isFinal && budget.isSpent
            if hasBegun, isEnough { return true }
            if budget.isSpent, !budget.isFinal { return false }
            fetch(keyspace, now: now, &budget)
        }
    }

    private func fetch(_ keyspace: KeyspaceSession, now: EngineTime, _ budget: inout StepBudget) {
        hasBegun = true
        batch.removeAll()
        let effort = min(left, KeyBatch.keysMax)
        cursor = keyspace.scan(cursor: cursor, effort: effort, bytes: KeyBatch.bytesMax, now: now) { key, kind in
            if let type, !type.elementsEqual(kind.name.description.utf8) { return }
            batch.append(key)
        }
        left -= effort
        budget.steps -= effort * budget.stepsPerKey
    }

    private func matchNext(_ budget: inout StepBudget) {
        let before = budget.steps
        batch.withNext { key in
            if let pattern, !pattern.matches(key, budget: &budget) { return }
            found.buffer.bulk(key)
            found.endElement()
            count += 1
        }
        steps += before - budget.steps
    }

    func writeReply(to reply: ReplyBuffer) {
        reply.array(2)
        reply.bulk(String(cursor))
        reply.array(count)
    }

    var elements: ReplyPieces? { found }
}

/// RANDOMKEY after sampling a stretch of each shard has found no key: the first key that an iteration finds.
final class FirstKeyWork: SlicedWork {
    private var walk = KeyWalk()
    private var found: [UInt8]?

    func advance(_ keyspace: KeyspaceSession, now: EngineTime, _ budget: inout StepBudget) -> Bool {
        while found == nil, !walk.isOver {
            if budget.isSpent, !budget.isFinal { return false }
            keyspace.advance(&walk, keys: KeyBatch.keysMax, bytes: KeyBatch.bytesMax, now: now) { key, _ in
                if found == nil { found = Array(key) }
            }
            budget.steps -= KeyBatch.keysMax * budget.stepsPerKey
        }
        keyspace.end(&walk)
        return true
    }

    func writeReply(to reply: ReplyBuffer) {
        if let found { reply.bulk(found) } else { reply.null() }
    }

    func cancel(_ keyspace: KeyspaceSession) { keyspace.end(&walk) }
}

extension GlobPattern {
    /// Like `matches`, charging its steps to a budget.
    @inline(__always)
    func matches(_ text: UnsafeBufferPointer<UInt8>, budget: inout StepBudget) -> Bool {
        var steps = 0
        defer { budget.steps -= steps }
        return matches(text, steps: &steps)
    }
}

extension CommandContext {
    /// A pattern from the client; if it is too long, replies with an error and returns nil.
    func patternOrReply(_ index: Int, ignoringCase: Bool = false) -> GlobPattern? {
        guard arguments[index].count <= GlobPattern.lengthMax else {
            reply.error(GlobPattern.refusal)
            return nil
        }
        return GlobPattern(arguments[index].bytes, ignoringCase: ignoringCase)
    }
}

/// Parses SCAN's cursor.
enum ScanCursor {
    /// Reads digits after an optional sign, like Redis: an empty string is 0, and negative numbers wrap around 2^64, so
    /// that "-1" is the last position of the keyspace. Nil for anything else, and for more than 64 bits.
    static func read(_ argument: Argument) -> UInt64? {
        guard !argument.buffer.isEmpty else { return 0 }
        let sign = argument.buffer.first
        let hasSign = sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+")
        let digits = hasSign ? argument.buffer.dropFirst() : argument.buffer[...]
        guard !digits.isEmpty else { return nil }
        var value: UInt64 = 0
        for byte in digits {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            let (tenfold, isOver) = value.multipliedReportingOverflow(by: 10)
            let (sum, isFull) = tenfold.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
            guard !isOver, !isFull else { return nil }
            value = sum
        }
        return sign == UInt8(ascii: "-") ? 0 &- value : value
    }
}
