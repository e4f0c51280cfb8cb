// Policies and rules during an edit, and rolling an edit back. The rules about permitted changes are here and in
// PolicyDraft+File.

/// Policies and rules being edited. Nothing takes effect before the edit ends. Edited in place, since a copy would cost
/// O(rules): the changes of a failed edit are rolled back.
public struct PolicyDraft {
    private enum Undo {
        case policy(name: [UInt8], was: Policy?)
        case rule(RuleSubject, was: Rule?)
        case all([[UInt8]: Policy], [RuleSubject: Rule])
        case overriddenPolicy([UInt8])
        case overriddenRule(RuleSubject)
        case overrides(OverridesState)
    }

    private(set) var policies: [[UInt8]: Policy] = [:]
    private(set) var rules: [RuleSubject: Rule] = [:]
    /// The changes in order, as records for the journal.
    public private(set) var records: [PolicyRecord] = []
    /// The rules file's version of entries that commands have changed or removed.
    private(set) var overrides = OverridesState()
    private var now: Int64 = 0
    /// How to roll the changes back, in order.
    private var undo: [Undo] = []
    /// The maximum that `set` accepts. Tests use a smaller one.
    var policiesMax = PolicyTable.policiesMax
    var rulesMax = PolicyTable.rulesMax

    /// The policy of this name, including the edit's changes so far.
    public func policy(named name: [UInt8]) -> Policy? { policies[name] }

    /// The rule about this subject, including the edit's changes so far.
    public func rule(for subject: RuleSubject) -> Rule? { rules[subject] }

    /// Adds a policy or replaces the one of its name, whose keys keep what they have spent: see `Policy.succeeding`.
    public mutating func set(_ policy: Policy) throws(PolicyError) {
        guard policies[policy.name] != nil || policies.count < policiesMax else { throw .tooManyPolicies }
        if policy.origin == .command { override(policies[policy.name]) }
        try put(policy)
    }

    /// Creates a policy from a command's values, or changes the one of its name.
    public mutating func change(_ change: PolicyChange) throws(PolicyError) {
        try set(change.applied(to: policies[change.name]))
    }

    /// As `set`, without the limit on their number.
    mutating func put(_ policy: Policy) throws(PolicyError) {
        try check(policy.name)
        let policy = policies[policy.name].map { policy.succeeding($0, now: now) } ?? policy
        record(policy)
    }

    /// Puts a policy together with its superseded limits.
    mutating func record(_ policy: Policy) {
        put(policy, named: policy.name)
        records.append(PolicyRecord(policy))
    }

    /// Removes a policy that no rule uses. O(rules).
    public mutating func removePolicy(_ name: [UInt8]) throws(PolicyError) {
        guard let policy = policies[name] else { throw .unknownPolicy(name) }
        let users = rules.values.filter { $0.policy == name }
        if let first = users.first { throw .policyInUse(by: first.subject, count: users.count) }
        override(policy)
        drop(name)
    }

    /// Adds a rule or replaces the one about its subject.
    public mutating func set(_ rule: Rule) throws(PolicyError) {
        if rule.origin == .command { override(rules[rule.subject]) }
        try put(rule)
    }

    /// As `set`, whatever the origin.
    mutating func put(_ rule: Rule) throws(PolicyError) {
        for name in [rule.subject.tenant, rule.subject.client, rule.subject.action] {
            if let name { try check(name) }
        }
        guard policies[rule.policy] != nil else { throw .unknownPolicy(rule.policy) }
        guard rules[rule.subject] != nil || rules.count < rulesMax else { throw .tooManyRules }
        put(rule, for: rule.subject)
        records.append(PolicyRecord(rule))
    }

    /// Removes the rule about a subject.
    public mutating func removeRule(_ subject: RuleSubject) throws(PolicyError) {
        guard let rule = rules[subject] else { throw .unknownRule(subject) }
        override(rule)
        drop(subject)
    }

    mutating func drop(_ name: [UInt8]) {
        put(nil, named: name)
        records.append(PolicyRecord(removingPolicy: name))
    }

    mutating func drop(_ subject: RuleSubject) {
        put(nil, for: subject)
        records.append(PolicyRecord(removingRule: subject))
    }

    // MARK: Overrides

    /// Records the file's version of a policy that a command is about to change or remove.
    private mutating func override(_ policy: Policy?) {
        guard let policy, policy.origin == .file else { return }
        overrides.add(policy)
        undo.append(.overriddenPolicy(policy.name))
    }

