// Batches, headers, manifests and marks as bytes, and the resulting files: round trips, truncation, flipped bits,
// absurd values.

import Glibc
import LimiterEngine
import Testing

@testable import Persistence

/// `bytes` with one bit flipped.
private func flipped(_ bytes: [UInt8], bit: Int) -> [UInt8] {
    var bytes = bytes
    bytes[bit / 8] ^= 1 << UInt8(bit % 8)
    return bytes
}

private func little<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
}

private func crc(_ bytes: some Collection<UInt8>) -> UInt32 { Array(bytes).withUnsafeBytes { Checksum.crc32c($0) } }

@Suite struct ChecksumTests {
    @Test func isCastagnolis() {
        #expect(crc("123456789".utf8) == 0xE306_9283)
        #expect(crc([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(crc([]) == 0)
        let bytes = (0..<100).map { UInt8($0) }
        for cut in 0...100 {
            bytes.withUnsafeBytes { all in
                let first = Checksum.crc32c(UnsafeRawBufferPointer(rebasing: all[..<cut]))
                #expect(Checksum.crc32c(UnsafeRawBufferPointer(rebasing: all[cut...]), continuing: first) == crc(bytes))
            }
        }
    }
}

@Suite struct FileHeaderTests {
    private let header = FileHeader(
        content: .snapshot, number: 0x0102, journalOffset: 0x0304, time: EngineTime(nanoseconds: 0x0506), keys: 0x07)

    private func decode(_ bytes: [UInt8], _ content: FileHeader.Content = .snapshot) throws(HeaderError) -> FileHeader {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { memory.deallocate() }
        memory.copyBytes(from: bytes)
        return try FileHeader(UnsafeRawBufferPointer(memory), expecting: content)
    }

    /// Adds a valid checksum, whatever the contents.
    private func signed(_ bytes: [UInt8]) -> [UInt8] { Array(bytes.prefix(52)) + little(crc(bytes.prefix(52))) }

    @Test func roundTrip() throws {
        #expect(try decode(header.encoded()) == header)
        let largest = (1 << 62) - 1
        let log = FileHeader(
            content: .log, number: largest, journalOffset: Int64(largest), time: EngineTime(nanoseconds: .max))
        #expect(try decode(log.encoded(), .log) == log)
        let bytes =
            Array("ESCAPSNP".utf8) + little(UInt32(1)) + little(UInt32(0)) + little(Int64(0x0102))
            + little(Int64(0x0304)) + little(Int64(0x0506)) + little(Int64(7)) + little(UInt32(0))
        #expect(header.encoded() == signed(bytes))
        #expect(log.encoded().prefix(8).elementsEqual("ESCAPLOG".utf8))
    }

