// The cache of parsed limits: a hit always equals a fresh parse, errors included.

import LimiterEngine
import RESP
import TestSupport
import Testing

@testable import RespServer

@Suite struct LimitCacheTests {
    /// The result of a parse: the call, or the error's text.
    private struct Reading: Equatable {
        var limit: Limit?
        var demand: Demand?
        var token: [UInt8]?
        var isOfPolicy = false
        var problem = ""
    }

    private let session: KeyspaceSession = {
        let engine = Engine(shards: 1)
        try! engine.policies.edit(now: EngineTime(nanoseconds: 0)) { draft throws(PolicyError) in
            try draft.set(Policy(name: Array("seven".utf8), limit: try! Limit(.slidingLog, units: 7, period: 1_000)))
        }
        return KeyspaceSession(engine: engine)
    }()

    private func read(_ words: [String], _ cache: LimitCache) -> Reading {
        let list = ArgumentList()
        list.load((["RL.TAKE", "key"] + words).map { Array($0.utf8) })
        var take = LimitCall.blank
        do throws(ArgumentProblem) {
            try LimitArguments.read(.take, list, to: &take, session, cache, tokenWindow: 5)
            return Reading(
                limit: take.limit, demand: take.demand, token: take.token.map { Array($0) },
                isOfPolicy: take.carriesOver)
        } catch {
            return Reading(problem: error.text)
        }
    }

    @Test func randomWordsAreReadAsWithoutIt() {
        var random = SeededGenerator(for: "randomWordsAreReadAsWithoutIt")
        let seed = random.seed
        let cache = LimitCache()
        let words: [[String]] = [
            ["LIMIT", "10"], ["limit", "10"], ["LIMIT", "1"], ["LIMIT", "x"], ["LIMIT", "0"], ["PER", "1s"],
            ["PER", "1d"], ["PER", "60"], ["PER", "1w"], ["BURST", "5"], ["BURST", "10"], ["ALGO", "fixed-window"],
            ["ALGO", "token-bucket"], ["OFFSET", "1h"], ["COST", "2"], ["COST", "-1"], ["ATMOST"], ["ID", "token"],
            ["POLICY", "seven"], ["AND", "key"], ["PER"], ["FOO"], ["PER", "month"], ["ALGO", "calendar"],
            ["ZONE", "+01:00"], ["ZONE", "UTC"], ["ZONE", "x"], ["START", "7"], ["START", "15"],
        ]
        let usual: [[String]] = [
            ["LIMIT", "10", "PER", "1s"], ["LIMIT", "1", "PER", "1d", "BURST", "5"],
            ["LIMIT", "1", "PER", "month", "ALGO", "calendar"],
        ]
        for round in 0..<30_000 {
            var line = Bool.random(using: &random) ? usual.randomElement(using: &random)! : []
            for _ in 0..<Int.random(in: 0...4, using: &random) { line += words.randomElement(using: &random)! }
            // Occasionally the same bytes with other word boundaries.
            if Int.random(in: 0..<10, using: &random) == 0, line.count > 1 {
                let position = Int.random(in: 0..<line.count - 1, using: &random)
                let joined = Array((line[position] + line[position + 1]).utf8)
                let cut = Int.random(in: 0...joined.count, using: &random)
                line[position] = String(decoding: joined[..<cut], as: UTF8.self)
                line[position + 1] = String(decoding: joined[cut...], as: UTF8.self)
            }
            let known = read(line, cache)
            let anew = read(line, LimitCache())
            if known != anew {
                Issue.record("seed \(seed), round \(round), \(line): \(known), without the cache \(anew)")
                return
            }
        }
    }

    @Test func aKnownLimitIsFound() {
        let cache = LimitCache()
        let list = ArgumentList()
        list.load("RL.TAKE key LIMIT 10 PER 1s COST 3".split(separator: " ").map { Array($0.utf8) })
        #expect(cache.find(list, at: 2) == nil)
        let first = read(["LIMIT", "10", "PER", "1s", "COST", "3"], cache)
        guard let entry = cache.find(list, at: 2) else {
            Issue.record("not kept")
            return
        }
        #expect(entry.pointee.arguments == 4 && entry.pointee.limit == first.limit)
        // A different cost is parsed; a different limit with the same prefix is a miss.
        #expect(read(["LIMIT", "10", "PER", "1s"], cache).demand == .one)
        #expect(read(["LIMIT", "10", "PER", "1s", "BURST", "2"], cache).limit?.capacity == 2)
        #expect(read(["LIMIT", "10", "PER", "1s"], cache).limit == first.limit)
    }

    @Test func longLimitsAreNotCached() {
        let cache = LimitCache()
        let list = ArgumentList()
        // At most ten arguments, and a bounded number of bytes.
        let long = ["LIMIT", "10", "PER", String(repeating: "0", count: 200)]
        #expect(read(long, cache).problem != "")
        list.load((["RL.TAKE", "key"] + long).map { Array($0.utf8) })
        cache.keep(try! Limit(.gcra, units: 1, period: 1), [], list, from: 2, to: 6)
        #expect(cache.find(list, at: 2) == nil)
    }
}