    private mutating func override(_ rule: Rule?) {
        guard let rule, rule.origin == .file else { return }
        overrides.add(rule)
        undo.append(.overriddenRule(rule.subject))
    }

    /// Replaces the state of overrides.
    mutating func set(_ overrides: OverridesState) {
        undo.append(.overrides(self.overrides))
        self.overrides = overrides
    }

    // For use outside an edit, without rollback:

    mutating func drainUnsavedOverrides() -> UnsavedOverrides? { overrides.drainUnsaved() }
    mutating func restoreOverrides(_ stored: FileOverrides) { overrides.restore(stored) }
    mutating func storeAllOverrides() { overrides.replaceAll(with: overrides.all) }

    /// Applies a record from a journal or a snapshot verbatim: a policy has the superseded limits it was journaled
    /// with, and an entry to be removed may already be gone. Part of a journal may be replayed over its own end, so a
    /// rule may temporarily name a policy that does not exist: it never wins until it does. For the same reason there
    /// may temporarily be more entries than `set` accepts: every reader of a journal accepts what its writer has
    /// accepted.
    ///
    /// - Throws: Only `damagedRecord`, and only for a record that is not `isValid`.
    public mutating func apply(_ record: PolicyRecord) throws(PolicyError) {
        switch record.kind {
        case .policy:
            guard let policy = record.policy else { throw .damagedRecord }
            put(policy, named: policy.name)
        case .rule:
            guard let rule = record.rule else { throw .damagedRecord }
            put(rule, for: rule.subject)
        case .policyRemoval:
            guard PolicyRecord.isName(record.key), record.value.isEmpty else { throw .damagedRecord }
            put(nil, named: record.key)
        case .ruleRemoval:
            guard let subject = record.subject, record.value.isEmpty else { throw .damagedRecord }
            put(nil, for: subject)
        }
        records.append(record)
    }

    /// Removes all policies and rules without a record: for a state that is loaded from its beginning.
    public mutating func removeAll() {
        undo.append(.all(policies, rules))
        policies = [:]
        rules = [:]
        // Overrides belong to the previous state.
        var none = OverridesState()
        none.replaceAll(with: FileOverrides())
        set(none)
    }

    private mutating func put(_ policy: Policy?, named name: [UInt8]) {
        undo.append(.policy(name: name, was: policies[name]))
        policies[name] = policy
    }

    private mutating func put(_ rule: Rule?, for subject: RuleSubject) {
        undo.append(.rule(subject, was: rules[subject]))
        rules[subject] = rule
    }

    private func check(_ name: [UInt8]) throws(PolicyError) {
        guard !name.isEmpty else { throw .emptyName }
        guard name.count <= Policy.nameLengthMax else { throw .nameTooLong }
    }

    // MARK: An edit

    mutating func begin(now: Int64) {
        records = []
        undo = []
        self.now = now
    }

    /// Restores everything to the beginning of the edit.
    mutating func rollBack() {
        for change in undo.reversed() {
            switch change {
            case .policy(let name, let was): policies[name] = was
            case .rule(let subject, let was): rules[subject] = was
            case .all(let policies, let rules): (self.policies, self.rules) = (policies, rules)
            case .overriddenPolicy(let name): overrides.removePolicy(name)
            case .overriddenRule(let subject): overrides.removeRule(subject)
            case .overrides(let was): overrides = was
            }
        }
        begin(now: 0)
    }

    /// The edit's changes, as far as a table needs them.
    struct Changes {
        var changesPolicies = false
        /// Whether a policy was added or removed.
        var changesNames = false
        var subjects: Set<RuleSubject> = []
    }

    var changes: Changes {
        var changes = Changes()
        for change in undo {
            switch change {
            case .policy(let name, let was):
                changes.changesPolicies = true
                if was == nil || policies[name] == nil { changes.changesNames = true }
            case .rule(let subject, _): changes.subjects.insert(subject)
            case .all: (changes.changesPolicies, changes.changesNames) = (true, true)
            case .overriddenPolicy, .overriddenRule, .overrides: break
            }
        }
        return changes
    }

    /// Whether the edit has changed nothing visible to readers of the table or of the journal.
    var isUnchanged: Bool {
        records.isEmpty
            && undo.allSatisfy { change in
                switch change {
                case .policy, .rule, .all: false
                case .overriddenPolicy, .overriddenRule, .overrides: true
                }
            }
    }
}
