// Limits that a policy had before, kept while debts in time incurred under them may exist, so that no number of changes
// gives anything back. See `Limit.bound`.

/// The GCRA parameters of a superseded limit.
public struct SupersededLimit: Equatable, Sendable {
    /// How many a policy remembers. If there are more, the oldest two are merged, on the stricter side.
    static let countMax = 4

    /// Cost of a unit in nanoseconds, 1 or more.
    public var emissionInterval: Int64
    /// The longest possible debt in nanoseconds, 1 or more.
    public var tolerance: Int64
    /// Engine time in nanoseconds at which every debt incurred under it has been paid off.
    public var end: Int64

    /// These numbers.
    init(emissionInterval: Int64, tolerance: Int64, end: Int64) {
        self.emissionInterval = emissionInterval
        self.tolerance = tolerance
        self.end = end
    }

    /// A limit in force until `now`. Nil when it leaves no debts in time: it uses another algorithm or denies
    /// everything.
    init?(_ limit: Limit, until now: Int64) {
        guard limit.algorithm.hasBurst, limit.tolerance > 0 else { return nil }
        let (end, overflows) = now.addingReportingOverflow(limit.tolerance)
        self.init(
            emissionInterval: limit.emissionInterval, tolerance: limit.tolerance, end: overflows ? Int64.max : end)
    }

    /// The merger of both, at least as strict as either.
    private func joined(_ other: SupersededLimit) -> SupersededLimit {
        SupersededLimit(
            emissionInterval: min(emissionInterval, other.emissionInterval), tolerance: min(tolerance, other.tolerance),
            end: max(end, other.end))
    }

    /// Those of `earlier` that still matter at `now`, followed by `last`.
    static func remembered(_ earlier: [SupersededLimit], _ last: SupersededLimit?, now: Int64) -> [SupersededLimit] {
        var kept = earlier.filter { old in
            // If the same limit occurs again, its entry lasts as long as its last debt.
            old.end > now && !(old.emissionInterval == last?.emissionInterval && old.tolerance == last?.tolerance)
        }
        if let last { kept.append(last) }
        while kept.count > countMax { kept.replaceSubrange(0..<2, with: [kept[0].joined(kept[1])]) }
        return kept
    }
}

extension Policy {
    /// This policy as the successor of `old`, of the same name, from `now` on: what keys have spent stays spent.
    ///
    /// - Parameter now: Engine time in nanoseconds.
    public func succeeding(_ old: Policy, now: Int64) -> Policy {
        var policy = self
        policy.earlier = SupersededLimit.remembered(old.earlier, SupersededLimit(old.limit, until: now), now: now)
        return policy
    }
}
