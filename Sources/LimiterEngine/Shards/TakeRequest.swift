// One call of a limit on its way through a batch: what CL.THROTTLE does not ask, and room for the answer.

/// A call of a limit. Borrows its token: the bytes must stay where they are until the batch is decided.
public struct TakeRequest {
    /// What is to be done.
    public enum Operation: UInt8, Sendable {
        /// Take units if they fit.
        case take
        /// Say what `take` would do and what stands now; writes nothing, creates nothing, counts nothing.
        case peek
        /// Give units back, never above full.
        case refund
    }

    /// How seriously the limit is meant. The raw value stands in journaled policies: never reuse one.
    public enum Mode: UInt8, Sendable, CaseIterable {
        /// As it says.
        case enforce = 0
        /// Decides and counts, but lets everything pass and says so (`LimitDecision.isShadowed`).
        case shadow = 1
        /// Lets everything pass and keeps no state.
        case off = 2
    }

    /// The longest idempotency token in bytes.
    public static let tokenLengthMax = 256

    /// The limit to ask.
    public var limit: Limit
    /// How many units are wanted, or given back.
    public var demand: Demand
    /// What is to be done.
    public var operation = Operation.take
    /// How seriously the limit is meant.
    public var mode = Mode.enforce
    /// What another algorithm has counted on the key is carried over instead of being the wrong kind: for named limits,
    /// whose algorithm may be changed under keys in use.
    public var carriesOver = false
    /// An idempotency token: the same one on the same key gets the first answer again. Nil for none. `take` only.
    public var token: UnsafeRawBufferPointer?
    /// How long the token is remembered, in nanoseconds, 1 or more.
    public var tokenWindow: Int64 = 60_000_000_000
    /// The answer, once the call is decided.
    public var decision = LimitDecision(.denied)
    /// What another algorithm had counted was rewritten in this limit's terms, whatever the answer.
    @usableFromInline var hasRewritten = false

    /// Whether the call, once decided, has left something that must not be lost: units taken or given back, an answer
    /// remembered, a state rewritten. An answer repeated counts, too: the first may still be on its way to the disk.
    @inlinable
    public var hasChangedState: Bool {
        guard !hasRewritten else { return true }
        guard operation != .peek, mode != .off, decision.isAnswer else { return false }
        return (decision.granted > 0 && !decision.isShadowed) || (token != nil && operation == .take)
    }

    /// A call of no meaning: a place to write a real one into, field by field. All but the decision has to be written.
    public static var blank: TakeRequest { TakeRequest(Limit(), .one) }

    /// A call that takes `demand` from `limit`.
    public init(_ limit: Limit, _ demand: Demand) {
        self.limit = limit
        self.demand = demand
    }
}
