// What is wrong with a zone file.

/// Why bytes are not a usable zone file (TZif, RFC 8536).
public enum ZoneFileError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A part of the file, in file order.
    public enum Part: String, Sendable {
        /// The header of the block with 32-bit times.
        case firstHeader = "the first header"
        /// The block with 32-bit times, which is skipped.
        case firstBlock = "the block of 32-bit times"
        /// The header of the block with 64-bit times.
        case secondHeader = "the second header"
        /// The instants at which the local time type changes, and to which.
        case transitions = "the transitions"
        /// Offsets from UTC.
        case localTimeTypes = "the local time types"
        /// Abbreviations of the types.
        case designations = "the designations"
        /// Leap seconds.
        case leapSeconds = "the leap seconds"
        /// Whether transitions were given in standard time or UTC.
        case indicators = "the standard and UT indicators"
        /// The rule for times after the last transition.
        case footer = "the footer"
    }

    /// More bytes than a zone file may have.
    case tooLong(Int)
    /// The file ends within a part.
    case truncated(Part)
    /// A header does not begin with `TZif`.
    case badMagic(Part)
    /// Not version 2, 3 or 4. Version 1 has no times after 2038.
    case unsupportedVersion(UInt8)
    /// The headers are of different versions.
    case versionsDiffer
    /// A count that the format does not allow.
    case badCount(Part)
    /// The file counts leap seconds, which no clock of this server does.
    case countsLeapSeconds
    /// A transition that is not after the one before it; its number from 0.
    case unorderedTransition(Int)
    /// A transition to a type that does not exist.
    case unknownType(transition: Int)
    /// A type whose offset is not within -24:59:59 to 25:59:59.
    case badOffset(type: Int)
    /// A type whose daylight flag is neither 0 nor 1.
    case badDaylightFlag(type: Int)
    /// A type whose designation begins after the designations' end.
    case badDesignation(type: Int)
    /// Designations that do not end with a zero byte.
    case unterminatedDesignations
    /// The footer's rule cannot be read.
    case badRule(ZoneRuleError)
    /// Bytes that follow the footer.
    case trailingBytes(Int)

    /// What is wrong.
    public var description: String {
        switch self {
        case .tooLong(let count): "\(count) bytes, at most \(ZoneFile.lengthMax) are allowed"
        case .truncated(let part): "the file ends within \(part.rawValue)"
        case .badMagic(let part): "\(part.rawValue) does not begin with TZif"
        case .unsupportedVersion(let byte):
            byte == 0 ? "version 1 is not supported" : "version byte \(byte) is not supported"
        case .versionsDiffer: "the headers are of different versions"
        case .badCount(let part): "the header has an impossible count of \(part.rawValue)"
        case .countsLeapSeconds: "the file counts leap seconds"
        case .unorderedTransition(let number): "transition \(number) is not after the one before it"
        case .unknownType(let number): "transition \(number) is to a local time type that does not exist"
        case .badOffset(let number): "the offset of local time type \(number) is more than a day from UTC"
        case .badDaylightFlag(let number): "the daylight flag of local time type \(number) is neither 0 nor 1"
        case .badDesignation(let number): "the designation of local time type \(number) is outside of the designations"
        case .unterminatedDesignations: "the designations do not end with a zero byte"
        case .badRule(let error): "the footer's rule is wrong: \(error)"
        case .trailingBytes(let count): "\(count) bytes follow the footer"
        }
    }
}

/// Why a footer's rule cannot be parsed: what is missing, and the position of the byte, from 0, at which it is.
public struct ZoneRuleError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is required at the position.
    public enum Expected: String, Sendable {
        /// Three or more letters, or anything in angle brackets.
        case abbreviation = "an abbreviation"
        /// Up to 24 hours, minutes and seconds.
        case offset = "an offset (hours up to 24, minutes, seconds)"
        /// A comma: a zone with daylight saving time has rules.
        case comma = "a comma"
        /// `Jn`, `n` or `Mm.w.d`.
        case date = "a date (J1 to J365, 0 to 365, or M1.1.0 to M12.5.6)"
        /// Up to 167 hours, minutes and seconds.
        case time = "a time (hours up to 167, minutes, seconds)"
        /// Nothing more.
        case end = "the end"
    }

    /// What was expected.
    public let expected: Expected
    /// Where in the rule.
    public let position: Int

    /// What is wrong.
    public var description: String { "\(expected.rawValue) is missing at byte \(position)" }
}
