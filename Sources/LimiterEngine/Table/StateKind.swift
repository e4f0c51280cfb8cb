// The kinds of state a key may hold, and the algorithms that decide by them: one row each, which names its witness.
// What a kind is made of is its witness's to say: see `StateWitness.swift`. Nothing else lists the kinds.
//
//   kind             bytes      state
//   1 gcra               8      theoretical arrival time
//   2 counter            8      a signed integer
//   3 fixedWindow       16      end of the window, units spent in it
//   4 slidingWindow     24      expiry, period, units of the previous and the current window
//   5 slidingLog  16 + 10·c     expiry, a ring of c grants (see `SlidingLog`)
//   6 token             56      expiry and the answer a token was first given (see `TokenAnswer`)
//   7 calendar          16      end of the window, units spent in it

/// What kind of state a key holds. The raw value is the kind byte of journal and snapshot: never reuse one.
/// A record has four bits for it: 1 … 15.
public enum StateKind: UInt8, Sendable, CaseIterable {
    /// The theoretical arrival time of the generic cell rate algorithm: 8 bytes, nanoseconds.
    case gcra = 1
    /// A 64-bit integer: 8 bytes.
    case counter = 2
    /// Units spent in one window of the clock: 16 bytes.
    case fixedWindow = 3
    /// Units spent in two neighbouring windows of the clock: 24 bytes.
    case slidingWindow = 4
    /// Every grant in force: 16 bytes and 10 for each of up to `SlidingLog.unitsMax` grants.
    case slidingLog = 5
    /// The answer that an idempotency token was first given: 56 bytes. Keys of this kind are in a namespace of their
    /// own, which no command can reach by a key's name.
    case token = 6
    /// Units spent in one window of the calendar: 16 bytes.
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
        /// A bucket of tokens that refills steadily: GCRA in other words, with the same state.
        case tokenBucket = 2
        /// Windows aligned to the clock.
        case fixedWindow = 3
        /// Two windows aligned to the clock, the earlier one fading.
        case slidingWindow = 4
        /// Every grant counts for exactly one period.
        case slidingLog = 5
        /// Days, weeks, months or years of a time zone.
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

// MARK: - What the rows say

/// What can be said of a kind in a word.
public struct StateFacts: Sendable {
    /// What TYPE answers.
    public let name: StaticString
    /// What OBJECT ENCODING answers.
    public let encoding: StaticString
    /// What error messages and dumps call such a state.
    public let noun: StaticString
    /// Bytes of a key's first state.
    public let initialSize: Int
    /// Bytes of the longest state.
    public let sizeMax: Int
}

extension StateKind {
    /// Bytes of state; nil where that depends on the state itself.
    @inline(__always)
    public var fixedSize: Int? { dispatch(FixedSizeVisitor()) }

    /// Whether keys of this kind are kept from commands: they are not counted, listed or found by name, but they are
    /// journaled and restored like all others.
    @inline(__always)
    public var isHidden: Bool { dispatch(HiddenVisitor()) }

    /// Names and sizes.
    public var facts: StateFacts { dispatch(StateFactsVisitor()) }

    /// The name that TYPE shows.
    public var name: StaticString { facts.name }

    /// Bytes of the longest state of any kind.
    static let sizeMax = allCases.map(\.facts.sizeMax).max()!

    /// What a dump shows of a valid state, as numbers with their names; nil for the bytes themselves.
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
    /// What can be said of an algorithm in a word.
    public struct Facts: Sendable {
        /// The state that the algorithm keeps.
        public let kind: StateKind
        /// The name that commands use.
        public let name: StaticString
        /// What the algorithm is, in half a sentence.
        public let summary: StaticString
        /// A limit has a burst, and its state is a debt in time.
        public let hasBurst: Bool
        /// A limit may have an offset from UTC.
        public let hasOffset: Bool
        /// A limit's period is one of the calendar, and it has a zone.
        public let usesCalendar: Bool
        /// The most units a limit may have; nil for no bound of its own.
        public let limitMax: Int64?
    }

    /// All of them. The token bucket has a name of its own for another's state.
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

    /// A limit has a burst, and its state is a debt in time.
    @inline(__always)
    public var hasBurst: Bool { facts.hasBurst }

    /// All names as a sentence has them: `a, b, c`.
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
