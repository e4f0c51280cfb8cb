// The results of a check and a repair, as text and as JSON. Both contain the same facts.

import LimiterEngine
import System

extension DirectoryCheck {
    /// One line per file and one for the directory: what follows the summary.
    package var text: String {
        var lines = files.map(\.line)
        if let problem { lines.append("damage: \(problem)") }
        lines.append(total)
        return lines.joined(separator: "\n") + "\n"
    }

    /// `records by kind: 9 gcra, 6 counter, 4 removed, 1 flush_all, 1 end_of_snapshot`.
    package var kindsText: String {
        let kinds = tally.kinds.map { "\(Quantity.grouped($0.count)) \($0.name)" }
        return "records by kind: \(kinds.isEmpty ? "none" : kinds.joined(separator: ", "))\n"
    }

    private var total: String {
        let damaged = files.count { $0.condition.isDamaged }
        if problem != nil { return "\(directory): unusable, a server does not start from it" }
        if manifest == nil { return "\(directory): contains no state, a server starts empty" }
        let what = damaged == 0 ? "clean" : "damaged (\(damaged) of \(files.count) files)"
        let records = stateFiles.reduce(0) { $0 + $1.records }
        let bytes = stateFiles.reduce(0) { $0 + $1.bytes }
        return "\(directory): \(what), \(records) records in \(bytes) bytes, the journal ends at \(end)"
    }

    /// The same as one JSON object without a line feed; `repair` and `rebase` are the actions taken, if any.
    package func json(
        summary: CheckSummary, repair: DirectoryRepair? = nil, rebase: ClockRebase? = nil
    ) -> [UInt8] {
        var line = JSONLine()
        line.object { line in
            write(summary, to: &line)
            if let repair {
                line.name("repair")
                line.object { repair.write(to: &$0) }
            }
            if let rebase {
                line.name("rebase")
                line.object { line in
                    line.member("moved_back_ns", rebase.shift.nanoseconds)
                    line.name("copies")
                    line.array { line in for name in rebase.copies { line.string(name) } }
                }
            }
        }
        return line.bytes
    }

    /// The object that takes the place of a check's where there was none, with its line feed.
    package static func uncheckedJSON(_ path: String, _ reason: String) -> [UInt8] {
        var line = JSONLine()
        line.object { line in
            line.member("directory", path)
            line.member("clean", false)
            line.member("verdict", "unchecked")
            line.member("summary", CheckSummary.printable("unchecked: \(reason)"))
        }
        line.end()
        return line.bytes
    }

    /// The first line of a dump, which sums up those that follow. It has the fields that every line has, so that it is
    /// a line of a type of its own to a reader that selects by them.
    ///
    /// - Parameter isInUse: Files have grown since they were read.
    package func dumpLine(summary: CheckSummary, isInUse: Bool) -> [UInt8] {
        var line = JSONLine()
        line.object { line in
            line.member("file", Manifest.fileName)
            line.member("offset", 0)
            line.member("time", lastTime.nanoseconds)
            line.member("type", "summary")
            write(summary, to: &line)
            line.member("changing", isInUse)
            line.member("lines", tally.total)
            line.name("kinds")
            line.object { line in
                for (name, count) in tally.kinds { line.member(name, count) }
            }
        }
        line.end()
        return line.bytes
    }

    /// The facts that a check and a dump have in common.
    private func write(_ summary: CheckSummary, to line: inout JSONLine) {
        line.member("directory", directory)
        line.member("clean", isClean)
        if let problem { line.member("problem", "\(problem)") }
        line.member("verdict", summary.verdict.rawValue)
        line.member("summary", summary.line)
        if let next = summary.next { line.member("next", next) }
        if let manifest { line.member("history", manifest.history) }
        line.member("end", end)
        if let firstTime { line.member("first_time", firstTime.nanoseconds) }
        line.member("last_time", lastTime.nanoseconds)
        line.member("records", stateFiles.reduce(0) { $0 + $1.records })
        line.member("bytes", stateFiles.reduce(0) { $0 + $1.bytes })
        contents?.write(to: &line)
        line.name("files")
        line.array { line in
            for file in files { line.object { file.write(to: &$0) } }
        }
    }
}

extension StateContents {
    fileprivate func write(to line: inout JSONLine) {
        line.member("keys", keys)
        line.member("keys_expired", expired)
        line.name("databases")
        line.array { line in
            for database in databases {
                line.object { line in
                    line.member("db", database.number)
                    line.member("keys", database.keys)
                    line.member("keys_expired", database.expired)
                }
            }
        }
        line.member("tokens", tokens)
        line.member("policies", policies)
        line.member("rules", rules)
    }
}

extension DirectoryCheck.File {
    /// `log-2: log, journal 0 to 96, 3 records, 152 bytes, ok`.
    var line: String {
        var parts = [role.rawValue]
        switch (start, end) {
        case (let start?, let end?): parts.append("journal \(start) to \(end)")
        case (let start?, nil): parts.append("journal \(start)")
        default: break
        }
        if role == .log || role == .snapshot { parts.append("\(records) records") }
        parts.append("\(bytes) bytes")
        return "\(name): \(parts.joined(separator: ", ")), \(words)"
    }

    private var words: String {
        switch condition {
        case .sound: "ok"
        case .torn(let position, let reason):
            "torn tail of \(bytes - position) bytes at byte \(position), will be cut at start unless "
                + "aof-load-truncated is no: the batch \(reason)"
        case .ignored(let reason): reason
        case .damaged(let error): "damage" + (error.position.map { " at byte \($0)" } ?? "") + ": \(error.reason)"
        }
    }

    fileprivate func write(to line: inout JSONLine) {
        line.member("file", name)
        line.member("role", role.rawValue)
        if let start { line.member("start", start) }
        if let end { line.member("end", end) }
        if role == .log || role == .snapshot {
            line.member("records", records)
            line.member("records_behind_damage", recordsBehind)
        }
        line.member("bytes", bytes)
        switch condition {
        case .sound: line.member("condition", "ok")
        case .torn(let position, let reason):
            line.member("condition", "torn")
            line.member("position", position)
            line.member("reason", "the batch \(reason)")
        case .ignored(let reason):
            line.member("condition", "ignored")
            line.member("reason", reason)
        case .damaged(let error):
            line.member("condition", "damaged")
            if let position = error.position { line.member("position", position) }
            line.member("reason", error.reason)
        }
    }
}

extension DirectoryRepair {
    /// What was done, one line each.
    package var text: String {
        var lines: [String] = []
        if let cut { lines.append("cut \(cut.name) to \(cut.position) bytes") }
        for name in dropped { lines.append("dropped \(name)") }
        for name in copies { lines.append("kept a copy as \(name)") }
        lines.append(
            "given up: \(journalBytesGivenUp) bytes of journal, \(recordsGivenUp) records that could be counted; "
                + "the journal ends at \(end)")
        return lines.joined(separator: "\n") + "\n"
    }

    fileprivate func write(to line: inout JSONLine) {
        if let cut {
            line.member("cut", cut.name)
            line.member("position", cut.position)
        }
        line.name("dropped")
        line.array { line in for name in dropped { line.string(name) } }
        line.name("copies")
        line.array { line in for name in copies { line.string(name) } }
        line.member("journal_bytes_given_up", journalBytesGivenUp)
        line.member("records_given_up", recordsGivenUp)
        line.member("end", end)
    }
}
