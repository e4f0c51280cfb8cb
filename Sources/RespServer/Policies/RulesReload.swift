// Reading the rules file at the start, by command and by signal, and logging what that has changed.
//
// What has changed in the file since it was last read takes effect, and what commands have changed is kept: the engine
// decides that (PolicyDraft+File). Owns the order of reading, applying and storing what commands have overridden, and
// the lines of the log. May block on files, so it runs on the files thread, and at the start on the replication thread.

import LimiterEngine
import Persistence
import Synchronization

/// What reading the rules file has come to.
struct RulesReport {
    let path: String
    /// How many policies and rules the file has.
    let policies: Int
    let rules: Int
    let differences: FileReport
}

extension Server {
    /// Reads the rules file and applies it; all or nothing.
    ///
    /// - Parameters:
    ///   - force: The file takes precedence over what commands have changed.
    ///   - checksRole: The file is refused if the node, by the time it has been read, takes no changes.
    /// - Returns: Nil when no file is set.
    func loadRulesFile(
        now: EngineTime, force: Bool = false, checksRole: Bool = false
    ) throws(RulesFileError) -> RulesReport? {
        let path = currentSettings.value.rulesFile
        guard !path.isEmpty else { return nil }
        let file = try RulesFile(path: path)
        var takesChanges = true
        var differences = FileReport()
        let result = durability.journal.excludingCollections {
            Result { () throws(PolicyError) in
                try editPolicies(now: now) { draft throws(PolicyError) in
                    // A change of role is announced first and then takes the journal's lock, which is held here: this
                    // edit either comes before the change as a whole, or sees it.
                    takesChanges = !checksRole || !replication.isReplica && !pause.holdsWrites.load(ordering: .relaxed)
                    guard takesChanges else { return }
                    differences = try draft.applyFile(policies: file.policies, rules: file.rules, force: force)
                }
            }
        }
        if case .failure(let problem) = result { throw file.error(problem) }
        guard takesChanges else {
            throw RulesFileError(text: "\(path): the node became a replica, or began to, while the file was read")
        }
        // Afterwards: an override that is stored and no longer in force does no harm, one that is missing would.
        saveOverrides()
        return RulesReport(
            path: path, policies: file.policies.count, rules: file.rules.count, differences: differences)
    }

    // MARK: Overrides

    /// Reads what commands had overridden before the server was started: once, before anything is changed.
    func restoreOverrides() {
        do throws(StorageError) {
            let (overrides, unreadable) = try OverridesFile(directory: currentSettings.value.dir).read()
            engine.policies.restoreOverrides(overrides)
            guard unreadable > 0 else { return }
            log.warning(
                "lines of \(OverridesFile.name) cannot be read: if commands have removed those entries, they come back",
                ["lines": .integer(unreadable)])
        } catch {
            log.warning(
                "cannot read \(OverridesFile.name): entries of the rules file that commands have removed come back",
                ["error": "\(error)"])
        }
    }

    /// Stores what commands have overridden since the last time; on disk when it returns. One caller at a time.
    func saveOverrides() {
        guard let unsaved = engine.policies.drainUnsavedOverrides() else { return }
        do throws(StorageError) {
            try OverridesFile(directory: currentSettings.value.dir).store(unsaved)
        } catch {
            // A part of it may be in the file.
            engine.policies.storeAllOverrides()
            log.warning(
                "cannot store what commands have changed of the rules file: a restart may undo removals",
                ["error": "\(error)"])
        }
    }

    // MARK: Log

    /// Logs what reading the rules file has applied, and what it has kept: a line each, up to a bound.
    ///
    /// - Parameters:
    ///   - client: The address of the client that asked for it, if one did.
    ///   - listsDifferences: False for a server that starts without a state: all of the file is new to it.
    func log(_ report: RulesReport, client: String? = nil, listsDifferences: Bool = true) {
        let differences = report.differences
        if listsDifferences { list(differences) }
        var fields: LogFields = [
            "file": "\(report.path)", "policies": .integer(report.policies), "rules": .integer(report.rules),
            "applied": .integer(differences.appliedCount), "kept": .integer(differences.keptCount),
        ]
        if let client { fields.append("client", "\(client)") }
        log.notice("rules file loaded", fields)
    }

    private func list(_ differences: FileReport) {
        for difference in differences.applied { logApplied(difference) }
        for difference in differences.kept { logKept(difference) }
        let further =
            differences.appliedCount + differences.keptCount - differences.applied.count - differences.kept.count
        if further > 0 { log.notice("rules file: further differences, not listed", ["count": .integer(further)]) }
    }

    private func logApplied(_ difference: FileReport.Difference) {
        guard let entry = difference.file ?? difference.inForce else { return }
        let (kind, name) = PolicyLog.subject(entry)
        let verb = difference.inForce == nil ? "added" : difference.file == nil ? "removed" : "changed"
        log.notice(
            "rules file: \(kind) \(verb)",
            [
                "name": "\(name)", "before": PolicyLog.value(difference.inForce),
                "after": PolicyLog.value(difference.file),
            ])
    }

    private func logKept(_ difference: FileReport.Difference) {
        guard let entry = difference.file ?? difference.inForce, let reason = difference.kept else { return }
        let (kind, name) = PolicyLog.subject(entry)
        let why =
            switch reason {
            case .changedByCommand: "kept as set by a command"
            case .removedByCommand: "not restored: removed by a command"
            case .inUse(let user): "kept, though dropped from the file: a command's rule uses it, '\(user.shown)'"
            }
        // If the file has changed, the person who changed it may expect that to take effect.
        log.log(
            difference.hasFileChanged ? .warning : .notice, "rules file: \(kind) \(why)",
            [
                "name": "\(name)", "in_force": PolicyLog.value(difference.inForce),
                "file": PolicyLog.value(difference.file),
            ])
    }
}

/// Policies and rules in lines of the log.
enum PolicyLog {
    /// What it is, and which.
    static func subject(_ entry: PolicyEntry) -> (kind: String, name: String) {
        switch entry {
        case .policy(let policy): ("policy", PolicyText.quoted(policy.name))
        case .rule(let rule): ("rule", PolicyText.subject(rule.subject))
        }
    }

    static func value(_ entry: PolicyEntry?) -> LogValue { .string(entry.map(PolicyText.meaning) ?? "none") }

    /// The line about a change that a command has made; nil if it has changed nothing.
    static func line(before: PolicyEntry?, after: PolicyEntry?, client: Connection) -> LogNote? {
        guard let entry = after ?? before else { return nil }
        if let before, let after, value(before) == value(after), before.origin == after.origin { return nil }
        let (kind, name) = subject(entry)
        let verb = before == nil ? "added" : after == nil ? "removed" : "changed"
        var fields: LogFields = [
            "name": "\(name)", "before": value(before), "after": value(after), "client": "\(client.peerAddress)",
        ]
        if !client.name.isEmpty { fields.append("client_name", "\(String(decoding: client.name, as: UTF8.self))") }
        return LogNote(message: "\(kind) \(verb) by a command", fields: fields)
    }
}
