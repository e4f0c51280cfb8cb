// One call in a batch: the request, its key, and room for the answer. The only type for everything decided in batches,
// from CL.THROTTLE to RL.TAKEALL and counters.
//
//   bytes   0 –  31   key, hash, amount, operation, mode, flags, the key's length
//          32 –  79   the decision
//          80 – 127   the fields of the limit that GCRA reads
//         128 – 191   the rest of the limit, the token, a counter's deadline: most calls neither read nor write these
//
// So the common calls touch two of the three cache lines. Calls are passed by address and modified in place.

/// A call of a limit or a counter. Borrows its key and its token: the bytes must stay in memory until the call is
/// decided.
public struct LimitCall {
    /// The requested operation.
    public enum Operation: UInt8, Sendable {
        /// Take units if they fit.
        case take
        /// Return what `take` would do and the current state; writes, creates and counts nothing.
        case peek
        /// Give units back, at most up to full.
        case refund
        /// Add to a counter, which is 0 if absent; its deadline is kept.
        case add
        /// Return a counter's value.
        case read
        /// Add to a counter, and set its deadline as `countRule` specifies.
        case count
    }

    /// When a call that counts sets the counter's deadline, to `lifetime` from now.
    public enum CountRule: UInt8, Sendable {
        /// When the sum is the amount added: on the first hit, and whenever the counter was 0.
        case onFirstSum
        /// When the sum is 1.
        case onOne
        /// When the key has no deadline.
        case ifNone
        /// A key that does not exist, or does not expire, becomes 1 with a deadline, whatever it held; any other
        /// keeps its deadline.
        case restart
        /// As `restart`, but the deadline is set each time.
        case restartAndRenew
    }

    /// The enforcement mode of a limit. The raw value is journaled with policies: never reuse one.
    public enum Mode: UInt8, Sendable, CaseIterable {
        /// As configured.
        case enforce = 0
        /// Decides and counts, but allows everything and reports it (`LimitDecision.isShadowed`).
        case shadow = 1
        /// Allows everything and keeps no state.
        case off = 2
    }

    private struct Flags: OptionSet, Sendable {
        let rawValue: UInt8

        static let isPartial = Flags(rawValue: 1 << 0)
        static let carriesOver = Flags(rawValue: 1 << 1)
        static let hasToken = Flags(rawValue: 1 << 2)
        static let hasRewritten = Flags(rawValue: 1 << 3)
        static let isNumbered = Flags(rawValue: 1 << 4)
        static let hasPolicy = Flags(rawValue: 1 << 5)
    }

    /// The longest idempotency token in bytes.
    public static let tokenLengthMax = 256

    /// The key's first byte.
    public private(set) var key: UnsafePointer<UInt8>
    /// Scratch space of the engine between its passes.
    var hash: UInt64 = 0
    /// Units to take or to give back; for a counter, the amount to add.
    public internal(set) var amount: Int64
    /// The requested operation.
    public var operation: Operation
    /// The enforcement mode.
    public var mode = Mode.enforce
    private var flags: Flags = []
    /// Whether the decided call has made a change that must not be lost: units taken or given back, an answer
    /// remembered, a state rewritten, a counter changed. A repeated answer counts too: the first one may still be on
    /// its way to disk.
    public internal(set) var hasChangedState = false
    private var length: UInt32
    /// The answer, once the call is decided.
    public internal(set) var decision = LimitDecision(.denied)
    /// The limit to evaluate; for counters it is not set.
    public var limit: Limit
    // Meaningful only with `hasToken`.
    private var tokenBase: UnsafeRawPointer?
    private var tokenLength: UInt32 = 0
    /// For a call that counts: when the deadline is set. Here, where alignment leaves room for it.
    var countRule = CountRule.onFirstSum
    /// Meaningful only with `hasPolicy`: the number under which the policy's decisions are counted, see `PolicySeries`.
    public private(set) var policySeries: UInt16 = 0
    /// How long the token is remembered, in nanoseconds, 1 or more.
    public var tokenWindow: Int64 = 60_000_000_000

    /// A placeholder for a real call.
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

    /// The key as its client knows it: without the number of its database.
    public var clientKey: UnsafeRawBufferPointer {
        isNumbered ? UnsafeRawBufferPointer(rebasing: keyBytes.dropFirst()) : keyBytes
    }

    /// Whether the key begins with the number of its database, which is not 0.
    @inline(__always)
    public var isNumbered: Bool { flags.contains(.isNumbered) }

