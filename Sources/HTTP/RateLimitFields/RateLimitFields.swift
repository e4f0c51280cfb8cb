// The header fields that tell a client what is left of its limits: the only place that writes them.
//
//   draft     RateLimit-Policy: "free";q=100;w=60         draft-ietf-httpapi-ratelimit-headers-08 to -11: lists of
//             RateLimit: "free";r=50;t=30                 RFC 9651, one item for each limit
//   triple    RateLimit-Limit: 100, -Remaining, -Reset    the drafts up to -06; Reset in seconds from now
//   x-delta   X-RateLimit-Limit: 100, …                   Reset in seconds from now
//   x-epoch   X-RateLimit-Limit: 100, …                   Reset as Unix time
//
// The draft is not finished, and its names have changed before, so every family can be turned off. The three-field
// families have room for one limit: the one that is closest to refusing.

/// The families of fields to write.
public struct RateLimitFamilies: OptionSet, Equatable, Sendable {
    /// A bit for each family.
    public let rawValue: UInt8

    /// The families with these bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// `RateLimit` and `RateLimit-Policy`.
    public static let draft = RateLimitFamilies(rawValue: 1 << 0)
    /// `RateLimit-Limit`, `-Remaining` and `-Reset`.
    public static let triple = RateLimitFamilies(rawValue: 1 << 1)
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, as Unix time.
    public static let xEpoch = RateLimitFamilies(rawValue: 1 << 2)
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, in seconds from now.
    public static let xDelta = RateLimitFamilies(rawValue: 1 << 3)
}

/// The state of one limit, in whole seconds.
public struct RateLimitItem {
    /// The policy's name. Borrowed.
    public var name: UnsafeBufferPointer<UInt8>
    /// Units available from full.
    public var quota: Int64
    /// Seconds in which they become available; 0 when that is not a constant number of seconds.
    public var window: Int64
    /// Units left.
    public var remaining: Int64
    /// Seconds until there are more units; -1 when there never will be.
    public var wait: Int64
    /// Seconds until all units are available.
    public var reset: Int64

    /// A limit with this state.
    public init(
        name: UnsafeBufferPointer<UInt8>, quota: Int64, window: Int64, remaining: Int64, wait: Int64, reset: Int64
    ) {
        self.name = name
        self.quota = quota
        self.window = window
        self.remaining = remaining
        self.wait = wait
        self.reset = reset
    }

    /// Whether the name can be a string of RFC 9651, which has printable ASCII only.
    var hasPrintableName: Bool { name.allSatisfy { $0 >= 0x20 && $0 < 0x7F } }
}

/// Writes the fields, each with its line end.
public enum RateLimitFields {
    /// The largest integer of RFC 9651.
    private static let integerMax: Int64 = 999_999_999_999_999

    /// Writes the fields of all families for these limits. Limits whose names are not printable ASCII are missing from
    /// the lists, and a list without items is not written.
    public static func write(
        _ items: UnsafeBufferPointer<RateLimitItem>, _ families: RateLimitFamilies, unixSeconds: Int64,
        to out: ByteWriter
    ) {
        guard let most = mostRestrictive(items) else { return }
        if families.contains(.draft) { lists(items, to: out) }
        if families.contains(.triple) {
            three("RateLimit-Limit: ", "RateLimit-Remaining: ", "RateLimit-Reset: ", items[most], since: 0, to: out)
        }
        if !families.isDisjoint(with: [.xEpoch, .xDelta]) {
            three(
                "X-RateLimit-Limit: ", "X-RateLimit-Remaining: ", "X-RateLimit-Reset: ", items[most],
                since: families.contains(.xEpoch) ? unixSeconds : 0, to: out)
        }
    }

    /// Writes a Retry-After field for a refusal that ends after `nanoseconds`: rounded up, and 1 or more. Writes
    /// nothing if waiting never helps, which is given as a negative number.
    public static func writeRetryAfter(nanoseconds: Int64, to out: ByteWriter) {
        guard nanoseconds >= 0 else { return }
        out.append("Retry-After: ")
        out.append(max(1, wholeSeconds(nanoseconds)))
        out.append("\r\n")
    }

    /// Nanoseconds in seconds, rounded up.
    public static func wholeSeconds(_ nanoseconds: Int64) -> Int64 {
        let second: Int64 = 1_000_000_000
        return nanoseconds / second + (nanoseconds % second > 0 ? 1 : 0)
    }

    /// The position of the limit with the fewest units left in proportion to its quota; of several, the first.
    private static func mostRestrictive(_ items: UnsafeBufferPointer<RateLimitItem>) -> Int? {
        var most: Int?
        for position in items.indices {
            guard let known = most else {
                most = position
                continue
            }
            let (left, right) = (items[position], items[known])
            // left.remaining / left.quota < right.remaining / right.quota, without rounding.
            let mine = left.remaining.magnitude.multipliedFullWidth(by: max(1, right.quota).magnitude)
            let best = right.remaining.magnitude.multipliedFullWidth(by: max(1, left.quota).magnitude)
            if (mine.high, mine.low) < (best.high, best.low) { most = position }
        }
        return most
    }

    // MARK: Lists

    private static func lists(_ items: UnsafeBufferPointer<RateLimitItem>, to out: ByteWriter) {
        list("RateLimit-Policy: ", items, to: out) { item in
            parameter(";q=", item.quota, to: out)
            if item.window > 0 { parameter(";w=", item.window, to: out) }
        }
        list("RateLimit: ", items, to: out) { item in
            parameter(";r=", item.remaining, to: out)
            if item.wait >= 0 { parameter(";t=", item.wait, to: out) }
        }
    }

    private static func list(
        _ name: StaticString, _ items: UnsafeBufferPointer<RateLimitItem>, to out: ByteWriter,
        _ parameters: (RateLimitItem) -> Void
    ) {
        var isFirst = true
        for item in items where item.hasPrintableName {
            isFirst ? out.append(name) : out.append(", ")
            isFirst = false
            out.append(byte: UInt8(ascii: "\""))
            for byte in item.name {
                if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { out.append(byte: UInt8(ascii: "\\")) }
                out.append(byte: byte)
            }
            out.append(byte: UInt8(ascii: "\""))
            parameters(item)
        }
        if !isFirst { out.append("\r\n") }
    }

    private static func parameter(_ name: StaticString, _ value: Int64, to out: ByteWriter) {
        out.append(name)
        out.append(min(max(0, value), integerMax))
    }

    // MARK: Three fields

    private static func three(
        _ limit: StaticString, _ remaining: StaticString, _ reset: StaticString, _ item: RateLimitItem, since: Int64,
        to out: ByteWriter
    ) {
        out.append(limit)
        out.append(item.quota)
        out.append("\r\n")
        out.append(remaining)
        out.append(item.remaining)
        out.append("\r\n")
        out.append(reset)
        out.append(since.addingReportingOverflow(item.reset).partialValue)
        out.append("\r\n")
    }
}
