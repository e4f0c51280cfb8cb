// Decisions by policy on one event loop, under the bounded numbers of PolicySeries.

import LimiterEngine

/// Counters of an event loop. Only the loop's thread adds; see `CounterBlock` for what readers can rely on.
final class PolicyStatistics: Sendable {
    /// What is counted of a policy's decisions.
    enum Field: Int, CaseIterable {
        case allowed, denied
        /// Denied by a policy in shadow mode, and therefore allowed.
        case shadowDenied
        /// Allowed with less than a fifth of the limit left.
        case nearLimit
    }

    private let block = CounterBlock(count: PolicySeries.count * Field.allCases.count)

    /// Counts a decided call under a policy. Calls that only look, give back or repeat an answer are not decisions.
    @inline(never)
    func count(_ call: UnsafePointer<LimitCall>) {
        guard call.pointee.operation == .take, !call.pointee.decision.isRepeated else { return }
        countLimit(of: call)
    }

    /// Counts a limit of an all-or-nothing call, in which limits look before they take.
    func countLimit(of call: UnsafePointer<LimitCall>) {
        let decision = call.pointee.decision
        let series = Int(call.pointee.policySeries)
        switch decision.outcome {
        case .allowed where decision.isShadowed: add(series, .shadowDenied)
        case .allowed:
            add(series, .allowed)
            // 5 · remaining < limit, without a product that could overflow.
            if decision.remaining <= (decision.limit - 1) / 5 { add(series, .nearLimit) }
        case .denied: add(series, .denied)
        default: break
        }
    }

    private func add(_ series: Int, _ field: Field) {
        block.add(series * Field.allCases.count + field.rawValue, 1)
    }

    /// A policy's counter.
    func value(_ series: Int, _ field: Field) -> UInt64 {
        block.load(series * Field.allCases.count + field.rawValue)
    }

    /// CONFIG RESETSTAT. Requires that the loop is stopped.
    func reset() { block.reset() }
}
