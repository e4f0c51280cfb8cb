// The slow log: its bounds, its order, and how it reports what it omits.

import RESP
import System
import Testing

@testable import RespServer

@Suite struct SlowLogTests {
    static func arguments(_ words: [String]) -> ArgumentList {
        let list = ArgumentList()
        list.load(words.map { Array($0.utf8) })
        return list
    }

    static func add(
        _ log: SlowLog, _ words: [String], took: Nanoseconds = .milliseconds(20), hidden: HiddenArguments = .none
    ) {
        log.add(
            arguments(words), hidden: hidden, took: took, unixSeconds: 1_700_000_000,
            clientAddress: "127.0.0.1:5000", clientName: "worker")
    }

    @Test func threshold() {
        let log = SlowLog(threshold: .microseconds(100))
        #expect(!log.isSlow(.microseconds(99)))
        #expect(log.isSlow(.microseconds(100)))
        log.threshold = .zero
        #expect(log.isSlow(.zero))
        log.threshold = .forever
        #expect(!log.isSlow(.seconds(1_000_000_000)))
    }

    @Test func keepsTheNewestFirst() {
        let log = SlowLog(lengthMax: 3)
        for index in 0..<8 { Self.add(log, ["get", "k\(index)"], took: .microseconds(index)) }
        #expect(log.count == 3)
        #expect(log.entries(-1).map(\.id) == [7, 6, 5])
        #expect(log.entries(2).map(\.took) == [.microseconds(7), .microseconds(6)])
        #expect(log.entries(0).isEmpty)
        #expect(log.entries(100).count == 3)
        let newest = log.entries(1)[0]
        #expect(newest.arguments == [Array("get".utf8), Array("k7".utf8)])
        #expect(newest.clientAddress == "127.0.0.1:5000" && newest.clientName == "worker")
        #expect(newest.unixSeconds == 1_700_000_000)
    }

    @Test func idsContinueAfterAReset() {
        let log = SlowLog()
        Self.add(log, ["get", "a"])
        log.reset()
        #expect(log.count == 0 && log.entries(-1).isEmpty)
        Self.add(log, ["get", "b"])
        #expect(log.entries(-1).map(\.id) == [1])
    }

    @Test func lengthChangesWhileInUse() {
        let log = SlowLog(lengthMax: 4)
        for index in 0..<6 { Self.add(log, ["get", "\(index)"]) }
        log.lengthMax = 2
        #expect(log.entries(-1).map(\.id) == [5, 4])
        log.lengthMax = 5
        for index in 0..<4 { Self.add(log, ["get", "\(index)"]) }
        #expect(log.entries(-1).map(\.id) == [9, 8, 7, 6, 5])
        log.lengthMax = 0
        Self.add(log, ["get", "x"])
        #expect(log.entries(-1).isEmpty)
        log.lengthMax = -5
        #expect(log.lengthMax == 0)
    }

    /// Redis's texts and limits: at most 32 arguments, the last one a note, of 128 bytes each.
    @Test func cutsArguments() {
        func cut(_ words: [String]) -> [String] {
            SlowLog.cut(Self.arguments(words), hidden: .none).map { String(decoding: $0, as: UTF8.self) }
        }
        let exact = (0..<32).map { "a\($0)" }
        #expect(cut(exact) == exact)
        let more = (0..<40).map { "a\($0)" }
        #expect(cut(more) == Array(more.prefix(31)) + ["... (9 more arguments)"])
        let long = String(repeating: "x", count: 128)
        #expect(cut(["get", long]) == ["get", long])
        #expect(cut(["get", long + "yz"]) == ["get", long + "... (2 more bytes)"])
    }

    @Test func hidesSecrets() {
        let log = SlowLog()
        Self.add(log, ["AUTH", "user", "secret"], hidden: .all)
        Self.add(log, ["CONFIG", "SET", "requirepass", "secret", "port", "1"], hidden: .some([3]))
        #expect(
            log.entries(2).map { $0.arguments.map { String(decoding: $0, as: UTF8.self) } } == [
                ["CONFIG", "SET", "requirepass", "(redacted)", "port", "1"], ["AUTH", "(redacted)", "(redacted)"],
            ])
    }

    @Test func severalThreadsLoseNothing() async {
        let log = SlowLog(lengthMax: 10_000)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask { for index in 0..<500 { Self.add(log, ["get", "\(index)"]) } }
            }
        }
        #expect(log.entries(-1).map(\.id) == Array((0..<2_000).reversed()))
    }
}
