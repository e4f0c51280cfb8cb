// Changes policies and rules at run time: atomically in the engine's registry and the journal, so that readers of the
// journal see the changes in the order in which they took effect.
//
// Lock order: the journal's lock, then the registry's editor. Commands already hold the first one here.

import LimiterEngine
import Persistence
import Synchronization

extension Server {
    /// Changes policies and rules, all or nothing. On return, the changes are in effect and in the journal.
    ///
    /// - Precondition: The caller is inside `Journal.excludingCollections`: see `CommandFlags.records`.
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
    /// An error text without `ERR`.
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
            "\(error.text) (the current policy is: \(PolicyText.terms(old)))"
        }
    }

    static func shown(_ name: [UInt8]) -> String {
        SettingError.printable(String(decoding: name.prefix(64), as: UTF8.self))
    }
}

extension RuleSubject {
    /// `tenant client action` for error texts.
    var shown: String {
        [tenant, client, action].map { $0.map(PolicyError.shown) ?? "*" }.joined(separator: " ")
    }
}
