// Applies the rules file: a three-way merge of the file when it was last read, the file now, and the entries in force.
// Changes in the file take effect; changes by commands are kept.
//
//   in force          the file before             the file now      result
//   of origin file    the same, by definition     different         the file's version takes effect
//   of a command      unknown, or different       different         kept
//   of a command      the same as in force        different         the file's version takes effect
//   nothing           known, a command removed it anything          stays removed
//   nothing           unknown: the entry is new   anything          the file's version takes effect
//   anything          anything                    as in force       the entry is of origin file from here on
//
// An entry that the file does not have and never had is left unchanged.

/// A policy or a rule.
public enum PolicyEntry: Equatable, Sendable {
    /// A policy.
    case policy(Policy)
    /// A rule.
    case rule(Rule)

    /// Its origin.
    public var origin: PolicyOrigin {
        switch self {
        case .policy(let policy): policy.origin
        case .rule(let rule): rule.origin
        }
    }
}

/// What applying the rules file changed, and what it kept.
public struct FileReport: Sendable {
    /// Why an entry that differs from the file was kept.
    public enum Reason: Equatable, Sendable {
        /// A command has changed it.
        case changedByCommand
        /// A command has removed it.
        case removedByCommand
        /// The file has dropped the policy, but a rule made by a command uses it.
        case inUse(by: RuleSubject)
    }

    /// A policy or rule that differs between the file and the entries in force.
    public struct Difference: Equatable, Sendable {
        /// The entry in force; nil for none.
        public var inForce: PolicyEntry?
        /// The file's entry; nil for none.
        public var file: PolicyEntry?
        /// Why the entry in force was kept; nil if the file's took effect.
        public var kept: Reason?
        /// Whether the file's entry has changed since it was last read, or that is unknown.
        public var hasFileChanged = true
    }

    /// Upper bound on the differences listed, for each of applied and kept.
    public static let listedMax = 50

    /// Number of entries applied.
    public private(set) var appliedCount = 0
    /// The first of them.
    public private(set) var applied: [Difference] = []
    /// Number of entries kept although the file differs.
    public private(set) var keptCount = 0
    /// The first of them, those changed in the file first.
    public private(set) var kept: [Difference] = []

    /// No differences.
    public init() {}

    mutating func add(_ difference: Difference) {
        if difference.kept == nil {
            appliedCount += 1
            if applied.count < FileReport.listedMax { applied.append(difference) }
            return
        }
        keptCount += 1
        if kept.count < FileReport.listedMax {
            kept.append(difference)
        } else if difference.hasFileChanged, let last = kept.lastIndex(where: { !$0.hasFileChanged }) {
            kept[last] = difference
        }
    }

    mutating func finish() {
        kept = kept.filter(\.hasFileChanged) + kept.filter { !$0.hasFileChanged }
    }
}

/// Operations that policies and rules have in common for a merge.
private protocol FileEntry {
    var origin: PolicyOrigin { get }
    var entry: PolicyEntry { get }
    /// Whether they are equal, ignoring origin and a policy's superseded limits.
    func hasSameContent(as other: Self) -> Bool
}

extension Policy: FileEntry {
    fileprivate var entry: PolicyEntry { .policy(self) }

    fileprivate func hasSameContent(as other: Policy) -> Bool {
        let (own, others) = (limit, other.limit)
        return name == other.name && mode == other.mode && own.algorithm == others.algorithm
            && own.units == others.units && own.period == others.period && own.capacity == others.capacity
            && own.offset == others.offset
    }
}

extension Rule: FileEntry {
    fileprivate var entry: PolicyEntry { .rule(self) }

    fileprivate func hasSameContent(as other: Rule) -> Bool { subject == other.subject && policy == other.policy }
}

private enum Verdict {
    /// They agree; nothing to do.
    case agreed
    /// A command has set the file's value: the entry is of origin file from here on.
    case adopted
    /// The file's version takes effect.
    case applied
    case kept(FileReport.Reason, hasFileChanged: Bool)

