// Decisions of limits in a batch, accumulated in registers before the loop's counters are touched.
//
// A decision is a call that takes. A call that only queries (peek), refunds or reads a counter is not a decision, and
// an answer repeated for its token was counted when it was first given. An all-or-nothing call is one decision,
// regardless of the number of its limits.

import LimiterEngine

/// Decisions of one command by result, and the units involved.
struct DecisionTally: Equatable, Sendable {
    var allowed: UInt64 = 0
    var denied: UInt64 = 0
    /// Calls that failed with an error.
    var undecided: UInt64 = 0
    /// Units granted by allowed calls.
    var grantedUnits: UInt64 = 0
    /// Units requested by denied calls.
    var deniedUnits: UInt64 = 0

    /// Counts a decided call that is not part of a group. A few additions, no branch but the first.
    @inline(__always)
    mutating func count(_ call: UnsafePointer<LimitCall>) {
        guard call.pointee.operation == .take, !call.pointee.decision.isRepeated else { return }
        let outcome = call.pointee.decision.outcome
        let isAllowed: UInt64 = outcome == .allowed ? 1 : 0
        let isDenied: UInt64 = outcome == .denied ? 1 : 0
        allowed &+= isAllowed
        denied &+= isDenied
        undecided &+= 1 &- isAllowed &- isDenied
        grantedUnits &+= isAllowed &* UInt64(truncatingIfNeeded: call.pointee.decision.granted)
        deniedUnits &+= isDenied &* UInt64(truncatingIfNeeded: call.pointee.amount)
    }

    /// Counts a decided all-or-nothing call.
    mutating func count(_ group: KeyspaceSession.Group, _ calls: UnsafePointer<LimitCall>) {
        switch group.outcome {
        case .allowed:
            allowed &+= 1
            for position in 0..<group.count {
                grantedUnits &+= UInt64(truncatingIfNeeded: calls[position].decision.granted)
            }
        case .denied:
            let isAnswer = (0..<group.count).allSatisfy { calls[$0].decision.isAnswer }
            guard isAnswer else {
                undecided &+= 1
                return
            }
            denied &+= 1
            for position in 0..<group.count {
                deniedUnits &+= UInt64(truncatingIfNeeded: calls[position].amount)
            }
        case .sameKey, .tooMany: undecided &+= 1
        }
    }
}
