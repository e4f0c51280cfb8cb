// Requests to a limit and its answers, the same for every algorithm.

/// A limit's answer.
public struct LimitDecision: Equatable, Sendable {
    /// How the call ended.
    public enum Outcome: UInt8, Sendable {
        /// Granted, entirely or partly, or nothing was requested and the limit is not exceeded.
        case allowed = 0
        /// Refused; nothing changed.
        case denied = 1
        /// The key holds another kind of state, `foundKind`; nothing changed.
        case wrongKind = 2
        /// A new key, or a longer log, would not fit the memory limit; nothing changed.
        case outOfMemory = 3
        /// An instant of the new state would exceed the last representable one, or a counter would overflow 64 bits;
        /// nothing changed. If it is the token's instant, or the token is too long, `foundKind` is `token`.
        case outOfRange = 4
        /// The maximum number of idempotency tokens is reached; nothing changed.
        case tooManyTokens = 5
        /// There is no such counter.
        case absent = 6
        /// A calendar window would have to open in a zone whose rules this machine does not have; nothing changed.
        case unknownZone = 7
    }

    // The fields that every reply needs come first: see `LimitCall`.

    /// How the call ended. The numbers are 0 unless it is `allowed` or `denied`.
    public internal(set) var outcome: Outcome
    /// The limit is in shadow mode and would have denied the call: nothing was taken, and the call is allowed.
    public internal(set) var isShadowed = false
    /// This is the first answer given to the call's token; this call took nothing.
    public var isRepeated = false
    /// The key's kind if that is the wrong one. See also `outOfRange`.
    public internal(set) var foundKind: StateKind?
    /// Units left, 0 … limit. For a counter, its value.
    public internal(set) var remaining: Int64
    /// Nanoseconds until the same call would be granted something if no other call took any; -1 when it was granted, or
    /// never will be.
    public internal(set) var retryAfter: Int64
    /// Nanoseconds until the limit is fully replenished, 0 or more.
    public internal(set) var resetAfter: Int64
    /// Units granted, 0 … cost; for a refund, units given back.
    public internal(set) var granted: Int64
    /// Units available from full.
    public internal(set) var limit: Int64

    /// Whether the call was decided and did not fail.
    @inlinable public var isAnswer: Bool { outcome == .allowed || outcome == .denied }

    /// A decision with these fields.
    public init(
        _ outcome: Outcome, granted: Int64 = 0, limit: Int64 = 0, remaining: Int64 = 0, retryAfter: Int64 = -1,
        resetAfter: Int64 = 0, foundKind: StateKind? = nil
    ) {
        self.outcome = outcome
        self.granted = granted
        self.limit = limit
        self.remaining = remaining
        self.retryAfter = retryAfter
        self.resetAfter = resetAfter
        self.foundKind = foundKind
    }

    /// Overwrites this with a decision with these fields.
    @inline(__always)
    mutating func set(
        _ outcome: Outcome, granted: Int64, limit: Int64, remaining: Int64, retryAfter: Int64, resetAfter: Int64
    ) {
        self.outcome = outcome
        self.granted = granted
        self.limit = limit
        self.remaining = remaining
        self.retryAfter = retryAfter
        self.resetAfter = resetAfter
        isShadowed = false
        isRepeated = false
        foundKind = nil
    }

    /// Overwrites this with the answer of a counter with this value. The other numbers are meaningless.
    @inline(__always)
    mutating func set(counter value: Int64) {
        outcome = .allowed
        isShadowed = false
        isRepeated = false
        foundKind = nil
        remaining = value
    }

    /// An answer without numbers.
    static func failure(_ outcome: Outcome, found: StateKind? = nil) -> LimitDecision {
        LimitDecision(outcome, retryAfter: 0, foundKind: found)
    }
}

/// A number of units requested: all of them, or as many as fit.
public struct Demand: Equatable, Sendable {
    /// Units requested, 0 or more; 0 queries without taking.
    public let units: Int64
    /// Whether fewer units are acceptable, as long as there is at least one.
    public let isPartial: Bool

    /// A demand for `units`.
    ///
    /// - Throws: `LimitError.negative(.cost)`.
    public init(_ units: Int64, isPartial: Bool = false) throws(LimitError) {
        guard units >= 0 else { throw .negative(.cost) }
        self.units = units
        self.isPartial = isPartial
    }

    @inline(__always)
    init(trusted units: Int64, isPartial: Bool = false) {
        self.units = units
        self.isPartial = isPartial
    }

    /// A single unit.
    public static var one: Demand { Demand(trusted: 1) }

    /// No unit: queries without taking.
    public static var nothing: Demand { Demand(trusted: 0) }

    /// Units granted when `room` units are left; nil when that is too few. Below 0 when the limit is exceeded.
    @inline(__always)
    func granted(room: Int64) -> Int64? {
        if units <= room { return units }
        return isPartial && room > 0 ? room : nil
    }

    /// Smallest room at which anything is granted.
    @inline(__always)
    var least: Int64 { isPartial ? min(1, units) : units }
}
