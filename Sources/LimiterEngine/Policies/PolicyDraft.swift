// Policies and rules while they are edited, and how an edit is taken back. What may be done to them is decided here.

/// Policies and rules being edited. Nothing of it is in force before the edit is over. Edited where it is, since a copy
/// would cost as much as there are rules: what an edit has changed is taken back if it fails.
public struct PolicyDraft {
    private enum Undo {
        case policy(name: [UInt8], was: Policy?)
        case rule(RuleSubject, was: Rule?)
        case all([[UInt8]: Policy], [RuleSubject: Rule])
    }

    private(set) var policies: [[UInt8]: Policy] = [:]
    private(set) var rules: [RuleSubject: Rule] = [:]
    /// What was changed, in order: the records that say it to the journal.
    public private(set) var records: [PolicyRecord] = []
    private var now: Int64 = 0
    /// How to take the changes back, in order.
    private var undo: [Undo] = []
    /// How many `set` takes. Tests set less.
    var policiesMax = PolicyTable.policiesMax
    var rulesMax = PolicyTable.rulesMax

    /// Adds a policy or replaces the one of its name, whose keys keep what they have spent: see `Policy.succeeding`.
    public mutating func set(_ policy: Policy) throws(PolicyError) {
        guard policies[policy.name] != nil || policies.count < policiesMax else { throw .tooManyPolicies }
        try put(policy)
    }

    /// As `set`, however many there are.
    private mutating func put(_ policy: Policy) throws(PolicyError) {
        try check(policy.name)
        let policy = policies[policy.name].map { policy.succeeding($0, now: now) } ?? policy
        put(policy, named: policy.name)
        records.append(PolicyRecord(policy))
    }

    /// Removes a policy that no rule uses. O(rules).
    public mutating func removePolicy(_ name: [UInt8]) throws(PolicyError) {
        guard policies[name] != nil else { throw .unknownPolicy(name) }
        let users = rules.values.filter { $0.policy == name }
        if let first = users.first { throw .policyInUse(by: first.subject, count: users.count) }
        drop(name)
    }

    /// Adds a rule or replaces the one about its subject.
    public mutating func set(_ rule: Rule) throws(PolicyError) {
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
        guard rules[subject] != nil else { throw .unknownRule(subject) }
        put(nil, for: subject)
        records.append(PolicyRecord(removingRule: subject))
    }

    /// Makes these the policies and rules that came from the file: those that did so before and are not among them go,
    /// those set by commands stay unless the file names them, too. Ones that stay as they are leave no record.
    ///
    /// - Throws: `policyInUse` when a rule set by a command needs a policy that the file no longer has.
    public mutating func replaceFile(policies new: [Policy], rules newRules: [Rule]) throws(PolicyError) {
        for var policy in new {
            policy.origin = .file
            // Compared by what was asked for: a past is no difference.
            let old = policies[policy.name]
            if let old, PolicyRecord(old.withoutPast) == PolicyRecord(policy) { continue }
            try put(policy)
        }
        let subjects = Set(newRules.map(\.subject))
        for rule in rules.values where rule.origin == .file && !subjects.contains(rule.subject) {
            try removeRule(rule.subject)
        }
        for var rule in newRules {
            rule.origin = .file
            if rules[rule.subject] != rule { try set(rule) }
        }
        let names = Set(new.map(\.name))
        let used = Set(rules.values.map(\.policy))
        for policy in policies.values where policy.origin == .file && !names.contains(policy.name) {
            // Which rule uses it is looked for only where that is the answer.
            if used.contains(policy.name) { try removePolicy(policy.name) } else { drop(policy.name) }
        }
        // Counted when the old ones are gone: all names of a full file may be new.
        guard policies.count <= policiesMax else { throw .tooManyPolicies }
    }

    private mutating func drop(_ name: [UInt8]) {
        put(nil, named: name)
        records.append(PolicyRecord(removingPolicy: name))
    }

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
    mutating func takeBack() {
        for change in undo.reversed() {
            switch change {
            case .policy(let name, let was): policies[name] = was
            case .rule(let subject, let was): rules[subject] = was
            case .all(let policies, let rules): (self.policies, self.rules) = (policies, rules)
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
            }
        }
        return changes
    }
}

extension Policy {
    fileprivate var withoutPast: Policy {
        var policy = self
        policy.earlier = []
        return policy
    }
}
