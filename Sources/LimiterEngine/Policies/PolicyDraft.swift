// Policies and rules while they are edited, and how an edit is taken back. What may be done to them is decided here and
// in PolicyDraft+File.

/// Policies and rules being edited. Nothing of it is in force before the edit is over. Edited where it is, since a copy
/// would cost as much as there are rules: what an edit has changed is taken back if it fails.
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
    /// What was changed, in order: the records that say it to the journal.
    public private(set) var records: [PolicyRecord] = []
    /// The rules file's version of what commands have changed or removed.
    private(set) var overrides = OverridesState()
    private var now: Int64 = 0
    /// How to take the changes back, in order.
    private var undo: [Undo] = []
    /// How many `set` takes. Tests set less.
    var policiesMax = PolicyTable.policiesMax
    var rulesMax = PolicyTable.rulesMax

    /// The policy of this name, with what the edit has changed so far.
    public func policy(named name: [UInt8]) -> Policy? { policies[name] }

    /// The rule about this subject, with what the edit has changed so far.
    public func rule(for subject: RuleSubject) -> Rule? { rules[subject] }

    /// Adds a policy or replaces the one of its name, whose keys keep what they have spent: see `Policy.succeeding`.
    public mutating func set(_ policy: Policy) throws(PolicyError) {
        guard policies[policy.name] != nil || policies.count < policiesMax else { throw .tooManyPolicies }
        if policy.origin == .command { override(policies[policy.name]) }
        try put(policy)
    }

    /// Makes a policy of what a command says, or changes the one of its name by it.
    public mutating func change(_ change: PolicyChange) throws(PolicyError) {
        try set(change.applied(to: policies[change.name]))
    }

    /// As `set`, however many there are.
    mutating func put(_ policy: Policy) throws(PolicyError) {
        try check(policy.name)
        let policy = policies[policy.name].map { policy.succeeding($0, now: now) } ?? policy
        record(policy)
    }

    /// Puts a policy with the past that it has.
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

    /// Notes the file's version of a policy that a command is about to change or remove.
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

    /// Replaces what is known about overrides.
    mutating func set(_ overrides: OverridesState) {
        undo.append(.overrides(self.overrides))
        self.overrides = overrides
    }

    // Outside of an edit, and with nothing to take back:

    mutating func drainUnsavedOverrides() -> UnsavedOverrides? { overrides.drainUnsaved() }
    mutating func restoreOverrides(_ stored: FileOverrides) { overrides.restore(stored) }
    mutating func storeAllOverrides() { overrides.replaceAll(with: overrides.all) }

    /// Does what a record from a journal or a snapshot says, exactly: a policy has the past it was journaled with, and
    /// what is to be removed may be gone already. A part of a journal may be replayed over its own end, so a rule may
    /// for a while name a policy that is not there: it wins nothing until it is. For the same reason there may for a
    /// while be more of them than `set` takes: what a node has accepted once, every reader of its journal takes.
    ///
    /// - Throws: `damagedRecord` alone, and only for a record that is not `isValid`.
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

    /// Forgets all policies and rules, without a record: for a state that is loaded from its beginning.
    public mutating func removeAll() {
        undo.append(.all(policies, rules))
        policies = [:]
        rules = [:]
        // What commands did to another state.
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

    /// Makes everything as it was when the edit began.
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

    /// What the edit has changed, as far as a table asks.
    struct Changes {
        var changesPolicies = false
        /// There is a policy more, or one less.
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

    /// Whether the edit has changed nothing that a reader of the table or of the journal sees.
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
