// The first answer given to an idempotency token: a record of its own, of kind `token`, under the key
//
//     4 bytes length of the limited key, little-endian │ limited key │ token
//
// in the hidden namespace: a client's key with the same bytes is a different key.
//
//   state   0 expiry   8 granted   16 limit   24 remaining   32 retry after   40 reset after   48 outcome   49 shadowed
//
// A denial is an answer too. Memory: 56 bytes of state, 8 of header and length, the key's and the token's bytes.

/// The key of a token's record.
enum TokenKey {
    static let prefixSize = 4

    static func size(keyLength: Int, token: UnsafeRawBufferPointer) -> Int { prefixSize + keyLength + token.count }

    /// Writes the derived key to memory of size `size`.
    static func write(
        _ key: UnsafeRawPointer, _ keyLength: Int, token: UnsafeRawBufferPointer, to memory: UnsafeMutableRawPointer
    ) {
        memory.storeBytes(of: UInt32(keyLength), as: UInt32.self)
        (memory + prefixSize).copyMemory(from: key, byteCount: keyLength)
        if let base = token.baseAddress {
            (memory + prefixSize + keyLength).copyMemory(from: base, byteCount: token.count)
        }
    }

    /// Whether untrusted bytes are a derived key.
    static func isValid(_ key: UnsafeRawBufferPointer) -> Bool {
        key.count >= prefixSize && Int(key.loadUnaligned(as: UInt32.self)) <= key.count - prefixSize
    }
}

/// The encoding of an answer, and the witness of its kind.
enum TokenAnswer: StateWitness {
    static let size = 56

    static var kind: StateKind { .token }
    static var name: StaticString { "token" }
    static var isHidden: Bool { true }
    static var fixedSize: Int? { size }

    static func store(_ decision: LimitDecision, expiry: Int64, to state: UnsafeMutableRawPointer) {
        state.storeBytes(of: expiry, as: Int64.self)
        (state + 8).storeBytes(of: decision.granted, as: Int64.self)
        (state + 16).storeBytes(of: decision.limit, as: Int64.self)
        (state + 24).storeBytes(of: decision.remaining, as: Int64.self)
        (state + 32).storeBytes(of: decision.retryAfter, as: Int64.self)
        (state + 40).storeBytes(of: decision.resetAfter, as: Int64.self)
        (state + 48).storeBytes(of: 0, as: UInt64.self)
        (state + 48).storeBytes(of: decision.outcome.rawValue, as: UInt8.self)
        (state + 49).storeBytes(of: decision.isShadowed ? 1 : 0, as: UInt8.self)
    }

    static func load(_ state: UnsafeRawPointer) -> LimitDecision {
        func word(_ position: Int) -> Int64 { (state + 8 * position).loadUnaligned(as: Int64.self) }
        var decision = LimitDecision(
            state.load(fromByteOffset: 48, as: UInt8.self) == 0 ? .allowed : .denied, granted: word(1), limit: word(2),
            remaining: word(3), retryAfter: word(4), resetAfter: word(5))
        decision.isShadowed = state.load(fromByteOffset: 49, as: UInt8.self) != 0
        return decision
    }

    static func isValidKey(_ key: UnsafeRawBufferPointer) -> Bool { TokenKey.isValid(key) }

    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let state = bytes.baseAddress!
        let isCounted = [0, 1, 2, 3, 5].allSatisfy { (state + 8 * $0).loadUnaligned(as: Int64.self) >= 0 }
        let flags = (state + 48).loadUnaligned(as: UInt64.self)
        return isCounted && (state + 32).loadUnaligned(as: Int64.self) >= -1 && flags & ~0x0101 == 0
    }
}