    @inline(__always)
    var namespace: Namespace { Namespace(isNumbered: isNumbered) }

    var name: KeyName { KeyName(keyBytes, isNumbered: isNumbered) }

    /// Sets the call's key to a name in a database other than 0: the database's number, followed by the key's bytes,
    /// together `count` bytes at `base`. Call it after `begin`, which makes the key one of database 0.
    @inline(__always)
    public mutating func setNumberedKey(_ base: UnsafePointer<UInt8>, count: Int) {
        setKey(base, count: count)
        flags.insert(.isNumbered)
    }

    /// Sets the call's key to the `count` bytes at `base`.
    @inline(__always)
    public mutating func setKey(_ base: UnsafePointer<UInt8>, count: Int) {
        key = base
        length = UInt32(count)
    }

    /// Units to take or to give back.
    @inline(__always)
    public var demand: Demand {
        get { Demand(trusted: amount, isPartial: flags.contains(.isPartial)) }
        set {
            amount = newValue.units
            if newValue.isPartial { flags.insert(.isPartial) } else { flags.remove(.isPartial) }
        }
    }

    /// Whether another algorithm's state on the key is carried over instead of being the wrong kind: for named limits,
    /// whose algorithm may be changed while keys are in use.
    public var carriesOver: Bool {
        get { flags.contains(.carriesOver) }
        set { if newValue { flags.insert(.carriesOver) } else { flags.remove(.carriesOver) } }
    }

    /// Whether the limit is a policy's, whose decisions are counted.
    @inline(__always)
    public var hasPolicy: Bool { flags.contains(.hasPolicy) }

    /// The limit is a policy's.
    mutating func setPolicy(series: UInt16) {
        flags.insert(.hasPolicy)
        policySeries = series
    }

    /// An idempotency token: the same token on the same key gets the first answer again. Nil for none. Only for `take`
    /// and `peek`.
    public var token: UnsafeRawBufferPointer? {
        get { flags.contains(.hasToken) ? UnsafeRawBufferPointer(start: tokenBase, count: Int(tokenLength)) : nil }
        set {
            guard let newValue else {
                flags.remove(.hasToken)
                return
            }
            flags.insert(.hasToken)
            tokenBase = newValue.baseAddress
            tokenLength = UInt32(newValue.count)
        }
    }

    /// Whether another algorithm's state was rewritten for this limit, whatever the answer.
    var hasRewritten: Bool {
        get { flags.contains(.hasRewritten) }
        set { if newValue { flags.insert(.hasRewritten) } else { flags.remove(.hasRewritten) } }
    }

    /// Whether the call takes by GCRA and requests nothing else: such calls are decided in place.
    @inline(__always)
    var isPlainTake: Bool {
        operation == .take && mode == .enforce && limit.rawKind == StateKind.gcra.rawValue
            && flags.isDisjoint(with: [.hasToken, .hasRewritten])
    }

    /// Sets `hasChangedState` of a decided call.
    mutating func noteChange() {
        switch operation {
        case .take, .refund:
            let hasTaken = decision.granted > 0 && !decision.isShadowed && mode != .off
            hasChangedState = hasTaken || hasRewritten || hasKeptAnswer
        case .peek: hasChangedState = hasRewritten
        case .add, .count: hasChangedState = decision.outcome == .allowed
        case .read: hasChangedState = false
        }
    }

    private var hasKeptAnswer: Bool {
        flags.contains(.hasToken) && operation == .take && mode != .off && decision.isAnswer
    }

    // MARK: Writing

    /// Makes this a call of `operation` and clears earlier options: no token, nothing carried over, database 0. The
    /// caller writes the limit and the demand.
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

    /// Makes this a call that adds to a counter and sets its deadline by `rule`.
    ///
    /// - Parameter lifetime: The time from now to the deadline in nanoseconds, 1 or more.
    @inline(__always)
    public mutating func setCount(_ increment: Int64, _ rule: CountRule, lifetime: Int64) {
        begin(.count)
        amount = increment
        countRule = rule
        tokenWindow = lifetime
    }

    /// Nanoseconds until the counter expires, once a call that counts is decided and allowed; -1 for never.
    @inline(__always)
    public var counterLifetime: Int64 { decision.resetAfter }

    /// A counter's value, once the call is decided and allowed.
    @inline(__always)
    public var counterValue: Int64 { decision.remaining }
}
