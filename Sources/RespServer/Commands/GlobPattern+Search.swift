// Searches a text for a segment of a glob pattern without taking O(text × pattern) time.
//
//   literal                  Knuth-Morris-Pratt: no byte of the text is compared more than twice
//   short, or a short text   brute force: at most `tryMax` parts per byte
//   long, with ? or classes  bit-parallel Shift-And (Baeza-Yates and Gonnet): one step per byte and 64 parts, after
//                            building a table of 256 rows
//
// A pattern has at most `GlobPattern.lengthMax` parts, so a byte of text never costs more than `tryMax` steps.

extension GlobPattern {
    /// Longest segment, in parts, that is searched by brute force.
    static let tryMax = 16
    /// Upper bound on the steps to match a text of this length: each byte, the ends of the text, and the tables of all
    /// segments, in which a class sets up to 256 bits.
    static func stepsMax(textLength: Int) -> Int { tryMax * textLength + 2 * lengthMax + 256 * lengthMax }

    /// Whether the segment matches the bytes at `position`. The text must be long enough.
    @inline(__always)
    func fits(_ segment: Segment, _ text: UnsafeBufferPointer<UInt8>, at position: Int, steps: inout Int) -> Bool {
        for offset in 0..<segment.count {
            guard takes(parts[segment.start + offset], text[position + offset]) else {
                steps &+= offset + 1
                return false
            }
        }
        steps &+= segment.count
        return true
    }

    @inline(__always)
    private func takes(_ part: UInt16, _ byte: UInt8) -> Bool {
        if part < GlobPattern.any { return part == UInt16(fold(byte)) }
        return part == GlobPattern.any || classes[Int(part - GlobPattern.any - 1)].contains(byte)
    }

    /// The first position in a range at which the segment matches.
    func find(
        _ segment: Segment, _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, steps: inout Int
    ) -> Int? {
        guard range.count >= segment.count else { return nil }
        if segment.isLiteral { return findLiteral(segment, text, range, steps: &steps) }
        let places = range.count - segment.count + 1
        if segment.count <= GlobPattern.tryMax || places &* segment.count <= tableCost(segment) {
            for place in range.lowerBound..<range.lowerBound + places
            where fits(segment, text, at: place, steps: &steps) { return place }
            return nil
        }
        return findAllAtOnce(segment, text, range, steps: &steps)
    }

    private func findLiteral(
        _ segment: Segment, _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, steps: inout Int
    ) -> Int? {
        parts.withUnsafeBufferPointer { parts in
            borders.withUnsafeBufferPointer { borders in
                let (start, count) = (segment.start, segment.count)
                var length = 0
                var position = range.lowerBound
                // Each byte lengthens the match by at most one, and each step to a border shortens it.
                defer { steps &+= 2 * (position - range.lowerBound) }
                while position < range.upperBound {
                    let byte = UInt16(fold(text[position]))
                    position += 1
                    while length > 0, parts[start + length] != byte { length = Int(borders[start + length - 1]) }
                    if parts[start + length] == byte { length += 1 }
                    if length == count { return position - count }
                }
                return nil
            }
        }
    }

    // MARK: Shift-And

    private func tableCost(_ segment: Segment) -> Int {
        let classes = parts[segment.start..<segment.start + segment.count].count { $0 > GlobPattern.any }
        return 256 * words(segment) + 256 * classes + segment.count
    }

    private func words(_ segment: Segment) -> Int { (segment.count + 63) / 64 }

    private func findAllAtOnce(
        _ segment: Segment, _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, steps: inout Int
    ) -> Int? {
        let words = words(segment)
        steps &+= tableCost(segment)
        return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 257 * words) { memory in
            // Bit n of a byte's row: part n matches the byte. Bit n of `state`: the last n + 1 bytes match parts 0...n.
            let state = UnsafeMutableBufferPointer(rebasing: memory[..<words])
            let rows = UnsafeMutableBufferPointer(rebasing: memory[words...])
            fill(rows, segment, words: words)
            state.initialize(repeating: 0)
            let (lastWord, lastBit) = ((segment.count - 1) / 64, UInt64((segment.count - 1) % 64))
            for position in range {
                let row = Int(text[position]) * words
                var carry: UInt64 = 1
                for word in 0..<words {
                    let shifted = state[word] << 1 | carry
                    carry = state[word] >> 63
                    state[word] = shifted & rows[row + word]
                }
                guard state[lastWord] >> lastBit & 1 == 0 else {
                    steps &+= words * (position - range.lowerBound + 1)
                    return position - segment.count + 1
                }
            }
            steps &+= words * range.count
            return nil
        }
    }

    private func fill(_ rows: UnsafeMutableBufferPointer<UInt64>, _ segment: Segment, words: Int) {
        // Parts that match any byte are the same in every row.
        rows.initialize(repeating: 0)
        for offset in 0..<segment.count where parts[segment.start + offset] == GlobPattern.any {
            rows[offset / 64] |= 1 << UInt64(offset % 64)
        }
        for byte in 1..<256 {
            for word in 0..<words { rows[byte * words + word] = rows[word] }
        }
        for offset in 0..<segment.count {
            let part = parts[segment.start + offset]
            guard part != GlobPattern.any else { continue }
            let word = offset / 64
            let bit: UInt64 = 1 << UInt64(offset % 64)
            guard part < GlobPattern.any else {
                let members = classes[Int(part - GlobPattern.any - 1)]
                for byte in 0..<256 where members.contains(UInt8(byte)) { rows[byte * words + word] |= bit }
                continue
            }
            let byte = UInt8(part)
            rows[Int(byte) * words + word] |= bit
            if ignoringCase, byte &- 0x61 < 26 { rows[Int(byte ^ 0x20) * words + word] |= bit }
        }
    }
}
