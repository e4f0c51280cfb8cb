// Builds zone files byte by byte.

/// The parts of a zone file: by default a valid one of version 2, with a single offset of one hour.
struct ZoneFileBuilder {
    struct LocalType {
        var offset: Int32
        var daylight: UInt8 = 0
        var designation: UInt8 = 0
    }

    var version = UInt8(ascii: "2")
    var secondVersion: UInt8?
    var transitions: [(second: Int64, type: UInt8)] = []
    var types = [LocalType(offset: 3600)]
    var designations = Array("CET\0".utf8)
    /// The count in both blocks' headers; more than the file contains if set.
    var leapSeconds = 0
    var standardIndicators = 0
    var utcIndicators = 0
    /// The footer's text, without the newlines around it.
    var footer = "CET-1"

    var bytes: [UInt8] {
        header(version, [0, 0, 0, 0, 1, 1]) + [0, 0, 0, 0, 0, 0] + [0]
            + header(
                secondVersion ?? version,
                [utcIndicators, standardIndicators, leapSeconds, transitions.count, types.count, designations.count])
            + transitions.flatMap { ZoneFileBuilder.bigEndian(UInt64(bitPattern: $0.second), 8) }
            + transitions.map(\.type)
            + types.flatMap {
                ZoneFileBuilder.bigEndian(UInt64(UInt32(bitPattern: $0.offset)), 4) + [$0.daylight, $0.designation]
            } + designations + [UInt8](repeating: 0, count: leapSeconds * 12 + standardIndicators + utcIndicators)
            + Array("\n\(footer)\n".utf8)
    }

    private func header(_ version: UInt8, _ counts: [Int]) -> [UInt8] {
        Array("TZif".utf8) + [version] + [UInt8](repeating: 0, count: 15)
            + counts.flatMap { ZoneFileBuilder.bigEndian(UInt64($0), 4) }
    }

    private static func bigEndian(_ value: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64(count - 1 - $0))) }
    }
}
