// Calls with an idempotency token: the first answer given to a token on a key is kept for a time window, so that a
// retry counts nothing twice, not even after a restart or on another server. The record is `TokenAnswer`'s.
//
// It is stored in the shard of the limited key (its hash has that key's high bits), so one stripe protects both, and
// both are journaled by one collection unless the key was already dirty, in which case the key's state is in an earlier
// one. So the journal never contains an answer without the units it took.
//
// Their number is bounded (`Engine.setTokenLimit`), and a call beyond that is refused rather than left without
// protection. With the memory policy `evictSoonest` an answer may be evicted early like any key.

import Synchronization

extension HashSeed {
    /// The bits that select the shard, for any number of shards: see `Engine.init`.
    private static let shardBits: UInt64 = 0xFFF << 52

    /// The hash of a name, whose shard is that of the limited key if it is a token's. A hidden key without the derived
    /// format is never looked up.
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
    /// Decides a call with a token once. A peek returns what the call would get, and the current state.
    mutating func takeOnce(
        _ call: UnsafeMutablePointer<LimitCall>, token: UnsafeRawBufferPointer, hash: UInt64, now: Int64
    ) {
        let (key, keyLength) = (UnsafeRawPointer(call.pointee.key), call.pointee.keyLength)
        let namespace = Namespace(isNumbered: call.pointee.isNumbered, isHidden: true)
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
                if let place = findLive(derivedHash, derived.baseAddress!, size, in: namespace, now: now) {
                    call.pointee.decision.answer(as: TokenAnswer.load(place.record.state))
                } else if isTokenLimitReached, call.pointee.decision.isAnswer {
                    call.pointee.decision = .failure(.tooManyTokens)
                }
                return
            }
            if let place = findLive(derivedHash, derived.baseAddress!, size, in: namespace, now: now) {
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
            // Room for both at once: a call whose answer could not be remembered must not take anything.
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
                isNumbered: namespace.isNumbered, deadline: nil, now: now, isRoomMade: true)
            TokenAnswer.store(call.pointee.decision, expiry: expiry, to: inserted!.state)
            changed(inserted!, hash: derivedHash)
        }
    }
}

extension Shard {
    /// Whether the maximum number of tokens is reached.
    private var isTokenLimitReached: Bool {
        gauge.tokens.load(ordering: .relaxed) >= gauge.tokenLimit.load(ordering: .relaxed)
    }
}

extension LimitDecision {
    /// Makes this peek's answer that of a call which gets `first` again, except for the current state, where that is
    /// known.
    fileprivate mutating func answer(as first: LimitDecision) {
        let standing = self
        self = first
        isRepeated = true
        guard standing.isAnswer else { return }
        remaining = standing.remaining
        resetAfter = standing.resetAfter
    }
}