    /// - Parameters:
    ///   - inForce: The entry in force; nil for none.
    ///   - lastRead: The file's entry when it was last read, if a command has changed or removed it.
    ///   - file: The file's current entry; nil for none.
    init<Entry: FileEntry>(_ inForce: Entry?, lastRead: Entry?, file: Entry?, force: Bool) {
        guard let inForce else {
            guard let file, let lastRead, !force else {
                self = file == nil ? .agreed : .applied
                return
            }
            self = .kept(.removedByCommand, hasFileChanged: !lastRead.hasSameContent(as: file))
            return
        }
        guard let file else {
            // An entry that the file never had.
            guard inForce.origin == .file || lastRead != nil else {
                self = .agreed
                return
            }
            let isFiles = inForce.origin == .file || lastRead.map(inForce.hasSameContent) ?? false
            self = isFiles || force ? .applied : .kept(.changedByCommand, hasFileChanged: true)
            return
        }
        if inForce.hasSameContent(as: file) {
            self = inForce.origin == .file ? .agreed : .adopted
        } else if force || inForce.origin == .file || lastRead.map(inForce.hasSameContent) ?? false {
            self = .applied
        } else {
            self = .kept(.changedByCommand, hasFileChanged: lastRead.map { !$0.hasSameContent(as: file) } ?? true)
        }
    }
}

extension PolicyDraft {
    /// Applies changes of the rules file, and keeps changes made by commands.
    ///
    /// - Parameters:
    ///   - policies: The file's, each name once.
    ///   - rules: The file's, each subject once.
    ///   - force: The file takes precedence for every entry that it has, or has dropped since it was last read.
    /// - Throws: `policyInUse` when the file has dropped a policy that one of its own rules needs, or that a forced
    ///   removal would take from a rule; `unknownPolicy` for a rule without its policy. Nothing is changed then.
    /// - Complexity: O(policies + rules), of the file and in force.
    public mutating func applyFile(
        policies filePolicies: [Policy], rules fileRules: [Rule], force: Bool = false
    ) throws(PolicyError) -> FileReport {
        var taking = FileTaking(report: FileReport(), overrides: FileOverrides(), force: force)
        try take(filePolicies, &taking)
        try dropRules(notIn: Set(fileRules.map(\.subject)), &taking)
        try take(fileRules, knowing: Set(filePolicies.map(\.name)), &taking)
        try dropPolicies(notIn: Set(filePolicies.map(\.name)), &taking)
        // Checked after the old ones are removed: all names in a full file may be new.
        guard policies.count <= policiesMax else { throw .tooManyPolicies }
        for policy in taking.removed.values.sorted(by: { $0.policy.name.lexicographicallyPrecedes($1.policy.name) }) {
            taking.overrides.policies[policy.policy.name] = policy.policy
            taking.report.add(policy.difference)
        }
        taking.report.finish()
        var overrides = overrides
        overrides.replaceAll(with: taking.overrides)
        set(overrides)
        return taking.report
    }

    private struct FileTaking {
        var report: FileReport
        /// The remaining overrides.
        var overrides: FileOverrides
        let force: Bool
        /// Policies of the file that commands have removed and that no rule has needed so far.
        var removed: [[UInt8]: (policy: Policy, difference: FileReport.Difference)] = [:]
    }

    private mutating func take(_ filePolicies: [Policy], _ taking: inout FileTaking) throws(PolicyError) {
        for var policy in filePolicies {
            policy.origin = .file
            let inForce = self.policies[policy.name]
            var difference = FileReport.Difference(inForce: inForce?.entry, file: policy.entry)
            switch Verdict(inForce, lastRead: overrides.all.policies[policy.name], file: policy, force: taking.force) {
            case .agreed: break
            case .adopted:
                var adopted = inForce!
                adopted.origin = .file
                record(adopted)
            case .applied:
                try put(policy)
                taking.report.add(difference)
            case .kept(let reason, let hasFileChanged):
                (difference.kept, difference.hasFileChanged) = (reason, hasFileChanged)
                guard inForce != nil else {
                    taking.removed[policy.name] = (policy, difference)
                    continue
                }
                taking.overrides.policies[policy.name] = policy
                taking.report.add(difference)
            }
        }
    }

