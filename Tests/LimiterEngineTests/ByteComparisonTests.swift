// Bytes are compared in overlapping words: every length around the word sizes, and a difference at every position.

import Testing

@testable import LimiterEngine

@Suite struct ByteComparisonTests {
    @Test func everyDifferenceIsDetected() {
        for count in 0...80 {
            let left = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 11) }
            var right = left
            #expect(areEqual(left, right), "\(count) bytes")
            for position in 0..<count {
                right[position] ^= 0x80
                #expect(!areEqual(left, right), "\(count) bytes, difference at \(position)")
                right[position] ^= 0x80
            }
        }
    }

    private func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        // At odd addresses, surrounded by irrelevant bytes.
        ([1] + left + [2]).withUnsafeBytes { left in
            ([3] + right + [4]).withUnsafeBytes { right in
                bytesAreEqual(left.baseAddress! + 1, right.baseAddress! + 1, count: left.count - 2)
            }
        }
    }
}
