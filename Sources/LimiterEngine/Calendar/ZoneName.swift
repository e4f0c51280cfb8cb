// Names of time zones in commands and in durable data: a fixed offset or a name of the IANA database.
//
// Durable data contains the text of a name and never a number: numbers are local to this process. The text is
// canonical, so that two spellings of one offset are one zone: `Z`, `utc` and `-0000` are `UTC`, and `-0530` is
// `-05:30`.

/// The name of a zone, whether or not this machine has the zone.
public struct ZoneName: Hashable, Sendable, CustomStringConvertible {
    /// Longest name in bytes.
    public static let lengthMax = 64

    /// The canonical text, used in durable data and replies.
    public let text: String
    /// Minutes east of UTC; nil for a name of the database.
    public let offsetMinutes: Int?

    /// Offset 0: the default.
    public static let utc = ZoneName(offsetMinutes: 0)

    /// A fixed offset, within a day of UTC.
    init(offsetMinutes: Int) {
        precondition(abs(offsetMinutes) <= ZoneName.offsetMinutesMax)
        func twoDigits(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let size = abs(offsetMinutes)
        let text = "\(offsetMinutes < 0 ? "-" : "+")\(twoDigits(size / 60)):\(twoDigits(size % 60))"
        self.init(text: size == 0 ? "UTC" : text, offsetMinutes: offsetMinutes)
    }

    static let offsetMinutesMax = 23 * 60 + 59

    /// Parses a zone: `Z` or `UTC` in any case, `+hh:mm`, `-hhmm`, or a name such as `Europe/Berlin`. Names are
    /// case-sensitive.
    ///
    /// A name has at most 64 bytes, all of them letters, digits, `_`, `+`, `-` or `/`, begins with a capital letter, as
    /// all names of the database do, and has no empty part. So it cannot escape the database's directory, and it is
    /// neither `localtime`, which would be another zone on each node, nor one of the copies that count leap seconds
    /// (`right/…`).
    public init(_ bytes: some Collection<UInt8>) throws(ZoneNameError) {
        guard let first = bytes.first else { throw .empty }
        guard bytes.count <= ZoneName.lengthMax else { throw .tooLong(bytes.count) }
        let text = String(decoding: bytes, as: UTF8.self)
        if first == UInt8(ascii: "+") || first == UInt8(ascii: "-") {
            guard let minutes = ZoneName.minutes(Array(bytes)) else { throw .badOffset(text) }
            self.init(offsetMinutes: minutes)
            return
        }
        if ZoneName.isUTC(Array(bytes)) {
            self = .utc
            return
        }
        var isPartEmpty = true
        for byte in bytes {
            guard ZoneName.isAllowed(byte) else { throw .badCharacter(byte, text) }
            if byte == UInt8(ascii: "/"), isPartEmpty { throw .badName(text) }
            isPartEmpty = byte == UInt8(ascii: "/")
        }
        guard !isPartEmpty, (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(first) else { throw .badName(text) }
        self.init(text: text, offsetMinutes: nil)
    }

    private init(text: String, offsetMinutes: Int?) {
        self.text = text
        self.offsetMinutes = offsetMinutes
    }

    /// As the other, from a string.
    public init(_ text: String) throws(ZoneNameError) { try self.init(Array(text.utf8)) }

    /// The canonical text.
    public var description: String { text }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "+"), UInt8(ascii: "-"),
            UInt8(ascii: "/"):
            true
        default: false
        }
    }

    private static func isUTC(_ bytes: [UInt8]) -> Bool {
        let capitals = bytes.map { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) ? $0 - 32 : $0 }
        return capitals == [UInt8(ascii: "Z")] || capitals == Array("UTC".utf8)
    }

    /// `+hh:mm` or `+hhmm`, with either sign; nil for anything else.
    private static func minutes(_ bytes: [UInt8]) -> Int? {
        var digits = Array(bytes.dropFirst())
        if digits.count == 5, digits[2] == UInt8(ascii: ":") { digits.remove(at: 2) }
        guard digits.count == 4 else { return nil }
        let values = digits.map { Int($0) - Int(UInt8(ascii: "0")) }
        guard values.allSatisfy((0...9).contains) else { return nil }
        let (hours, minutes) = (values[0] * 10 + values[1], values[2] * 10 + values[3])
        guard hours <= 23, minutes <= 59 else { return nil }
        return (bytes[0] == UInt8(ascii: "-") ? -1 : 1) * (hours * 60 + minutes)
    }
}

/// Why a text does not name a zone.
public enum ZoneNameError: Error, Equatable, Sendable, CustomStringConvertible {
    /// No bytes.
    case empty
    /// More bytes than a name may have.
    case tooLong(Int)
    /// A sign without an offset that follows.
    case badOffset(String)
    /// A byte that occurs in no name.
    case badCharacter(UInt8, String)
    /// Valid characters that do not form a name.
    case badName(String)

    /// What is wrong, including the offending text. The text is printable: other characters are shown as numbers.
    public var description: String {
        switch self {
        case .empty: return "the time zone is empty"
        case .tooLong(let count): return "the time zone has \(count) bytes, at most \(ZoneName.lengthMax) are allowed"
        case .badOffset(let text):
            return "time zone '\(ZoneNameError.printable(text))' is not an offset such as +02:00 or -0530"
        case .badCharacter(let byte, let text):
            let shown = (0x20...0x7E).contains(byte) ? "'\(Character(UnicodeScalar(byte)))'" : "byte \(byte)"
            return "time zone '\(ZoneNameError.printable(text))' contains \(shown), which no name of a zone does"
        case .badName(let text):
            return "'\(ZoneNameError.printable(text))' is not a time zone: give an offset such as +02:00 or a name such"
                + " as Europe/Berlin"
        }
    }

    private static func printable(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { (" "..."~").contains($0) ? $0 : "?" }))
    }
}
