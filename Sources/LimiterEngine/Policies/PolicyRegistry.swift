// Changing policies and rules: one editor at a time, a draft, a new table, one swap. Readers never wait.

import Synchronization

/// Policies and rules being edited. Nothing of it is in force before the edit is over.
public struct PolicyDraft {
    private(set) var policies: [[UInt8]: Policy] = [:]
    private(set) var rules: [RuleSubject: Rule] = [:]
    /// What was changed, in order: the records that say it to the journal.
    public private(set) var records: [PolicyRecord] = []
    fileprivate var now: Int64 = 0
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
        policies[policy.name] = policy
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
        rules[rule.subject] = rule
        records.append(PolicyRecord(rule))
    }

    /// Removes the rule about a subject.
    public mutating func removeRule(_ subject: RuleSubject) throws(PolicyError) {
        guard rules.removeValue(forKey: subject) != nil else { throw .unknownRule(subject) }
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
        policies[name] = nil
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
            policies[policy.name] = policy
        case .rule:
            guard let rule = record.rule else { throw .damagedRecord }
            rules[rule.subject] = rule
        case .policyRemoval:
            guard PolicyRecord.isName(record.key), record.value.isEmpty else { throw .damagedRecord }
            policies[record.key] = nil
        case .ruleRemoval:
            guard let subject = record.subject, record.value.isEmpty else { throw .damagedRecord }
            rules[subject] = nil
        }
        records.append(record)
    }

    /// Forgets all policies and rules, without a record: for a state that is loaded from its beginning.
    public mutating func removeAll() {
        policies = [:]
        rules = [:]
    }

    private func check(_ name: [UInt8]) throws(PolicyError) {
        guard !name.isEmpty else { throw .emptyName }
        guard name.count <= Policy.nameLengthMax else { throw .nameTooLong }
    }

    fileprivate mutating func begin(now: Int64) {
        records = []
        self.now = now
    }
}

extension Policy {
    fileprivate var withoutPast: Policy {
        var policy = self
        policy.earlier = []
        return policy
    }
}

/// An engine's policies and rules: the table in force, and the one way to change it. Thread-safe.
///
/// `@unchecked Sendable`: `draft` is touched with `editing` held and `current` with `lock`; the version is atomic.
public final class PolicyRegistry: @unchecked Sendable {
    private let seed: HashSeed
    /// Held for a whole edit.
    private let editing = StripeLock.allocate()
    /// Held to read or replace a reference. May be taken under any lock, and takes none.
    private let lock = StripeLock.allocate()
    private var draft = PolicyDraft()
    private var current: PolicyTable
    private let published = Atomic<UInt64>(0)

    init(seed: HashSeed) {
        self.seed = seed
        current = PolicyTable(seed: seed)
    }

    deinit {
        editing.deallocate()
        lock.deallocate()
    }

    /// Goes up with every change: whoever keeps a table compares it. One load.
    public var version: UInt64 { published.load(ordering: .acquiring) }

    /// The table in force. Takes a lock for a moment; a session's `policies` does not.
    public var table: PolicyTable {
        lock.acquire()
        defer { lock.release() }
        return current
    }

    /// Changes policies and rules, all or nothing: from its end on, the new ones are in force.
    ///
    /// - Parameters:
    ///   - now: Engine time of the change; from here on lowered limits count.
    ///   - body: Makes the changes. When it throws, nothing is changed.
    ///   - journal: Is handed the records of the changes, in the order in which all editors' changes take force, before
    ///     they do; it must not call the registry. Not called when there are none.
    /// - Complexity: O(policies + rules): a change of many is one edit.
    public func edit(
        now: EngineTime, _ body: (inout PolicyDraft) throws(PolicyError) -> Void,
        journal: ([PolicyRecord]) -> Void = { _ in }
    ) throws(PolicyError) {
        editing.acquire()
        defer { editing.release() }
        var copy = draft
        copy.begin(now: now.nanoseconds)
        try body(&copy)
        let table = PolicyTable(policies: Array(copy.policies.values), rules: Array(copy.rules.values), seed: seed)
        if !copy.records.isEmpty { journal(copy.records) }
        copy.begin(now: 0)
        draft = copy
        lock.acquire()
        current = table
        lock.release()
        published.add(1, ordering: .releasing)
    }
}

extension PolicyTable {
    /// Everything as records, each rule behind its policy: what a snapshot holds. O(policies + rules).
    public var records: [PolicyRecord] { policies.map { PolicyRecord($0) } + rules.map { PolicyRecord($0) } }
}
