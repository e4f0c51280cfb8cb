// The first line of a check: the verdict, what a server would start with, and otherwise the command that comes next.
//
//   ok: a server can start from /data: 10,000 keys, 3 policies, 5 rules, 1,234,567 bytes, last written 2026-…Z, 3 h ago
//   damaged: a server does not start from /data: log-3, byte 56: …; repair with `escapement check /data --fix`, which …
//   unusable: a server does not start from /data: manifest: …; no command repairs this: restore a backup, or …
//
// Owns: the words. DirectoryCheck has the facts, RepairPlan what a repair would give up. Always one line: control
// characters of names are escaped.

import Glibc
package import LimiterEngine
import System

/// The result of a check in one sentence.
package struct CheckSummary: Sendable {
    /// The state of a directory.
    package enum Verdict: String, Sendable {
        /// A server starts from it.
        case ok
        /// No server does; a repair of the log would change that.
        case damaged
        /// No server does, and no command repairs it.
        case unusable
    }

    /// What the sentence depends on besides the check.
    package struct Context: Sendable {
        /// The directory as the user has written it.
        package var path: String
        /// The wall clock.
        package var now: EngineTime
        /// The node's role, if a file in the data directory sets it: completes "a server can start from DIR, ".
        package var role: String?
        /// Files have grown since they were read: a server is running.
        package var isInUse = false

        /// A context with these fields.
        package init(path: String, now: EngineTime, role: String? = nil, isInUse: Bool = false) {
            self.path = path
            self.now = now
            self.role = role
            self.isInUse = isInUse
        }
    }

    /// What was done to the directory before the check.
    package enum Action: Sendable {
        case none
        /// `--fix`: nil if there was nothing to repair.
        case fix(DirectoryRepair?)
        /// `--rebase-clock`: nil if the files are not ahead.
        case rebase(ClockRebase?)
    }

    /// The state of the directory.
    package let verdict: Verdict
    /// The line, without its line feed.
    package let line: String
    /// The command that comes next; nil if there is none.
    package let next: String?

    /// Summarizes a check, made after `action`.
    package init(_ check: DirectoryCheck, _ context: Context, after action: Action = .none) {
        let path = ShellWord.quoted(context.path)
        let rest: String
        if let damage = check.firstDamage {
            let refusal = "a server does not start from \(path): \(damage.text(in: check.directory))"
            let plan: RepairPlan?
            do throws(RepairPlan.Obstacle) {
                plan = try RepairPlan(check)
                let command = "escapement check \(path) --fix"
                (verdict, next) = (.damaged, command)
                rest = "\(refusal); repair with `\(command)`\(plan.map { ", which \($0.cost)" } ?? "")"
            } catch {
                (verdict, next) = (.unusable, error.command(path))
                rest = "\(refusal)\(CheckSummary.others(error, damage, check)); \(error.advice(path))"
            }
        } else {
            (verdict, next) = (.ok, nil)
            rest = "a server can start from \(path)\(check.substance(context))"
        }
        let done = action.words
        // Nothing that was done matters more than that a server still cannot start.
        let label = (verdict == .ok ? done?.label : nil) ?? verdict.rawValue
        line = CheckSummary.printable("\(label): \(done.map { "\($0.text); " } ?? "")\(rest)")
    }

    /// The error that prevents a repair, where it is not the first.
    private static func others(
        _ obstacle: RepairPlan.Obstacle, _ first: RecoveryError, _ check: DirectoryCheck
    ) -> String {
        obstacle.error == first ? "" : "; \(obstacle.error.text(in: check.directory))"
    }

    /// `text` on one line, and whole: a path that is cut off cannot be used.
    package static func printable(_ text: String) -> String {
        var shown = ""
        for scalar in text.unicodeScalars {
            let isControl = scalar.value < 0x20 || (scalar.value >= 0x7F && scalar.value < 0xA0)
            shown += isControl ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
        }
        return shown
    }
}

// MARK: - Parts of the sentence

extension CheckSummary.Action {
    /// What was done; nil for nothing that was asked for.
    fileprivate var words: (label: String?, text: String)? {
        switch self {
        case .none: nil
        case .fix(nil): (nil, "nothing to repair")
        case .fix(let repair?):
            ("repaired", "\(repair.lost), and kept copies (\(repair.copies.joined(separator: ", ")))")
        case .rebase(nil): (nil, "nothing to move, since the files are not ahead of this machine's clock")
        case .rebase(let rebase?): ("rebased", "every time was moved back by \(Quantity.duration(rebase.shift))")
        }
    }
}

extension DirectoryRepair {
    fileprivate var lost: String { Quantity.lost("gave up", bytes: journalBytesGivenUp, records: recordsGivenUp) }
}

