// Changing policies and rules while the server works: the engine's registry and the journal in one step, so that no
// reader of the journal sees them in another order than they took force in.
//
// Lock order: the journal's lock, then the registry's editor. A command holds the first when it comes here.

import LimiterEngine
import Persistence
import Synchronization

extension Server {
    /// Changes policies and rules, all or nothing; they are in force and in the journal when this returns.
    ///
    /// - Precondition: The caller is inside of `Journal.excludingCollections`: see `CommandFlags.records`.
    func editPolicies(
        now: EngineTime, _ body: (inout PolicyDraft) throws(PolicyError) -> Void
    ) throws(PolicyError) {
        defer { durability.noteChanges() }
        try engine.policies.edit(now: now, body) { records in
            guard durability.isJournaling else { return }
            durability.journal.recordExcluding(records, time: now)
        }
    }

    /// Reads the rules file and puts it into force; all or nothing. Waits for the file: not for a loop to call.
    ///
    /// - Parameter checksRole: The file is refused if the node, by the time it has been read, takes no changes.
    /// - Returns: How many policies and rules it has; nil when none is set.
    func loadRulesFile(
        now: EngineTime, checksRole: Bool = false
    ) throws(RulesFileError) -> (policies: Int, rules: Int)? {
        let path = currentSettings.value.rulesFile
        guard !path.isEmpty else { return nil }
        let file = try RulesFile(path: path)
        var takesChanges = true
        let result = durability.journal.excludingCollections {
            Result { () throws(PolicyError) in
                try editPolicies(now: now) { draft throws(PolicyError) in
                    // A change of role is announced first and then takes the journal's lock, which is held here: this
                    // edit either comes before the change as a whole, or sees it.
                    takesChanges = !checksRole || !replication.isReplica && !pause.holdsWrites.load(ordering: .relaxed)
                    if takesChanges { try draft.replaceFile(policies: file.policies, rules: file.rules) }
                }
            }
        }
        if case .failure(let problem) = result { throw file.error(problem) }
        guard takesChanges else {
            throw RulesFileError(text: "\(path): the node became a replica, or began to, while the file was read")
        }
        return (file.policies.count, file.rules.count)
    }
}

extension PolicyError {
    /// A sentence that names what is wrong.
    var text: String {
        switch self {
        case .emptyName: "a name must not be empty"
        case .nameTooLong: "a name must have at most \(Policy.nameLengthMax) bytes"
        case .unknownPolicy(let name): "there is no policy '\(PolicyError.shown(name))'"
        case .policyInUse(let subject, let count):
            "\(count) \(count == 1 ? "rule uses" : "rules use") the policy, such as the one for "
                + "'\(subject.shown)'"
        case .unknownRule(let subject): "there is no rule for '\(subject.shown)'"
        case .tooManyPolicies: "there may be at most \(PolicyTable.policiesMax) policies"
        case .tooManyRules: "there may be at most \(PolicyTable.rulesMax) rules"
        case .damagedRecord: "a record is damaged"
        }
    }

    static func shown(_ name: [UInt8]) -> String {
        SettingError.printable(String(decoding: name.prefix(64), as: UTF8.self))
    }
}

extension RuleSubject {
    /// `tenant client action` for people.
    var shown: String {
        [tenant, client, action].map { $0.map(PolicyError.shown) ?? "*" }.joined(separator: " ")
    }
}
