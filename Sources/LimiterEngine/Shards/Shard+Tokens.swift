// Idempotency tokens: the first answer that a token was given on a key, kept for a window of time, so that a retry
// counts nothing twice, not even after a restart or on another server.
//
// The answer is a record of its own, of kind `token` under the key
//
//     4 bytes length of the limited key, little-endian │ limited key │ token
//
// in the hidden namespace: a client's key may have the very same bytes and is another key. It lives in the shard of the
// limited key (its hash has that key's high bits), so one stripe guards both, and both are journaled by one collection
// unless the key was waiting for it already; then the key's state is in the earlier one. So the journal never has an
// answer without what it took.
//
//   state   0 expiry   8 granted   16 limit   24 remaining   32 retry after   40 reset after   48 outcome   49 shadowed
//
// A denial is an answer, too. Memory: 56 bytes of state, 8 of header and length, the key's and the token's bytes; how
// many there may be is bounded (`Engine.setTokenLimit`), and a call beyond that is refused rather than left unsafe.
// With the memory limit's policy `evictSoonest` an answer may be forgotten early like any key.

import Synchronization

/// The key of a token's record.
enum TokenKey {
    static let prefixSize = 4

    static func size(keyLength: Int, token: UnsafeRawBufferPointer) -> Int { prefixSize + keyLength + token.count }

    /// Writes the derived key to memory of `size`.
    static func write(
        _ key: UnsafeRawPointer, _ keyLength: Int, token: UnsafeRawBufferPointer, to memory: UnsafeMutableRawPointer
    ) {
        memory.storeBytes(of: UInt32(keyLength), as: UInt32.self)
        (memory + prefixSize).copyMemory(from: key, byteCount: keyLength)
        if let base = token.baseAddress {
            (memory + prefixSize + keyLength).copyMemory(from: base, byteCount: token.count)
        }
    }

    /// Whether bytes from outside are a derived key.
    static func isValid(_ key: UnsafeRawBufferPointer) -> Bool {
        key.count >= prefixSize && Int(key.loadUnaligned(as: UInt32.self)) <= key.count - prefixSize
    }
}

/// The bytes of an answer.
enum TokenAnswer {
    static let size = 56

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

    static func isValid(_ state: UnsafeRawPointer) -> Bool {
        let isCounted = [0, 1, 2, 3, 5].allSatisfy { (state + 8 * $0).loadUnaligned(as: Int64.self) >= 0 }
        let flags = (state + 48).loadUnaligned(as: UInt64.self)
        return isCounted && (state + 32).loadUnaligned(as: Int64.self) >= -1 && flags & ~0x0101 == 0
    }
}

extension HashSeed {
    /// Bits that choose the shard, for any number of shards: see `Engine.init`.
    private static let shardBits: UInt64 = 0xFFF << 52

    /// The hash of a key in either namespace. One that is hidden and has not the shape of such keys is never asked for.
    func hash(_ key: UnsafeRawBufferPointer, isHidden: Bool) -> UInt64 {
        let base = key.baseAddress ?? emptyKey
        guard isHidden, TokenKey.isValid(key) else { return hash(base, count: key.count) }
        let limited = hash(base + TokenKey.prefixSize, count: Int(base.loadUnaligned(as: UInt32.self)))
        return limited & HashSeed.shardBits | hash(base, count: key.count) & ~HashSeed.shardBits
    }

    /// The hash of a record's key.
    @inline(__always)
    func hash(_ record: Record) -> UInt64 {
        record.isHidden ? hash(record.keyBytes, isHidden: true) : hash(record.key, count: record.keyLength)
    }
}

extension Shard {
    /// Decides a call that carries a token: once. A peek says what the call would get, and what stands now.
    mutating func takeOnce(
        _ call: UnsafeMutablePointer<LimitCall>, token: UnsafeRawBufferPointer, hash: UInt64, now: Int64
    ) {
        let (key, keyLength) = (UnsafeRawPointer(call.pointee.key), call.pointee.keyLength)
        let size = TokenKey.size(keyLength: keyLength, token: token)
        let (expiry, overflows) = now.addingReportingOverflow(max(1, call.pointee.tokenWindow))
        guard token.count <= LimitCall.tokenLengthMax, size <= keyLengthMax, !overflows else {
            call.pointee.decision = .failure(.outOfRange, found: .token)
            return
        }
        withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { memory in
            TokenKey.write(key, keyLength, token: token, to: memory.baseAddress!)
            let derived = UnsafeRawBufferPointer(memory)
            let derivedHash = seed.hash(derived, isHidden: true)
            guard call.pointee.operation == .take else {
                decideLimit(call, hash: hash, now: now, isRoomMade: false)
                if let place = findLive(derivedHash, derived.baseAddress!, size, now: now, isHidden: true) {
                    call.pointee.decision.answer(as: TokenAnswer.load(place.record.state))
                } else if isTokenLimitReached, call.pointee.decision.isAnswer {
                    call.pointee.decision = .failure(.tooManyTokens)
                }
                return
            }
            if let place = findLive(derivedHash, derived.baseAddress!, size, now: now, isHidden: true) {
                call.pointee.decision = TokenAnswer.load(place.record.state)
                call.pointee.decision.isRepeated = true
                repeated &+= 1
                return
            }
            guard !isTokenLimitReached else {
                call.pointee.decision = .failure(.tooManyTokens)
                tokensRefused &+= 1
                return
            }
            // Room for both at once: an answer that could not be remembered must not have taken anything.
            let footprint = Slab.footprint(
                Record.size(stateSize: TokenAnswer.size, keyLength: size, hasDeadline: false))
            let isRoomMade = makeRoomFor(call, hash: hash, extra: footprint, now: now)
            if isRoomMade {
                decideLimit(call, hash: hash, now: now, isRoomMade: true)
            } else {
                call.pointee.decision = .failure(.outOfMemory)
            }
            guard call.pointee.decision.isAnswer else { return }
            let inserted = insert(
                .token, stateSize: TokenAnswer.size, hash: derivedHash, key: derived.baseAddress!, keyLength: size,
                deadline: nil, now: now, isRoomMade: true)
            TokenAnswer.store(call.pointee.decision, expiry: expiry, to: inserted!.state)
            changed(inserted!, hash: derivedHash)
        }
    }
}

extension Shard {
    /// Whether no further token may be remembered.
    private var isTokenLimitReached: Bool {
        gauge.tokens.load(ordering: .relaxed) >= gauge.tokenLimit.load(ordering: .relaxed)
    }
}

extension LimitDecision {
    /// Makes this peek's answer that of a call which gets `first` again: all but what stands now, where that is known.
    fileprivate mutating func answer(as first: LimitDecision) {
        let standing = self
        self = first
        isRepeated = true
        guard standing.isAnswer else { return }
        remaining = standing.remaining
        resetAfter = standing.resetAfter
    }
}
