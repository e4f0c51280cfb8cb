// `rules-overridden` in the data directory: the file's version of policies and rules that commands have changed or
// removed since the rules file was read, in the syntax of the rules file. Without it a restart could not tell a rule
// that a command has removed from one that is new in the file.
//
// Written whole when the rules file is read, and appended to when a command first changes or removes an entry of the
// file. Of several lines about the same entry the last one holds. A line that cannot be read is skipped: its entry is
// then taken for new in the file. Owns the format; RulesReload decides when to write.

import LimiterEngine
import Persistence
import RESP

struct OverridesFile {
    static let name = "rules-overridden"
    private static let header =
        "# The rules file's version of what commands have changed or removed. Written by the server.\n"

    let directory: String
    private let files: any FileSystem = RealFileSystem()

    private var path: String { "\(directory)/\(OverridesFile.name)" }

    /// What is stored, and how many lines could not be read.
    func read() throws(StorageError) -> (overrides: FileOverrides, unreadable: Int) {
        guard try files.exists(path) else { return (FileOverrides(), 0) }
        return OverridesFile.read(try files.contents(of: path, limit: RulesFile.bytesMax))
    }

    static func read(_ bytes: [UInt8]) -> (overrides: FileOverrides, unreadable: Int) {
        var overrides = FileOverrides()
        var unreadable = 0
        // A line without an end was torn by a crash.
        let lines = bytes.prefix((bytes.lastIndex(of: 0x0A) ?? -1) + 1).split(separator: 0x0A)
        let list = ArgumentList()
        for line in lines {
            line.withUnsafeBufferPointer { line in
                do throws(ArgumentProblem) {
                    switch try RulesFile.entry(line, list, acceptsUnknownZones: true) {
                    case .policy(var policy):
                        policy.origin = .file
                        overrides.policies[policy.name] = policy
                    case .rule(var rule):
                        rule.origin = .file
                        overrides.rules[rule.subject] = rule
                    case nil: break
                    }
                } catch {
                    unreadable += 1
                }
            }
        }
        return (overrides, unreadable)
    }

    /// Has the overrides on disk when it returns.
    func store(_ unsaved: UnsavedOverrides) throws(StorageError) {
        let lines = OverridesFile.lines(unsaved.overrides)
        let exists = try files.exists(path)
        if unsaved.replacesAll || !exists {
            let text = Array(OverridesFile.header.utf8) + lines
            guard exists || !lines.isEmpty else { return }
            if exists, try files.contents(of: path, limit: RulesFile.bytesMax) == text { return }
            return try files.replace(path, with: text, inDirectory: directory)
        }
        let file = try files.open(path, .update)
        let end = try file.size()
        var failure: StorageError?
        lines.withUnsafeBytes { bytes in
            do throws(StorageError) {
                try file.writeAll(bytes, at: end)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        try file.syncAll()
    }

    /// In an order that does not depend on hashes.
    private static func lines(_ overrides: FileOverrides) -> [UInt8] {
        let policies = overrides.policies.values.map(PolicyText.line).sorted()
        let rules = overrides.rules.values.sorted { $0.subject.precedes($1.subject) }.map(PolicyText.line)
        var bytes: [UInt8] = []
        for line in policies + rules { bytes += Array((line + "\n").utf8) }
        return bytes
    }
}
