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
        case .incomplete(let argument): "\(argument.word) is missing"
        case .invalidLimit(let error, nil): error.text
        case .invalidLimit(let error, let old?):
            "\(error.text) (what is not named stays as it is: \(PolicyText.terms(old)))"
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
