// One limiter call on its way through a batch: what was asked, and room for the answer.

/// A limiter call. Borrows its key: the bytes must stay where they are until the batch is decided.
@frozen
public struct ThrottleRequest {
    /// The key's first byte.
    public var key: UnsafePointer<UInt8>
    /// The key's length in bytes, at most `keyLengthMax`.
    public var keyLength: Int
    /// The limit and the cost.
    public var parameters: ThrottleParameters
    /// The answer, once the batch is decided.
    public var decision: ThrottleDecision
    /// The engine's own note between its passes.
    @usableFromInline var hash: UInt64
    /// For a call that is no CL.THROTTLE: all else that it asks, and its answer. `parameters` and `decision` mean
    /// nothing then. Borrowed until the batch is decided.
    public var take: UnsafeMutablePointer<TakeRequest>?

    /// Whether the call, once decided, has left the key's state different.
    @inlinable
    public var hasChangedState: Bool {
        if let take { return take.pointee.hasChangedState }
        return decision.outcome == .allowed && parameters.cost > 0
    }

    /// A call for the key of `keyLength` bytes at `key`.
    @inlinable
    public init(key: UnsafePointer<UInt8>, keyLength: Int, parameters: ThrottleParameters) {
        self.key = key
        self.keyLength = keyLength
        self.parameters = parameters
        decision = ThrottleDecision(outcome: .allowed)
        hash = 0
        take = nil
    }

    /// A call of `take` for the key of `keyLength` bytes at `key`.
    @inlinable
    public init(key: UnsafePointer<UInt8>, keyLength: Int, take: UnsafeMutablePointer<TakeRequest>) {
        self.init(key: key, keyLength: keyLength, parameters: ThrottleParameters())
        self.take = take
    }
}
