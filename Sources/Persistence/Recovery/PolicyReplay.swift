// Collects policies and rules from files for an engine: only the last record about each one matters.
//
// Owns: which record is the last. A snapshot may be newer than the start of the log after it, so intermediate records
// may be inconsistent; the final set is consistent.

import LimiterEngine

/// Gathers the records of policies and rules, in the order of the journal.
struct PolicyReplay {
    private var policies: [[UInt8]: PolicyRecord] = [:]
    private var rules: [[UInt8]: PolicyRecord] = [:]

    /// Adds valid records that follow those added so far.
    mutating func add(_ records: [PolicyRecord]) {
        for record in records {
            switch record.kind {
            case .policy: policies[record.key] = record
            case .policyRemoval: policies[record.key] = nil
            case .rule: rules[record.key] = record
            case .ruleRemoval: rules[record.key] = nil
            }
        }
    }

    /// Applies the final set to an empty registry. O(policies + rules).
    func put(into registry: PolicyRegistry, path: String) throws(RecoveryError) {
        guard !policies.isEmpty || !rules.isEmpty else { return }
        do throws(PolicyError) {
            try registry.edit(now: EngineTime(nanoseconds: 0)) { draft throws(PolicyError) in
                for record in policies.values { try draft.apply(record) }
                for record in rules.values { try draft.apply(record) }
            }
        } catch {
            throw RecoveryError(path, nil, "the policies and rules are inconsistent: \(error)")
        }
    }
}
