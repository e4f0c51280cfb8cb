// The kinds of state a key may hold, and the algorithms that use them: one row each, which names its witness. The
// witness defines a kind: see `StateWitness.swift`. The kinds are listed nowhere else.
//
//   kind             bytes      state
//   1 gcra               8      theoretical arrival time
//   2 counter            8      a signed integer
//   3 fixedWindow       16      end of the window, units spent in it
//   4 slidingWindow     24      expiry, period, units of the previous and the current window
//   5 slidingLog  16 + 10·c     expiry, a ring of c grants (see `SlidingLog`)
//   6 token             56      expiry and the first answer given to a token (see `TokenAnswer`)
//   7 calendar          16      end of the window, units spent in it

/// The kind of state a key holds. The raw value is the kind byte of journal and snapshot: never reuse one. A record has
/// four bits for it: 1 … 15.
public enum StateKind: UInt8, Sendable, CaseIterable {
    /// The theoretical arrival time of the generic cell rate algorithm: 8 bytes, nanoseconds.
    case gcra = 1
    /// A 64-bit integer: 8 bytes.
    case counter = 2
    /// Units spent in one clock-aligned window: 16 bytes.
    case fixedWindow = 3
    /// Units spent in two adjacent clock-aligned windows: 24 bytes.
    case slidingWindow = 4
    /// Every grant in force: 16 bytes and 10 for each of up to `SlidingLog.unitsMax` grants.
    case slidingLog = 5
    /// The first answer given to an idempotency token: 56 bytes. Keys of this kind are in their own namespace, which
    /// commands cannot reach by a key's name.
    case token = 6
    /// Units spent in one calendar window: 16 bytes.
    case calendar = 7

    /// The witness of each kind.
    @inline(__always)
    func dispatch<Visitor: StateVisitor>(_ visitor: Visitor) -> Visitor.Result {
        switch self {
        case .gcra: visitor.visit(GCRA.self)
        case .counter: visitor.visit(Counter.self)
        case .fixedWindow: visitor.visit(FixedWindow.self)
        case .slidingWindow: visitor.visit(SlidingWindow.self)
        case .slidingLog: visitor.visit(SlidingLog.self)
        case .token: visitor.visit(TokenAnswer.self)
        case .calendar: visitor.visit(Calendar.self)
        }
    }
}

extension Limit {
    /// How units are counted. The raw value is part of journaled policies: never reuse one.
    public enum Algorithm: UInt8, Sendable, CaseIterable {
        /// The generic cell rate algorithm; the state of CL.THROTTLE.
        case gcra = 1
        /// A bucket of tokens that refills steadily: equivalent to GCRA, with the same state.
        case tokenBucket = 2
        /// Windows aligned to the clock.
        case fixedWindow = 3
        /// Two windows aligned to the clock, the previous one decaying.
        case slidingWindow = 4
        /// Every grant counts for exactly one period.
        case slidingLog = 5
        /// Days, weeks, months or years in a time zone.
        case calendar = 6

        /// The witness of each algorithm's state.
        @inline(__always)
        func dispatch<Visitor: LimiterVisitor>(_ visitor: Visitor) -> Visitor.Result {
            switch self {
            case .gcra, .tokenBucket: visitor.visit(GCRA.self)
            case .fixedWindow: visitor.visit(FixedWindow.self)
            case .slidingWindow: visitor.visit(SlidingWindow.self)
            case .slidingLog: visitor.visit(SlidingLog.self)
            case .calendar: visitor.visit(Calendar.self)
            }
        }
    }
}

// MARK: - Facts

/// Names and sizes of a kind.
public struct StateFacts: Sendable {
    /// The answer of TYPE.
    public let name: StaticString
    /// The answer of OBJECT ENCODING.
    public let encoding: StaticString
    /// The noun for such a state in error messages and dumps.
    public let noun: StaticString
    /// Bytes of a key's first state.
    public let initialSize: Int
    /// Bytes of the longest state.
    public let sizeMax: Int
}

