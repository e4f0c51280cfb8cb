// Counters that set their own deadline: one step of the windows that limiter libraries build from INCRBY and EXPIRE.
// The key is found once, so the step costs as much as an INCR.

extension Shard {
    /// Adds to a counter for a call, and sets its deadline by the call's rule.
    mutating func count(_ call: UnsafeMutablePointer<LimitCall>, hash: UInt64, now: Int64) {
        let (end, overflows) = now.addingReportingOverflow(call.pointee.tokenWindow)
        let deadline = overflows ? Int64.max - 1 : min(end, Int64.max - 1)
        let rule = call.pointee.countRule
        let place = findLive(hash, call.pointee.name, now: now)
        if rule == .restart || rule == .restartAndRenew, (place?.record.expiry ?? Int64.max) == Int64.max {
            return restart(call, until: deadline, hash: hash, now: now)
        }
        guard let place else { return countFirst(call, until: deadline, hash: hash, now: now) }
        let record = place.record
        guard record.kind == .counter else {
            call.pointee.decision = .failure(.wrongKind, found: record.kind)
            return
        }
        let (sum, sumOverflows) = record.word.addingReportingOverflow(call.pointee.amount)
        guard !sumOverflows else {
            call.pointee.decision = .failure(.outOfRange)
            return
        }
        record.word = sum
        var expiry = record.expiry
        let isSet =
            switch rule {
            case .onFirstSum: sum == call.pointee.amount
            case .onOne: sum == 1
            case .ifNone: expiry == Int64.max
            case .restart: false
            case .restartAndRenew: true
            }
        if isSet {
            // Also registers the change.
            _ = setDeadline(place, hash: hash, to: deadline)
            expiry = deadline
        } else {
            changed(record, hash: hash)
        }
        answer(call, sum, expiry: expiry, now: now)
    }

    private mutating func countFirst(
        _ call: UnsafeMutablePointer<LimitCall>, until deadline: Int64, hash: UInt64, now: Int64
    ) {
        let amount = call.pointee.amount
        let expires = call.pointee.countRule != .onOne || amount == 1
        let inserted = insert(
            .counter, stateSize: 8, hash: hash, key: call.pointee.key, keyLength: call.pointee.keyLength,
            isNumbered: call.pointee.isNumbered, deadline: expires ? deadline : nil, now: now)
        guard let record = inserted else {
            call.pointee.decision = .failure(.outOfMemory)
            return
        }
        record.word = amount
        changed(record, hash: hash)
        answer(call, amount, expiry: expires ? deadline : Int64.max, now: now)
    }

    /// Makes the key a counter of 1 with this deadline, whatever it held.
    @inline(never)
    private mutating func restart(
        _ call: UnsafeMutablePointer<LimitCall>, until deadline: Int64, hash: UInt64, now: Int64
    ) {
        do throws(CounterError) {
            try write(1, deadline, hash: hash, name: call.pointee.name, now: now)
            answer(call, 1, expiry: deadline, now: now)
        } catch {
            call.pointee.decision = .failure(.outOfMemory)
        }
    }

    @inline(__always)
    private func answer(_ call: UnsafeMutablePointer<LimitCall>, _ value: Int64, expiry: Int64, now: Int64) {
        call.pointee.decision.set(counter: value)
        call.pointee.decision.resetAfter = expiry == Int64.max ? -1 : expiry &- now
    }
}
