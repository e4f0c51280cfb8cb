// One call on its way through a batch: what is asked of which key, and room for the answer. The one type for all that
// is decided in batches, from CL.THROTTLE to RL.TAKEALL and counters.
//
//   bytes   0 –  31   key, hash, amount, operation, mode, flags, the key's length
//          32 –  79   the decision
//          80 – 127   of the limit what GCRA asks of it
//         128 – 187   the rest of the limit, the token: most calls have no use for them and leave them as they were
//
// So the common calls touch two cache lines of the three. Calls are handed on by address, and written where they are.

/// A call of a limit or a counter. Borrows its key and its token: the bytes must stay where they are until the call is
/// decided.
public struct LimitCall {
    /// What is to be done.
    public enum Operation: UInt8, Sendable {
        /// Take units if they fit.
        case take
        /// Answer what `take` would do and what is in force now; writes nothing, creates nothing, counts nothing.
        case peek
        /// Give units back, never above full.
        case refund
        /// Add to a counter, which is 0 where there is none; its deadline stays.
        case add
        /// Answer a counter's value.
        case read
    }

    /// How seriously the limit is meant. The raw value is journaled with policies: never reuse one.
    public enum Mode: UInt8, Sendable, CaseIterable {
        /// As configured.
        case enforce = 0
        /// Decides and counts, but lets everything pass and reports it (`LimitDecision.isShadowed`).
        case shadow = 1
        /// Lets everything pass and keeps no state.
        case off = 2
    }

    private struct Flags: OptionSet, Sendable {
        let rawValue: UInt8

        static let isPartial = Flags(rawValue: 1 << 0)
        static let carriesOver = Flags(rawValue: 1 << 1)
        static let hasToken = Flags(rawValue: 1 << 2)
        static let hasRewritten = Flags(rawValue: 1 << 3)
    }

    /// The longest idempotency token in bytes.
    public static let tokenLengthMax = 256

    /// The key's first byte.
    public private(set) var key: UnsafePointer<UInt8>
    /// The engine's own note between its passes.
    var hash: UInt64 = 0
    /// Units wanted or given back; for a counter what is added.
    public internal(set) var amount: Int64
    /// What is to be done.
    public var operation: Operation
    /// How seriously the limit is meant.
    public var mode = Mode.enforce
    private var flags: Flags = []
    /// Whether the call, once decided, has left something that must not be lost: units taken or given back, an answer
    /// remembered, a state rewritten, a counter changed. An answer repeated is one, too: the first may still be on its
    /// way to the disk.
    public internal(set) var hasChangedState = false
    private var length: UInt32
    /// The answer, once the call is decided.
    public internal(set) var decision = LimitDecision(.denied)
    /// The limit to ask; counters have none, and leave it as it was.
    public var limit: Limit
    // Meaningful with `hasToken` only.
    private var tokenBase: UnsafeRawPointer?
    private var tokenLength = 0
    /// How long the token is remembered, in nanoseconds, 1 or more.
    public var tokenWindow: Int64 = 60_000_000_000

    /// A call of no meaning: a place to write a real one into.
    public static var blank: LimitCall { LimitCall(Limit(), .one) }

    /// A call that takes `demand` from `limit`, with an empty key.
    public init(_ limit: Limit, _ demand: Demand) {
        key = emptyKey.assumingMemoryBound(to: UInt8.self)
        length = 0
        amount = demand.units
        operation = .take
        self.limit = limit
        self.demand = demand
    }

    /// The key's length in bytes, at most `keyLengthMax`.
    @inline(__always)
    public var keyLength: Int { Int(length) }

    /// The key.
    public var keyBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: key, count: keyLength) }

    /// Makes this a call for the key of `count` bytes at `base`.
    @inline(__always)
    public mutating func setKey(_ base: UnsafePointer<UInt8>, count: Int) {
        key = base
        length = UInt32(count)
    }

    /// How many units are wanted, or given back.
    @inline(__always)
    public var demand: Demand {
        get { Demand(trusted: amount, isPartial: flags.contains(.isPartial)) }
        set {
            amount = newValue.units
            if newValue.isPartial { flags.insert(.isPartial) } else { flags.remove(.isPartial) }
        }
    }

    /// What another algorithm has counted on the key is carried over instead of being the wrong kind: for named limits,
    /// whose algorithm may be changed under keys in use.
    public var carriesOver: Bool {
        get { flags.contains(.carriesOver) }
        set { if newValue { flags.insert(.carriesOver) } else { flags.remove(.carriesOver) } }
    }

    /// An idempotency token: the same one on the same key gets the first answer again. Nil for none. `take` and `peek`
    /// only.
    public var token: UnsafeRawBufferPointer? {
        get { flags.contains(.hasToken) ? UnsafeRawBufferPointer(start: tokenBase, count: tokenLength) : nil }
        set {
            guard let newValue else {
                flags.remove(.hasToken)
                return
            }
            flags.insert(.hasToken)
            tokenBase = newValue.baseAddress
            tokenLength = newValue.count
        }
    }

    /// What another algorithm had counted was rewritten in this limit's terms, whatever the answer.
    var hasRewritten: Bool {
        get { flags.contains(.hasRewritten) }
        set { if newValue { flags.insert(.hasRewritten) } else { flags.remove(.hasRewritten) } }
    }

    /// The call takes by GCRA and nothing else is asked: what is decided in place.
    @inline(__always)
    var isPlainTake: Bool {
        operation == .take && mode == .enforce && limit.rawKind == StateKind.gcra.rawValue
            && flags.isDisjoint(with: [.hasToken, .hasRewritten])
    }

    /// Finds out `hasChangedState` of a decided call, whatever it was.
    mutating func noteChange() {
        switch operation {
        case .take, .refund:
            let hasTaken = decision.granted > 0 && !decision.isShadowed && mode != .off
            hasChangedState = hasTaken || hasRewritten || hasKeptAnswer
        case .peek: hasChangedState = hasRewritten
        case .add: hasChangedState = decision.outcome == .allowed
        case .read: hasChangedState = false
        }
    }

    private var hasKeptAnswer: Bool {
        flags.contains(.hasToken) && operation == .take && mode != .off && decision.isAnswer
    }

    // MARK: Writing

    /// Makes this a call of `operation` and forgets what else was asked before: no token, nothing carried over. The
    /// limit and the demand are the caller's to write.
    @inline(__always)
    public mutating func begin(_ operation: Operation, mode: Mode = .enforce) {
        self.operation = operation
        self.mode = mode
        flags = []
    }

    /// Makes this a call that adds to a counter.
    @inline(__always)
    public mutating func setAdd(_ increment: Int64) {
        begin(.add)
        amount = increment
    }

    /// A counter's value, once the call is decided and allowed.
    @inline(__always)
    public var counterValue: Int64 { decision.remaining }
}