    private mutating func dropRules(
        notIn subjects: Set<RuleSubject>, _ taking: inout FileTaking
    ) throws(PolicyError) {
        var dropped: [(Rule, FileReport.Difference)] = []
        for rule in rules.values where !subjects.contains(rule.subject) {
            var difference = FileReport.Difference(inForce: rule.entry)
            switch Verdict(rule, lastRead: overrides.all.rules[rule.subject], file: nil, force: taking.force) {
            case .agreed, .adopted: continue
            case .applied: break
            case .kept(let reason, let hasFileChanged):
                (difference.kept, difference.hasFileChanged) = (reason, hasFileChanged)
            }
            dropped.append((rule, difference))
        }
        for (rule, difference) in dropped.sorted(by: { $0.0.subject.precedes($1.0.subject) }) {
            if difference.kept == nil { drop(rule.subject) }
            taking.report.add(difference)
        }
    }

    private mutating func take(
        _ fileRules: [Rule], knowing names: Set<[UInt8]>, _ taking: inout FileTaking
    ) throws(PolicyError) {
        for var rule in fileRules {
            rule.origin = .file
            guard names.contains(rule.policy) || policies[rule.policy] != nil else { throw .unknownPolicy(rule.policy) }
            let inForce = rules[rule.subject]
            var difference = FileReport.Difference(inForce: inForce?.entry, file: rule.entry)
            switch Verdict(inForce, lastRead: overrides.all.rules[rule.subject], file: rule, force: taking.force) {
            case .agreed: continue
            case .adopted: break
            case .applied: taking.report.add(difference)
            case .kept(let reason, let hasFileChanged):
                (difference.kept, difference.hasFileChanged) = (reason, hasFileChanged)
                taking.overrides.rules[rule.subject] = rule
                taking.report.add(difference)
                continue
            }
            // A policy that a command has removed is restored with the rule that needs it.
            if policies[rule.policy] == nil, var needed = taking.removed.removeValue(forKey: rule.policy) {
                try put(needed.policy)
                needed.difference.kept = nil
                taking.report.add(needed.difference)
            }
            try put(rule)
        }
    }

    private mutating func dropPolicies(notIn names: Set<[UInt8]>, _ taking: inout FileTaking) throws(PolicyError) {
        let used = Set(rules.values.map(\.policy))
        let candidates = policies.values.filter { !names.contains($0.name) }
        for policy in candidates.sorted(by: { $0.name.lexicographicallyPrecedes($1.name) }) {
            var difference = FileReport.Difference(inForce: policy.entry)
            switch Verdict(policy, lastRead: overrides.all.policies[policy.name], file: nil, force: taking.force) {
            case .agreed, .adopted: continue
            case .applied:
                guard used.contains(policy.name) else {
                    drop(policy.name)
                    break
                }
                // The rules that use it are searched only when they are the answer.
                let users = rules.values.filter { $0.policy == policy.name }
                if let user = users.first(where: { $0.origin == .file || taking.force }) {
                    throw .policyInUse(by: user.subject, count: users.count)
                }
                difference.kept = .inUse(by: users[0].subject)
            case .kept(let reason, let hasFileChanged):
                (difference.kept, difference.hasFileChanged) = (reason, hasFileChanged)
            }
            taking.report.add(difference)
        }
    }
}

extension RuleSubject {
    /// A sort order for lists: `*` before names, names by their bytes.
    public func precedes(_ other: RuleSubject) -> Bool {
        for (left, right) in [(tenant, other.tenant), (client, other.client), (action, other.action)]
        where left != right {
            guard let right else { return false }
            return left?.lexicographicallyPrecedes(right) ?? true
        }
        return false
    }
}
