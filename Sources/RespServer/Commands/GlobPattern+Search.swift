// Finding a segment of a glob pattern in a text, in time that does not multiply the two.
//
//   literal                  Knuth, Morris and Pratt: no byte of the text is looked at more than twice
//   short, or a short text   every place is tried: at most `tryMax` parts a byte
//   long, with ? or classes  all places at once, a bit for each part (Baeza-Yates and Gonnet): a step a byte for every
//                            64 parts, after a table of 256 rows has been made
//
// A pattern has at most `GlobPattern.lengthMax` parts, so a byte of text never costs more than `tryMax` steps.

extension GlobPattern {
    /// Parts that are tried at every place without a table.
    static let tryMax = 16
    /// Most steps that matching a text of so many bytes may take: each byte, the ends of the text, and the tables of
    /// all segments, in which a class sets up to 256 bits.
    static func stepsMax(textLength: Int) -> Int { tryMax * textLength + 2 * lengthMax + 256 * lengthMax }

    /// Whether the segment takes the bytes from `position` on, which are there.
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

    /// The first place within a range at which the segment fits.
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
                // Each byte lengthens what fits by one at most, and each look at a border shortens it.
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

    // MARK: All places at once

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
            // Bit n of a byte's row: part n takes this byte. Bit n of `state`: the last n + 1 bytes fit parts 0 to n.
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
        // What takes any byte is the same in every row.
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