extension RepairPlan {
    /// `gives up 393 bytes of journal with at least 3 records, and keeps copies`.
    fileprivate var cost: String {
        Quantity.lost("gives up", bytes: journalBytesGivenUp, records: recordsGivenUp) + ", and keeps copies"
    }
}

extension RepairPlan.Obstacle {
    fileprivate func advice(_ path: String) -> String {
        switch self {
        case .problem, .snapshot:
            "no command repairs this: restore a backup, or move \(path) away on a replica, which then gets a full sync"
        case .otherVersion: "this is not damage: start it with the version that wrote it, or a newer one"
        case .unreadable(let error) where error.isDenied: RecoveryError.userAdvice("check", path)
        case .unreadable: "this is not damage of the file: see the kernel's messages (dmesg) about the disk"
        }
    }

    fileprivate func command(_ path: String) -> String? {
        guard case .unreadable(let error) = self, error.isDenied else { return nil }
        return RecoveryError.asUser("check", path)
    }
}

extension DirectoryCheck {
    /// What follows "a server can start from DIR".
    fileprivate func substance(_ context: CheckSummary.Context) -> String {
        let role = context.role.map { ", \($0)" } ?? ""
        guard manifest != nil, let contents else {
            return "\(role), with an empty state: it contains no log and no snapshot"
        }
        let bytes = stateFiles.reduce(0) { $0 + $1.bytes }
        var parts = [contents.keysText, Quantity.of(contents.policies, "policy", "policies")]
        parts.append(Quantity.of(contents.rules, "rule", "rules"))
        parts.append(Quantity.of(bytes, "byte", "bytes"))
        parts.append("last written \(written(context))")
        var text = "\(role): \(parts.joined(separator: ", "))"
        if context.isInUse {
            text += "; a server is writing to it, and this is what it had written when the reading began"
        } else if let torn = tornBytes {
            text += "; the start cuts off \(Quantity.of(torn, "byte", "bytes")) torn by a crash at the end of the log"
        }
        return text
    }

    /// `2026-…Z, 3 h ago`.
    private func written(_ context: CheckSummary.Context) -> String {
        let ahead = lastTime - context.now
        let time = "\(Timestamp.text(milliseconds: lastTime.nanoseconds / 1_000_000))"
        // Less is normal after a small step of the clock.
        guard ahead >= .seconds(60) else {
            return "\(time), \(Quantity.duration(max(.zero, context.now - lastTime))) ago"
        }
        return "\(time), \(Quantity.duration(ahead)) ahead of this machine's clock (correct the clock, or see "
            + "`escapement check \(ShellWord.quoted(context.path)) --rebase-clock`)"
    }

    private var tornBytes: Int? {
        for file in files { if case .torn(let position, _) = file.condition { return file.bytes - position } }
        return nil
    }
}

extension StateContents {
    private static let databasesListedMax = 4

    /// `10,000 keys in 2 databases (db0 9,990, db1 10; 20 more have expired)`.
    fileprivate var keysText: String {
        var text = Quantity.of(keys, "key", "keys")
        var details: [String] = []
        let used = databases.filter { $0.keys > 0 }
        if let only = used.first, used.count == 1, only.number != 0 { text += " in database \(only.number)" }
        if used.count > 1 {
            text += " in \(used.count) databases"
            let first = used.prefix(StateContents.databasesListedMax)
            let listed = first.map { "db\($0.number) \(Quantity.grouped($0.keys))" }.joined(separator: ", ")
            details.append(listed + (used.count > first.count ? ", …" : ""))
        }
        if expired > 0 { details.append("\(Quantity.grouped(expired)) \(keys > 0 ? "more " : "")have expired") }
        return details.isEmpty ? text : "\(text) (\(details.joined(separator: "; ")))"
    }
}

extension RecoveryError {
    fileprivate var isDenied: Bool { cause == .storage(EACCES) || cause == .storage(EPERM) }

    /// The error's reason, for a subcommand that could not begin with the directory `path`; where it lacks permissions,
    /// with the command that has them.
    package func reason(for subcommand: String, _ path: String) -> String {
        guard isDenied else { return reason }
        return "\(reason); \(RecoveryError.userAdvice(subcommand, ShellWord.quoted(path)))"
    }

    fileprivate static func userAdvice(_ subcommand: String, _ word: String) -> String {
        "run this as the server's user, for example `\(asUser(subcommand, word))`"
    }

    /// As the user that the package creates.
    fileprivate static func asUser(_ subcommand: String, _ word: String) -> String {
        "sudo -u escapement escapement \(subcommand) \(word)"
    }

    /// `log-3, byte 56: the batch has a wrong checksum`: without the directory that the sentence has named.
    fileprivate func text(in directory: String) -> String {
        let prefix = "\(directory)/"
        let shown = path.hasPrefix(prefix) ? String(path.dropFirst(prefix.count)) : path
        return RecoveryError(shown, position, reason, cause: cause).description
    }
}
