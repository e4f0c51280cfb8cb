import Glibc
import Synchronization
import System
import TestSupport
import Testing

@testable import RespServer

@Suite struct LogTests {
    /// 2026-11-21T03:37:32.123Z
    private static let now: Int64 = 1_795_232_252_123

    private func text(_ message: String, _ fields: LogFields = [:], _ format: Log.Format = .text) -> String {
        let line = LogLine(timeMilliseconds: LogTests.now, level: .notice, message: message, fields: fields)
        return String(decoding: line.bytes(format), as: UTF8.self)
    }

    private let start = "2026-11-21T03:37:32.123Z notice  "

    @Test func textLine() {
        #expect(
            text("server started", ["port": 6379, "io_threads": 2]) == start
                + "server started  port=6379 io_threads=2\n")
        #expect(text("ready") == start + "ready\n")
        let values: LogFields = ["yes": true, "ratio": 0.5, "path": .string("/a/b"), "sum": "\(1 + 1)"]
        #expect(text("m", values) == start + "m  yes=true ratio=0.5 path=/a/b sum=2\n")
    }

    @Test func levelsLineUp() {
        for level in Log.Level.allCases {
            let line = LogLine(timeMilliseconds: 0, level: level, message: "m", fields: [:]).bytes(.text)
            #expect(line.firstIndex(of: UInt8(ascii: "m")) == nil || line[33] == UInt8(ascii: "m"))
            #expect(line.count == 35)
        }
    }

    @Test(arguments: [
        ("", "\"\""), ("a b", "\"a b\""), ("a\"b", "\"a\\\"b\""), ("a\\b", "\"a\\\\b\""), ("a=b", "\"a=b\""),
        ("a\r\nb", "\"a\\r\\nb\""), ("\t\u{0}\u{1B}[0m\u{7F}", "\"\\t\\x00\\x1b[0m\\x7f\""),
        ("\u{9B}1m", "\"\\xc2\\x9b1m\""), ("größe", "größe"), ("🙂", "🙂"),
    ])
    func valuesStayOneWordOnOneLine(value: String, written: String) {
        #expect(text("m", ["v": .string(value)]) == start + "m  v=\(written)\n")
    }

    @Test func messagesStayOnOneLine() {
        #expect(text("a \"b\"\n2026 fake") == start + "a \"b\"\\n2026 fake\n")
    }

    @Test func jsonLine() {
        let fields: LogFields = [
            "port": 6379, "ok": false, "ratio": 1.5, "none": .double(.infinity),
            "s": .string("a\"\\\n\u{1}é\u{2028}\u{7F}"),
        ]
        #expect(
            text("say \"hi\"", fields, .json)
                == "{\"time\":\"2026-11-21T03:37:32.123Z\",\"level\":\"notice\",\"message\":"
                + "\"say \\\"hi\\\"\",\"port\":6379,"
                + "\"ok\":false,\"ratio\":1.5,\"none\":null,\"s\":\"a\\\"\\\\\\n\\u0001é\u{2028}\\u007f\"}\n")
    }

    @Test func longPartsAreCutBetweenCharacters() {
        let long = String(repeating: "é", count: 2000)
        let cut = String(repeating: "é", count: 1024) + "…"
        #expect(text(long) == start + cut + "\n")
        #expect(text("m", ["v": .string(long)]) == start + "m  v=\"\(cut)\"\n")
        #expect(text("x" + long).hasPrefix(start + "x" + String(repeating: "é", count: 1023) + "…"))
        #expect(text("m", ["v": .string(long)], .json).hasSuffix("\"v\":\"\(cut)\"}\n"))
    }

    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (951_868_799_999, "2000-02-29T23:59:59.999Z"), (951_868_800_000, "2000-03-01T00:00:00.000Z"),
        (4_107_542_399_001, "2100-02-28T23:59:59.001Z"), (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ])
    func timestamps(milliseconds: Int64, written: String) {
        #expect(LogLine.timestamp(milliseconds) == written)
    }

    /// Every day of 400 years against the C library.
    @Test func timestampsAgreeWithTheCLibrary() {
        for day in stride(from: -40_000, to: 110_000, by: 1) {
            var seconds = day * 86_400 + 3661
            var parts = tm()
            gmtime_r(&seconds, &parts)
            let written = LogLine.timestamp(Int64(seconds) * 1000 + 7)
            let numbers = written.split { !$0.isNumber }.compactMap { Int($0) }
            let expected = [Int(parts.tm_year) + 1900, Int(parts.tm_mon) + 1, Int(parts.tm_mday), 1, 1, 1, 7]
            guard numbers == expected else {
                Issue.record("day \(day): \(written), the C library returns \(expected)")
                return
            }
        }
    }

    // MARK: Files

    private func withLogFile(_ body: (String) throws -> Void) throws {
        let directory = TemporaryDirectory("log")
        try body(directory.file("log"))
    }

    private func lines(_ path: String) throws -> [String] {
        String(decoding: try ConfigFile.read(path), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test func appendsToTheFile() throws {
        try withLogFile { path in
            for word in ["one", "two"] {
                let log = try Log(path: path, wallClock: { LogTests.now })
                log.notice("\(word)", ["n": 1])
            }
            #expect(try lines(path) == [start + "one  n=1", start + "two  n=1"])
        }
    }

    @Test func levelAndFormatChangeAtRunTime() throws {
        try withLogFile { path in
            let log = try Log(path: path, wallClock: { LogTests.now })
            var built = 0
            func message() -> String {
                built += 1
                return "m\(built)"
            }
            log.debug(message(), ["n": .integer(built)])
            log.verbose(message())
            #expect(built == 0, "a line below the level is not built")
            log.setLevel(.debug)
            log.debug(message())
            log.setLevel(.warning)
            log.notice(message())
            log.setFormat(.json)
            log.warning(message())
            #expect(log.level == .warning && log.format == .json)
            #expect(log.writes(.warning) && !log.writes(.notice))
            let time = "2026-11-21T03:37:32.123Z"
            #expect(
                try lines(path) == [
                    "\(time) debug   m1", "{\"time\":\"\(time)\",\"level\":\"warning\",\"message\":\"m2\"}",
                ])
        }
    }

    @Test func reopenFollowsARenamedFile() throws {
        try withLogFile { path in
            let log = try Log(path: path)
            log.notice("before")
            #expect(rename(path, path + ".1") == 0)
            log.notice("still the old file")
            log.reopen()
            log.notice("after")
            #expect(try lines(path + ".1").count == 2)
            #expect(try lines(path).map { String($0.dropFirst(33)) } == ["log file reopened", "after"])
        }
    }

    @Test func aFileThatCannotBeOpenedIsNamed() throws {
        let error = #expect(throws: LogFileError.self) { try Log(path: "/nonexistent/x.log") }
        #expect(error?.text == "cannot open log file '/nonexistent/x.log': No such file or directory")
    }

    @Test(arguments: [(S_IFIFO, "it is a FIFO that no process reads"), (S_IFSOCK, "it is a socket")])
    func filesThatWouldBlockAreRefused(kind: mode_t, reason: String) throws {
        try withLogFile { path in
            try #require(mknod(path, kind | 0o600, 0) == 0)
            let error = #expect(throws: LogFileError.self) { try Log(path: path) }
            #expect(error?.reason == reason)
        }
    }

    @Test func aFailedReopeningKeepsTheFile() throws {
        try withLogFile { path in
            let log = try Log(path: path)
            #expect(rename(path, path + ".1") == 0 && mkfifo(path, 0o600) == 0)
            log.reopen()
            let written = try lines(path + ".1")
            #expect(written.count == 1 && written[0].contains("cannot reopen the log file"))
        }
    }

    /// While the output is stalled, no caller blocks; lines that do not fit are dropped, and their number is logged
    /// in their place.
    @Test func aStalledOutputBlocksNoCaller() async throws {
        var ends: [CInt] = [0, 0]
        try #require(pipe(&ends) == 0)
        let (output, input) = (ends[0], ends[1])
        let log = try Log(path: "/dev/fd/\(input)", queueBytesMax: 10_000, wallClock: { LogTests.now })
        close(input)
        log.start()
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<4 {
                group.addTask {
                    for index in 0..<2000 { log.notice("line", ["task": .integer(task), "n": .integer(index)]) }
                }
            }
        }
        // The thread may have just taken the whole queue, to wait for the reader with it.
        var more = 0
        while log.queuedLines == 0 {
            log.notice("line")
            more += 1
        }
        #expect(log.droppedLines > 0)
        log.flush(atMost: .milliseconds(10))
        let dropped = log.droppedLines
        // A thread of its own: tests that wait may occupy all threads of the pool.
        let (texts, reader) = AsyncStream<[String]>.makeStream()
        Thread.detach(name: "reader") {
            reader.yield(readToEnd(output, until: "last line"))
            reader.finish()
        }
        // While anything is queued, the last line might be dropped.
        let deadline = SteadyInstant.now() + .seconds(60)
        while log.queuedLines > 0 {
            try #require(SteadyInstant.now() < deadline, "the reader reads")
            log.flush(atMost: .seconds(1))
        }
        log.notice("last line")
        let written = try #require(await texts.first { _ in true })
        log.flush(atMost: .seconds(60))
        let notes = written.filter { $0.contains("log lines dropped") }
        let missing = notes.compactMap { Int($0.split(separator: "=").last ?? "") }.reduce(0, +)
        #expect(missing == dropped && written.count - notes.count - 1 + dropped == 8000 + more)
        #expect(log.queuedLines == 0 && log.failedWrites == 0)
        for task in 0..<4 {
            let numbers = written.filter { $0.contains("task=\(task) ") }.compactMap {
                Int($0.split(separator: "=").last ?? "")
            }
            #expect(numbers == numbers.sorted(), "lines of one caller keep their order")
        }
        close(output)
    }

    @Test func failedWritesAreCountedAndDropped() throws {
        let log = try Log(path: "/dev/full")
        log.notice("a")
        log.notice("b")
        log.debug("below the level")
        #expect(log.failedWrites == 2)
    }

    @Test func linesOfManyThreadsStayWhole() async throws {
        let directory = TemporaryDirectory("log")
        defer { withExtendedLifetime(directory) {} }
        let path = directory.file("log")
        let log = try Log(path: path, wallClock: { LogTests.now })
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<4 {
                group.addTask {
                    for index in 0..<500 { log.notice("line", ["task": .integer(task), "n": .integer(index)]) }
                }
            }
        }
        let written = try lines(path)
        #expect(written.count == 2000 && Set(written).count == 2000)
        #expect(written.allSatisfy { $0.hasPrefix(start + "line  task=") })
    }
}

/// Reads lines from a pipe up to and including one that contains `text`.
private func readToEnd(_ descriptor: CInt, until text: String) -> [String] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(descriptor, &buffer, buffer.count)
        guard count > 0 else { break }
        bytes += buffer[..<count]
        if buffer[count - 1] == 0x0A, String(decoding: bytes, as: UTF8.self).contains(text) { break }
    }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
}
