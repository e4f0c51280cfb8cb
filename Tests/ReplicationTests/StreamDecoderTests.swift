// A stream decodes identically however it is split; a damaged stream is rejected.

import LimiterEngine
import Persistence
import TestSupport
import Testing

@testable import Replication

@Suite struct StreamDecoderTests {
    /// The decoded events, one word each.
    private func decode(_ decoder: StreamDecoder, _ pieces: [[UInt8]]) throws -> [String] {
        var words: [String] = []
        for piece in pieces {
            try piece.withUnsafeBytes { bytes in
                var rest = bytes
                while let event = try decoder.next(&rest) {
                    switch event {
                    case .header(let header): words.append("header@\(header.journalOffset)")
                    case .snapshotBatch(let batch, let bytes):
                        words.append("snapshot@\(batch.offset)+\(bytes.count):\(Checksum.crc32c(bytes))")
                    case .snapshotEnd(let keys, let wholeAt): words.append("end:\(keys):\(wholeAt)")
                    case .batch(let batch, let bytes):
                        words.append("batch@\(batch.offset)+\(bytes.count):\(Checksum.crc32c(bytes))")
                    }
                }
                #expect(rest.isEmpty)
            }
        }
        return words
    }

    private func fullStream() -> [UInt8] {
        let stream = TestStream()
        _ = stream.batch(0..<5)
        var bytes = Array(text: "\n\n") + stream.snapshot { stream.write(3..<4) }
        bytes += stream.drain()
        bytes += stream.emptyBatch() + stream.batch(7..<9)
        return bytes
    }

    @Test func everySplitDecodesIdentically() throws {
        let bytes = fullStream()
        let whole = try decode(StreamDecoder(), [bytes])
        #expect(whole.count == 7 && whole[0].hasPrefix("header@") && whole[3].hasPrefix("end:5:"))
        #expect(try decode(StreamDecoder(), bytes.map { [$0] }) == whole)
        for cut in 1..<bytes.count {
            #expect(try decode(StreamDecoder(), [Array(bytes[..<cut]), Array(bytes[cut...])]) == whole)
        }
        var random = SeededGenerator(seed: 5)
        for _ in 0..<300 {
            var pieces: [[UInt8]] = []
            var rest = bytes[...]
            while !rest.isEmpty {
                pieces.append(Array(rest.prefix(1 + random.below(60))))
                rest = rest.dropFirst(pieces.last!.count)
            }
            #expect(try decode(StreamDecoder(), pieces) == whole)
        }
    }

    /// Whatever byte is damaged, the decoder emits nothing that was not in the original stream, and nothing after an
    /// error.
    @Test func everyDamagedByteIsDetected() throws {
        let bytes = Array(fullStream().dropFirst(2))
        let whole = try decode(StreamDecoder(), [bytes])
        for position in 0..<bytes.count {
            var damaged = bytes
            damaged[position] ^= 0x10
            let decoder = StreamDecoder()
            var words: [String] = []
            var failure: StreamError?
            damaged.withUnsafeBytes { buffer in
                for start in stride(from: 0, to: buffer.count, by: 10) {
                    let piece = Array(buffer[start..<min(start + 10, buffer.count)])
                    do {
                        words += try decode(decoder, [piece])
                    } catch {
                        failure = error as? StreamError
                        return
                    }
                }
            }
            #expect(words == Array(whole.prefix(words.count)))
            // After an increased length, the decoder waits for bytes that never arrive.
            #expect(failure != nil || words.count < whole.count)
            if failure != nil { #expect(throws: StreamError.self) { try decode(decoder, [[0]]) } }
        }
    }

    @Test func aStreamBeginsWhereItIsExpected() throws {
        let stream = TestStream(offset: 77)
        let bytes = stream.batch(0..<2) + stream.batch(2..<3)
        let decoder = StreamDecoder(offset: 77)
        #expect(try decode(decoder, [bytes]).count == 2)
        #expect(decoder.offset == 77 + Int64(bytes.count))
        #expect(throws: StreamError.self) { try decode(StreamDecoder(offset: 78), [bytes]) }
    }

    @Test func recordsAreAcceptedOnlyInTheirPlace() {
        let encoder = BatchEncoder(offset: 0)
        let empty = UnsafeRawBufferPointer(start: nil, count: 0)
        [UInt8](repeating: 0, count: 16).withUnsafeBytes {
            encoder.addControl(.endOfSnapshot, key: empty, body: $0)
        }
        encoder.end()
        let misplaced = Array(encoder.buffer.bytes)
        #expect(throws: StreamError.self) { try decode(StreamDecoder(offset: 0), [misplaced]) }

        func snapshot(_ fill: (BatchEncoder) -> Void) -> [UInt8] {
            let header = FileHeader(
                content: .snapshot, number: 1, journalOffset: 50, time: EngineTime(nanoseconds: 0)
            ).encoded()
            let encoder = BatchEncoder(offset: 0)
            fill(encoder)
            encoder.end()
            return header + Array(encoder.buffer.bytes)
        }
        func end(_ keys: UInt8, _ wholeAt: UInt8, _ encoder: BatchEncoder) {
            var body = [UInt8](repeating: 0, count: 16)
            (body[0], body[8]) = (keys, wholeAt)
            body.withUnsafeBytes { encoder.addControl(.endOfSnapshot, key: empty, body: $0) }
        }
        #expect(throws: Never.self) { try decode(StreamDecoder(), [snapshot { end(0, 50, $0) }]) }
        for bad in [
            snapshot { end(1, 50, $0) }, snapshot { end(0, 49, $0) }, snapshot { $0.addRemoval(KeyName(empty)) },
            snapshot { $0.addControl(.flushAll, key: empty, body: empty) },
            snapshot { $0.addControl(.endOfSnapshot, key: empty, body: empty) },
            snapshot {
                end(0, 50, $0)
                end(0, 50, $0)
            },
        ] {
            #expect(throws: StreamError.self) { try decode(StreamDecoder(), [bad]) }
        }
    }
}