extension StateKind {
    /// Bytes of state; nil if that depends on the state itself.
    @inline(__always)
    public var fixedSize: Int? { dispatch(FixedSizeVisitor()) }

    /// Whether keys of this kind are hidden from commands: they are not counted, listed or found by name, but they are
    /// journaled and restored like all others.
    @inline(__always)
    public var isHidden: Bool { dispatch(HiddenVisitor()) }

    /// Names and sizes.
    public var facts: StateFacts { dispatch(StateFactsVisitor()) }

    /// The name that TYPE shows.
    public var name: StaticString { facts.name }

    /// Bytes of the longest state of any kind.
    static let sizeMax = allCases.map(\.facts.sizeMax).max()!

    /// The fields of a valid state that a dump shows, as named numbers; nil for the raw bytes.
    public func fields(_ value: UnsafeRawBufferPointer) -> [(name: StaticString, value: Int64)]? {
        dispatch(FieldsVisitor(state: UnsafeMutableRawPointer(mutating: value.baseAddress!)))
    }
}

private struct FixedSizeVisitor: StateVisitor {
    @inline(__always)
    func visit<Witness: StateWitness>(_ witness: Witness.Type) -> Int? { Witness.fixedSize }
}

private struct HiddenVisitor: StateVisitor {
    @inline(__always)
    func visit<Witness: StateWitness>(_ witness: Witness.Type) -> Bool { Witness.isHidden }
}

private struct StateFactsVisitor: StateVisitor {
    func visit<Witness: StateWitness>(_ witness: Witness.Type) -> StateFacts {
        StateFacts(
            name: Witness.name, encoding: Witness.encoding, noun: Witness.noun, initialSize: Witness.initialSize,
            sizeMax: Witness.sizeMax)
    }
}

private struct FieldsVisitor: StateVisitor {
    let state: UnsafeMutableRawPointer
    func visit<Witness: StateWitness>(_ witness: Witness.Type) -> [(name: StaticString, value: Int64)]? {
        Witness.fields(state)
    }
}

extension Limit.Algorithm {
    /// Names and properties of an algorithm.
    public struct Facts: Sendable {
        /// The state that the algorithm keeps.
        public let kind: StateKind
        /// The name that commands use.
        public let name: StaticString
        /// A short description of the algorithm.
        public let summary: StaticString
        /// Whether a limit has a burst, and its state is a debt in time.
        public let hasBurst: Bool
        /// Whether a limit may have an offset from UTC.
        public let hasOffset: Bool
        /// Whether a limit's period is a calendar period, with a zone.
        public let usesCalendar: Bool
        /// Largest number of units of a limit; nil for no bound of its own.
        public let limitMax: Int64?
    }

    /// All facts. The token bucket has its own name for another algorithm's state.
    @inline(__always)
    public var facts: Facts {
        let facts = dispatch(LimiterFactsVisitor())
        guard self == .tokenBucket else { return facts }
        return Facts(
            kind: facts.kind, name: TokenBucket.name, summary: TokenBucket.summary, hasBurst: facts.hasBurst,
            hasOffset: facts.hasOffset, usesCalendar: facts.usesCalendar, limitMax: facts.limitMax)
    }

    /// The name that commands use.
    public var name: StaticString { facts.name }

    /// The state that the algorithm keeps.
    @inline(__always)
    public var kind: StateKind { facts.kind }

    /// Whether a limit has a burst, and its state is a debt in time.
    @inline(__always)
    public var hasBurst: Bool { facts.hasBurst }

    /// All names as a list in a sentence: `a, b, c`.
    public static var names: String { allCases.map { "\($0.name)" }.joined(separator: ", ") }
}

private struct LimiterFactsVisitor: LimiterVisitor {
    @inline(__always)
    func visit<Witness: LimiterWitness>(_ witness: Witness.Type) -> Limit.Algorithm.Facts {
        Limit.Algorithm.Facts(
            kind: Witness.kind, name: Witness.name, summary: Witness.summary, hasBurst: Witness.hasBurst,
            hasOffset: Witness.hasOffset, usesCalendar: Witness.usesCalendar, limitMax: Witness.limitMax)
    }
}
