// The rules file's version of policies and rules that commands have changed or removed.
//
// Why it is needed: every entry in force carries its origin, so one of origin `file` is itself what the file had when
// it was last read. Once a command has changed or removed an entry, the file's version is gone, and a line that is new
// in the file could not be told from one that a command has overridden. This concerns the node's own file, so it is
// neither journaled nor replicated: the driver stores it next to the journal.

/// The rules file's version of policies and rules that commands have changed or removed since it was read.
public struct FileOverrides: Equatable, Sendable {
    /// By name.
    public var policies: [[UInt8]: Policy] = [:]
    /// By subject.
    public var rules: [RuleSubject: Rule] = [:]

    /// None.
    public init() {}

    /// Whether there are none.
    public var isEmpty: Bool { policies.isEmpty && rules.isEmpty }
}

/// Overrides that have to be stored.
public struct UnsavedOverrides: Equatable, Sendable {
    /// All of them, or those added since the last time.
    public var overrides: FileOverrides
    /// Whether they replace everything stored before.
    public var replacesAll: Bool
}

/// Overrides, and which of them are stored.
struct OverridesState {
    private(set) var all = FileOverrides()
    private var unsaved = FileOverrides()
    private var replacesAll = false

    var hasUnsaved: Bool { replacesAll || !unsaved.isEmpty }

    mutating func add(_ policy: Policy) {
        all.policies[policy.name] = policy
        unsaved.policies[policy.name] = policy
    }

    mutating func add(_ rule: Rule) {
        all.rules[rule.subject] = rule
        unsaved.rules[rule.subject] = rule
    }

    /// Removes one that was added in an edit that failed.
    mutating func removePolicy(_ name: [UInt8]) {
        all.policies[name] = nil
        unsaved.policies[name] = nil
    }

    /// Removes one that was added in an edit that failed.
    mutating func removeRule(_ subject: RuleSubject) {
        all.rules[subject] = nil
        unsaved.rules[subject] = nil
    }

    mutating func replaceAll(with overrides: FileOverrides) {
        all = overrides
        unsaved = FileOverrides()
        replacesAll = true
    }

    /// Applies stored overrides; later ones are kept.
    mutating func restore(_ stored: FileOverrides) {
        all.policies.merge(stored.policies) { later, _ in later }
        all.rules.merge(stored.rules) { later, _ in later }
    }

    mutating func drainUnsaved() -> UnsavedOverrides? {
        guard hasUnsaved else { return nil }
        defer { (unsaved, replacesAll) = (FileOverrides(), false) }
        return UnsavedOverrides(overrides: replacesAll ? all : unsaved, replacesAll: replacesAll)
    }
}
