// Loads the rules file at startup, by command and by signal, and logs the differences.
//
// Entries that have changed in the file since it was last read take effect, and changes made by commands are kept; the
// engine decides that (PolicyDraft+File). Owns the order of reading, applying and storing the overrides, and the log
// lines. May block on files, so it runs on the files thread, and at startup on the replication thread.

import LimiterEngine
import Persistence
import Synchronization

/// The result of loading the rules file.
struct RulesReport {
    let path: String
    /// Number of policies and rules in the file.
    let policies: Int
    let rules: Int
    let differences: FileReport
}

extension Server {
    /// Reads the rules file and applies it, all or nothing.
    ///
    /// - Parameters:
    ///   - force: The file takes precedence over changes made by commands.
    ///   - checksRole: Reject the file if, by the time it has been read, the node no longer accepts changes.
    /// - Returns: Nil if no file is configured.
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
                    // A role change is announced first and then takes the journal's lock, which is held here: so this
                    // edit is either completed before the role change, or sees it.
                    takesChanges = !checksRole || !replication.isReplica && !pause.holdsWrites.load(ordering: .relaxed)
                    guard takesChanges else { return }
                    differences = try draft.applyFile(policies: file.policies, rules: file.rules, force: force)
                }
            }
        }
        if case .failure(let problem) = result { throw file.error(problem) }
        guard takesChanges else {
            throw RulesFileError(text: "\(path): the node became a replica, or started to, while the file was read")
        }
        // After applying: a stored override that is no longer in effect is harmless, a missing one is not.
        saveOverrides()
        return RulesReport(
            path: path, policies: file.policies.count, rules: file.rules.count, differences: differences)
    }

    // MARK: Overrides

    /// Reads the stored overrides at startup: once, before any change.
    func restoreOverrides() {
        do throws(StorageError) {
            let (overrides, unreadable) = try OverridesFile(directory: currentSettings.value.dir).read()
            engine.policies.restoreOverrides(overrides)
            guard unreadable > 0 else { return }
            log.warning(
                "invalid lines in \(OverridesFile.name): entries removed by commands may be restored",
                ["lines": .integer(unreadable)])
        } catch {
            log.warning(
                "cannot read \(OverridesFile.name): entries of the rules file removed by commands will be restored",
                ["error": "\(error)"])
        }
    }

    /// Durably stores the overrides made since the last call. One caller at a time.
    func saveOverrides() {
        guard let unsaved = engine.policies.drainUnsavedOverrides() else { return }
        do throws(StorageError) {
            try OverridesFile(directory: currentSettings.value.dir).store(unsaved)
        } catch {
            // The file may contain part of it.
            engine.policies.storeAllOverrides()
            log.warning(
                "cannot store overrides of the rules file made by commands: a restart may undo removals",
                ["error": "\(error)"])
        }
    }

    // MARK: Log

    /// Logs the differences that were applied and those that were kept: one line each, up to a bound.
    ///
    /// - Parameters:
    ///   - client: The address of the client that requested the reload, if any.
    ///   - listsDifferences: False for a server that starts without state, since all of the file is new to it.
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
        // If the file has changed, its editor may expect the change to take effect.
        log.log(
            difference.hasFileChanged ? .warning : .notice, "rules file: \(kind) \(why)",
            [
                "name": "\(name)", "in_force": PolicyLog.value(difference.inForce),
                "file": PolicyLog.value(difference.file),
            ])
    }
}

/// Policies and rules in log lines.
enum PolicyLog {
    /// The kind and the name of an entry.
    static func subject(_ entry: PolicyEntry) -> (kind: String, name: String) {
        switch entry {
        case .policy(let policy): ("policy", PolicyText.quoted(policy.name))
        case .rule(let rule): ("rule", PolicyText.subject(rule.subject))
        }
    }

    static func value(_ entry: PolicyEntry?) -> LogValue { .string(entry.map(PolicyText.meaning) ?? "none") }

    /// The log line about a change by a command; nil if it has changed nothing.
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
