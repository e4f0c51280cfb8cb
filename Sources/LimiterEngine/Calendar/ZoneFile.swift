// Parses a zone file: TZif of RFC 8536, versions 2, 3 and 4.
//
// The bytes are untrusted: every count is checked against the rest of the file before it is used, and the first fault
// is an error that names it. The block of 32-bit times is skipped; of abbreviations and indicators only the lengths are
// checked.

/// The contents of a zone file.
struct ZoneFile {
    /// Upper bound on a file's length. The longest in the database are below 4 KiB.
    static let lengthMax = 65_536

    /// An instant from which another local time type is in force.
    struct Transition {
        /// Seconds since the epoch: anything that 64 bits hold.
        var second: Int
        var type: Int
    }

    private(set) var transitions: [Transition] = []
    /// Offsets of the local time types, in seconds east of UTC. At least one.
    private(set) var offsets: [Int] = []
    /// The rule from the last transition on; nil when the file has none.
    private(set) var rule: RecurringRule?

    init(_ bytes: [UInt8]) throws(ZoneFileError) {
        guard bytes.count <= ZoneFile.lengthMax else { throw .tooLong(bytes.count) }
        var reader = ByteReader(bytes)
        let first = try Header(&reader, .firstHeader)
        _ = try reader.take(first.blockLength(timeSize: 4), .firstBlock)
        let second = try Header(&reader, .secondHeader)
        guard first.version == second.version else { throw .versionsDiffer }
        try second.check()
        try readBlock(second, &reader)
        try readFooter(&reader)
    }

    private mutating func readBlock(_ header: Header, _ reader: inout ByteReader) throws(ZoneFileError) {
        let times = try reader.take(header.transitions * 8, .transitions)
        let types = try reader.take(header.transitions, .transitions)
        transitions.reserveCapacity(header.transitions)
        for (number, type) in types.enumerated() {
            let begin = times.startIndex + number * 8
            let second = Int(truncatingIfNeeded: bigEndian(times[begin..<begin + 8]))
            guard Int(type) < header.types else { throw .unknownType(transition: number) }
            if let last = transitions.last, last.second >= second { throw .unorderedTransition(number) }
            transitions.append(Transition(second: second, type: Int(type)))
        }
        let records = try reader.take(header.types * 6, .localTimeTypes)
        for number in 0..<header.types {
            let begin = records.startIndex + number * 6
            let offset = Int(Int32(truncatingIfNeeded: bigEndian(records[begin..<begin + 4])))
            guard (-89_999...93_599).contains(offset) else { throw .badOffset(type: number) }
            guard records[begin + 4] <= 1 else { throw .badDaylightFlag(type: number) }
            guard records[begin + 5] < header.designationBytes else { throw .badDesignation(type: number) }
            offsets.append(offset)
        }
        guard try reader.take(header.designationBytes, .designations).last == 0 else { throw .unterminatedDesignations }
        _ = try reader.take(header.standardIndicators + header.utcIndicators, .indicators)
    }

    private mutating func readFooter(_ reader: inout ByteReader) throws(ZoneFileError) {
        let newline = UInt8(ascii: "\n")
        guard try reader.take(1, .footer).first == newline else { throw .truncated(.footer) }
        let rest = reader.rest
        guard let end = rest.firstIndex(of: newline) else { throw .truncated(.footer) }
        guard end == rest.endIndex - 1 else { throw .trailingBytes(rest.endIndex - end - 1) }
        guard end > rest.startIndex else { return }
        do throws(ZoneRuleError) {
            rule = try RecurringRule(rest[..<end])
        } catch {
            throw .badRule(error)
        }
    }
}

/// The 44-byte header before a block.
private struct Header {
    let version: UInt8
    let utcIndicators: Int
    let standardIndicators: Int
    let leapSeconds: Int
    let transitions: Int
    let types: Int
    let designationBytes: Int

    init(_ reader: inout ByteReader, _ part: ZoneFileError.Part) throws(ZoneFileError) {
        let bytes = try reader.take(44, part)
        let begin = bytes.startIndex
        guard bytes[begin..<begin + 4].elementsEqual("TZif".utf8) else { throw .badMagic(part) }
        version = bytes[begin + 4]
        guard (UInt8(ascii: "2")...UInt8(ascii: "4")).contains(version) else { throw .unsupportedVersion(version) }
        // Fifteen bytes are reserved. Counts have 32 bits, so sums and products of them fit 64.
        func count(_ number: Int) -> Int { Int(bigEndian(bytes[begin + 20 + 4 * number..<begin + 24 + 4 * number])) }
        utcIndicators = count(0)
        standardIndicators = count(1)
        leapSeconds = count(2)
        transitions = count(3)
        types = count(4)
        designationBytes = count(5)
    }

    func blockLength(timeSize: Int) -> Int {
        transitions * (timeSize + 1) + types * 6 + designationBytes + leapSeconds * (timeSize + 4)
            + standardIndicators + utcIndicators
    }

    /// The format's constraints on the counts of a block that is read.
    func check() throws(ZoneFileError) {
        guard (1...256).contains(types) else { throw .badCount(.localTimeTypes) }
        guard designationBytes > 0 else { throw .badCount(.designations) }
        guard leapSeconds == 0 else { throw .countsLeapSeconds }
        guard [0, types].contains(standardIndicators), [0, types].contains(utcIndicators) else {
            throw .badCount(.indicators)
        }
    }
}

private struct ByteReader {
    private(set) var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    mutating func take(_ count: Int, _ part: ZoneFileError.Part) throws(ZoneFileError) -> ArraySlice<UInt8> {
        guard count <= rest.count else { throw .truncated(part) }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }
}

private func bigEndian(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }

extension ZoneRules {
    /// The rules of a zone file's bytes.
    public convenience init(file bytes: [UInt8]) throws(ZoneFileError) {
        let file = try ZoneFile(bytes)
        // Before the first transition, type 0 is in force.
        var offset = file.offsets[0]
        var changes: [(begin: Int, offset: Int)] = []
        for transition in file.transitions where transition.second <= ZoneRules.seconds.upperBound {
            if transition.second > ZoneRules.seconds.lowerBound {
                changes.append((transition.second, file.offsets[transition.type]))
            } else {
                offset = file.offsets[transition.type]
            }
        }
        // The recurring rule applies from the last transition itself.
        let last = max(file.transitions.last?.second ?? Int.min, ZoneRules.seconds.lowerBound)
        if let rule = file.rule, last <= ZoneRules.seconds.upperBound {
            let recurring = rule.changes(from: last, to: ZoneRules.seconds.upperBound)
            if changes.isEmpty { offset = recurring[0].offset } else { changes.removeLast() }
            changes += recurring
        }
        self.init(offset: offset, changes: changes)
    }
}
