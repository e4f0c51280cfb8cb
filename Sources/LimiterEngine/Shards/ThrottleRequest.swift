// One CL.THROTTLE on its way through a batch: what was asked, and room for the answer.

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

    /// A call for the key of `keyLength` bytes at `key`.
    @inlinable
    public init(key: UnsafePointer<UInt8>, keyLength: Int, parameters: ThrottleParameters) {
        self.key = key
        self.keyLength = keyLength
        self.parameters = parameters
        decision = ThrottleDecision(outcome: .allowed)
        hash = 0
    }
}
