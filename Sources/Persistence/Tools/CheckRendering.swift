// The results of a check and a repair, as text and as JSON. Both contain the same facts.

import LimiterEngine
import System

extension DirectoryCheck {
    /// One line per file and one for the directory.
    package var text: String {
        var lines = files.map(\.line)
        if let problem { lines.append("damage: \(problem)") }
        lines.append(summary)
        return lines.joined(separator: "\n") + "\n"
    }

    private var summary: String {
        let damaged = files.count { $0.condition.isDamaged }
        if problem != nil { return "\(directory): unusable, a server does not start from it" }
        if manifest == nil { return "\(directory): contains no state, a server starts empty" }
        let what = damaged == 0 ? "clean" : "damaged (\(damaged) of \(files.count) files)"
        let records = stateFiles.reduce(0) { $0 + $1.records }
        let bytes = stateFiles.reduce(0) { $0 + $1.bytes }
        return "\(directory): \(what), \(records) records in \(bytes) bytes, the journal ends at \(end)"
    }

    /// The same as one JSON object without a line feed; `repair` and `rebase` are the actions taken, if any.
    package func json(repair: DirectoryRepair? = nil, rebase: ClockRebase? = nil) -> [UInt8] {
        var line = JSONLine()
        line.object { line in
            line.member("directory", directory)
            line.member("clean", isClean)
            if let problem { line.member("problem", "\(problem)") }
            if let manifest { line.member("history", manifest.history) }
            line.member("end", end)
            line.member("last_time", lastTime.nanoseconds)
            line.member("records", stateFiles.reduce(0) { $0 + $1.records })
            line.member("bytes", stateFiles.reduce(0) { $0 + $1.bytes })
            line.name("files")
            line.array { line in
                for file in files { line.object { file.write(to: &$0) } }
            }
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
            "torn tail at byte \(position), will be cut at start: the batch \(reason)"
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