    @Test func truncatedFlippedOrOfAnotherKind() {
        let bytes = header.encoded()
        for count in 0..<bytes.count { #expect(throws: HeaderError.self) { try decode(Array(bytes.prefix(count))) } }
        for bit in 0..<bytes.count * 8 { #expect(throws: HeaderError.self) { try decode(flipped(bytes, bit: bit)) } }
        #expect(throws: HeaderError.self) { try decode(bytes, .log) }
    }

    @Test func fieldsOutOfRange() throws {
        let bytes = header.encoded()
        func with(_ field: [UInt8], at offset: Int) -> [UInt8] {
            signed(Array(bytes.prefix(offset)) + field + bytes.dropFirst(offset + field.count))
        }
        for version in [0, 2, UInt32.max] {
            let error = #expect(throws: HeaderError.self) { try decode(with(little(version), at: 8)) }
            #expect(error?.reason.contains("version \(version)") == true)
        }
        for offset in [16, 24, 32, 40] {
            #expect(throws: HeaderError.self) { try decode(with(little(Int64(-1)), at: offset)) }
            #expect(throws: HeaderError.self) { try decode(with(little(Int64.min), at: offset)) }
            guard offset < 32 else { continue }
            #expect(throws: HeaderError.self) { try decode(with(little(Int64(1) << 62), at: offset)) }
        }
        #expect(throws: HeaderError.self) { try decode(with(little(Int64(0)), at: 16)) }
    }
}

@Suite struct SyncMarkTests {
    @Test func roundTripsAndRefusesEverythingElse() {
        for offset in [0, 1, 0x0102_0304_0506_0708, (Int64(1) << 62) - 1] {
            let bytes = SyncMark.encoded(offset)
            #expect(bytes == little(offset) + little(crc(little(offset))))
            #expect(SyncMark.decode(bytes) == offset)
            for count in 0..<bytes.count { #expect(SyncMark.decode(Array(bytes.prefix(count))) == nil) }
            for bit in 0..<bytes.count * 8 { #expect(SyncMark.decode(flipped(bytes, bit: bit)) == nil) }
            #expect(SyncMark.decode(bytes + [0]) == nil)
        }
        #expect(SyncMark.decode(SyncMark.encoded(-1)) == nil)
        #expect(SyncMark.decode(SyncMark.encoded(1 << 62)) == nil)
    }
}

@Suite struct ManifestTests {
    private static let history = String(repeating: "0123456789abcdef", count: 2) + "01234567"
    private let manifest = Manifest(
        history: Self.history, snapshot: .init(number: 7, offset: 500),
        logs: [.init(number: 6, offset: 400), .init(number: 8, offset: 900), .init(number: 9, offset: 900)])

    private func text(_ lines: [String]) -> [UInt8] {
        let body = lines.map { $0 + "\n" }.joined()
        let digits = String(crc(body.utf8), radix: 16)
        let padded = String(repeating: "0", count: 8 - digits.count) + digits
        return Array((body + "checksum \(padded)\n").utf8)
    }

    private func line(ofErrorIn lines: [String]) -> Int? {
        #expect(throws: ManifestError.self, "\(lines)") { _ = try Manifest(text(lines)) }?.line
    }

    @Test func roundTrip() throws {
        let lines = [
            "escapement-manifest 1", "history \(Self.history)", "snapshot 7 500", "log 6 400", "log 8 900", "log 9 900",
        ]
        #expect(manifest.encoded() == text(lines))
        #expect(try Manifest(manifest.encoded()) == manifest)
        #expect(manifest.largestNumber == 9)
        #expect(manifest.fileNames == ["snapshot-7", "log-6", "log-8", "log-9"])
        let empty = Manifest(history: Self.history)
        #expect(try Manifest(empty.encoded()) == empty)
        let most = (1 << 62) - 1
        let largest = Manifest(
            history: Self.history, snapshot: .init(number: most, offset: Int64(most)),
            logs: [.init(number: most, offset: Int64(most))])
        #expect(try Manifest(largest.encoded()) == largest)
    }

    @Test func everyTruncation() {
        let bytes = manifest.encoded()
        for count in 0..<bytes.count {
            #expect(throws: ManifestError.self) { _ = try Manifest(Array(bytes.prefix(count))) }
        }
        #expect(throws: ManifestError.self) { _ = try Manifest(bytes + [0x0A]) }
        #expect(throws: ManifestError.self) { _ = try Manifest(bytes + bytes) }
    }

    @Test func everyFlippedBitIsRefusedOrChangesNothing() {
        let bytes = manifest.encoded()
        for bit in 0..<bytes.count * 8 {
            do throws(ManifestError) {
                // Only an upper-case letter in the checksum is accepted.
                #expect(try Manifest(flipped(bytes, bit: bit)) == manifest)
                #expect(bit / 8 > bytes.count - 10)
            } catch {
                #expect(error.line >= 1 && error.line <= 9)
            }
        }
    }

    @Test func linesThatDoNotBelong() {
        let first = ["escapement-manifest 1", "history \(Self.history)"]
        #expect(line(ofErrorIn: ["escapement-manifest 2", first[1]]) == 1)
        #expect(line(ofErrorIn: ["", first[1]]) == 1)
        #expect(line(ofErrorIn: [first[0], "history \(Self.history.dropLast())"]) == 2)
        #expect(line(ofErrorIn: [first[0], "history \(Self.history.uppercased())"]) == 2)
        #expect(line(ofErrorIn: [first[0], "history  \(Self.history)"]) == 2)
        #expect(line(ofErrorIn: [first[0]]) != nil)
        let wrong = [
            "log 1", "log 1 0 0", "log  1 0", "log 1 0 ", "log 0 0", "log -1 0", "log +1 0", "log 01 0", "log 1 -1",
            "log 1 00", "log x 0", "log 1 99999999999999999999", "snapshot 4611686018427387904 0",
            "Log 1 0", "", "log 1 1", "checksum 00000000", "log 1\u{A0}0", "log ١ 0",
        ]
        for line in wrong { #expect(self.line(ofErrorIn: first + [line]) == 3, "\(line)") }
        #expect(line(ofErrorIn: first + ["log 1 0", "snapshot 2 0"]) == 4)
        #expect(line(ofErrorIn: first + ["snapshot 2 5", "snapshot 3 6"]) == 4)
        #expect(line(ofErrorIn: first + ["snapshot 2 5", "log 3 6"]) == 4)
        #expect(line(ofErrorIn: first + ["log 1 0", "log 1 5"]) == 4)
        #expect(line(ofErrorIn: first + ["log 1 0", "log 2 5", "log 3 4"]) == 5)
    }

    /// The minimum CPU time of this thread over five runs of `body`: other threads and processes do not count, and
    /// cache effects do not occur in all five runs.
    private static func processorTime(_ body: () throws -> Void) rethrows -> Int {
        func used() -> Int {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return time.tv_sec * 1_000_000_000 + time.tv_nsec
        }
        var least = Int.max
        for _ in 0..<5 {
            let began = used()
            try body()
            least = min(least, used() - began)
        }
        return least
    }

    /// A manifest of the maximum size. Parsing four times as many lines takes about four times as long, not sixteen.
    @Test func asLargeAsCanBe() throws {
        let first = ["escapement-manifest 1", "history \(Self.history)"]
        let many = text(first + (1...70_000).map { "log \($0) \($0 - 1)" })
        #expect(many.count > Manifest.bytesMax)
        #expect(throws: ManifestError.self) { _ = try Manifest(many) }
        let fewer = text(first + (1...60_000).map { "log \($0) \($0 - 1)" })
        #expect(fewer.count < Manifest.bytesMax && fewer.count > Manifest.bytesMax * 3 / 4)
        let quarter = text(first + (1...15_000).map { "log \($0) \($0 - 1)" })
        var times: [Int] = []
        for (text, count) in [(quarter, 15_000), (fewer, 60_000)] {
            times.append(
                try Self.processorTime {
                    let found = try Manifest(text).logs.count
                    #expect(found == count)
                })
        }
        #expect(times[1] < 10 * times[0], "nanoseconds: \(times)")
    }
}
