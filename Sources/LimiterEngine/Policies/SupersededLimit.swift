// Limits that a policy had before, for as long as debts in time made under them may be about: what is needed so that no
// number of changes gives anything back. See `Limit.bound`.

/// GCRA's numbers of a limit that a policy had before.
public struct SupersededLimit: Equatable, Sendable {
    /// How many a policy remembers. Of more the oldest two are joined, on the stricter side.
    static let countMax = 4

    /// What a unit cost, in nanoseconds, 1 or more.
    public var emissionInterval: Int64
    /// How long a debt could be, in nanoseconds, 1 or more.
    public var tolerance: Int64
    /// Engine time in nanoseconds at which every debt made under it has been worked off.
    public var end: Int64

    /// These numbers.
    init(emissionInterval: Int64, tolerance: Int64, end: Int64) {
        self.emissionInterval = emissionInterval
        self.tolerance = tolerance
        self.end = end
    }

    /// A limit in force until `now`. Nil when it leaves no debts in time: of another algorithm, or lets nothing pass.
    init?(_ limit: Limit, until now: Int64) {
        guard limit.algorithm.hasBurst, limit.tolerance > 0 else { return nil }
        let (end, overflows) = now.addingReportingOverflow(limit.tolerance)
        self.init(
            emissionInterval: limit.emissionInterval, tolerance: limit.tolerance, end: overflows ? Int64.max : end)
    }

    /// At least as strict as either.
    private func joined(_ other: SupersededLimit) -> SupersededLimit {
        SupersededLimit(
            emissionInterval: min(emissionInterval, other.emissionInterval), tolerance: min(tolerance, other.tolerance),
            end: max(end, other.end))
    }

    /// Those of `earlier` that still mean something at `now`, and `last` behind them.
    static func remembered(_ earlier: [SupersededLimit], _ last: SupersededLimit?, now: Int64) -> [SupersededLimit] {
        var kept = earlier.filter { old in
            // The same limit again lasts as long as its last debt.
            old.end > now && !(old.emissionInterval == last?.emissionInterval && old.tolerance == last?.tolerance)
        }
        if let last { kept.append(last) }
        while kept.count > countMax { kept.replaceSubrange(0..<2, with: [kept[0].joined(kept[1])]) }
        return kept
    }
}

extension Policy {
    /// This policy in place of `old`, of the same name, from `now` on: what keys have spent stays spent.
    ///
    /// - Parameter now: Engine time in nanoseconds.
    public func succeeding(_ old: Policy, now: Int64) -> Policy {
        var policy = self
        policy.earlier = SupersededLimit.remembered(old.earlier, SupersededLimit(old.limit, until: now), now: now)
        return policy
    }
}
