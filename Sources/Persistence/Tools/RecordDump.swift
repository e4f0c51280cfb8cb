// Prints every record of a directory as a line of JSON, in the order in which a start reads them. The line before them,
// of type summary, is DirectoryCheck's.
//
//   {"file":"log-2","offset":96,"time":1700000000000000000,"type":"state","kind":"gcra","key":"user:1","tat_ns":…}
//
//   offset        of the record's batch: in the journal, or for a snapshot in the file's own stream
//   type          state, removed, control
//   kind          of a state: gcra, counter or another kind's name; of a control record: flush_all, end_of_snapshot,
//                 policy, policy_removal, rule, rule_removal
//   key           text, or key_hex when the bytes are not UTF-8; control records have one only when it is not empty
//   tat_ns, value, state_hex    the state of a gcra, of a counter, of any other kind
//   deadline_ns   where the state has one
//   records       of end_of_snapshot: the number it states; other control records with a body have body_hex
//
// Owns: the lines. Reading and validation are those of a start (Replay, StateFile). Memory is bounded by a batch and a
// line. Takes no lock and changes nothing. For a running server it prints what the check has read, so that the summary
// is right: what has been appended since is left out.

import LimiterEngine

/// Iterates over a directory and prints every record.
package struct RecordDump {
    private let system: any FileSystem
    private let directory: String
    private let check: DirectoryCheck
    /// Bytes of lines gathered before they are passed on.
    private static let chunkSize = 1 << 16

    /// A dump of the files that `check` has read, as far as they went then.
    package init(files: any FileSystem, check: DirectoryCheck) {
        system = files
        directory = check.directory
        self.check = check
    }

    /// A dump of a log directory.
    package init(files: any FileSystem, directory: String) {
        self.init(files: files, check: DirectoryCheck(files: files, directory: directory))
    }

    /// How a dump without damage ended.
    package enum Outcome: Equatable, Sendable {
        /// At the end.
        case complete
        /// At the end of the last log, torn by a crash: the path and where.
        case torn(path: String, position: Int, reason: String)
        /// The consumer stopped.
        case stopped
    }

    /// Passes complete lines to `sink`, many at a time, until it returns false. Throws at damage, after the lines
    /// before it. O(bytes in the directory).
    package func run(_ sink: @escaping (UnsafeRawBufferPointer) -> Bool) throws(RecoveryError) -> Outcome {
        guard let manifest = check.manifest else {
            if let problem = check.problem { throw problem }
            return .complete
        }
        var line = JSONLine()
        var failure: RecoveryError?
        var outcome = Outcome.complete
        do throws(RecoveryError) {
            outcome = try run(manifest, &line, sink)
        } catch {
            failure = error
        }
        if failure?.cause == .stopped { return .stopped }
        let isWanted = line.bytes.isEmpty || line.bytes.withUnsafeBytes(sink)
        if let failure = failure ?? check.problem { throw failure }
        return isWanted ? outcome : .stopped
    }

    private func run(
        _ manifest: Manifest, _ line: inout JSONLine, _ sink: @escaping (UnsafeRawBufferPointer) -> Bool
    ) throws(RecoveryError) -> Outcome {
        if let entry = manifest.snapshot {
            let name = Manifest.snapshotName(entry.number)
            let source = try open(name, entry, .snapshot)
            let result = try show(source, name: name, &line, sink)
            try source.demandComplete([result])
        }
        for (index, entry) in manifest.logs.enumerated() {
            let name = Manifest.logName(entry.number)
            let source = try open(name, entry, .log)
            let result = try show(source, name: name, &line, sink)
            if index + 1 < manifest.logs.count {
                try source.demandContinuation(result, next: manifest.logs[index + 1].offset)
            } else if let torn = try source.tornTail(result, promised: manifest.promised(mark: check.mark)) {
                return .torn(path: source.path, position: torn.position, reason: torn.reason)
            }
        }
        return .complete
    }

    /// Opens a file and limits it to the bytes that the check has read.
    private func open(
        _ name: String, _ entry: Manifest.Entry, _ content: FileHeader.Content
    ) throws(RecoveryError) -> StateFile {
        let known = check.stateFiles.first { $0.name == name && $0.validBytes != nil }
        return try StateFile(
            files: system, directory: directory, entry: entry, content: content, limit: known?.bytes ?? .max)
    }

    private func show(
        _ source: StateFile, name: String, _ line: inout JSONLine, _ sink: @escaping (UnsafeRawBufferPointer) -> Bool
    ) throws(RecoveryError) -> ReplayResult {
        let result = withUnsafeMutablePointer(to: &line) { line in
            Replay(
                reader: source.reader(), path: source.path, restorer: nil, isSnapshot: source.isSnapshot,
                visit: { record, batch throws(RecoveryError) in
                    RecordDump.write(record, of: batch, in: name, to: &line.pointee)
                    guard line.pointee.bytes.count >= RecordDump.chunkSize else { return }
                    guard line.pointee.bytes.withUnsafeBytes(sink) else {
                        throw RecoveryError(source.path, nil, "the reader has stopped", cause: .stopped)
                    }
                    line.pointee.removeAll(retaining: RecordDump.chunkSize * 4)
                }, progress: nil
            ).run(every: 1, from: 0)
        }
        if let failure = result.failure { throw failure }
        return result
    }

    // MARK: Lines

    private static func write(
        _ record: JournalRecord, of batch: JournalBatch, in file: String, to line: inout JSONLine
    ) {
        line.object { line in
            line.member("file", file)
            line.member("offset", batch.offset)
            line.member("time", batch.time.nanoseconds)
            switch record {
            case .state(let name, let state):
                line.member("type", "state")
                line.member("kind", "\(state.kind.facts.noun)")
                write(name, state.kind, to: &line)
                if let fields = state.kind.fields(state.value) {
                    for field in fields { line.member(field.name, field.value) }
                } else {
                    line.member("state_hex", hex: state.value)
                }
                if let deadline = state.deadline { line.member("deadline_ns", deadline) }
            case .removed(let name):
                line.member("type", "removed")
                write(name, nil, to: &line)
            case .control(let kind, let key, let body):
                line.member("type", "control")
                line.member("kind", "\(kind.dumpName)")
                if !key.isEmpty { writeKey(key, to: &line) }
                if kind == .flushDatabase {
                    line.member("db", Int64(body[0]))
                } else if kind == .endOfSnapshot, body.count == 8 {
                    line.member("records", word(body))
                } else if !body.isEmpty {
                    line.member("body_hex", hex: body)
                }
            }
        }
        line.end()
    }

    /// The key as its client knows it, and its database unless that is 0.
    private static func write(_ name: KeyName, _ kind: StateKind?, to line: inout JSONLine) {
        if name.isNumbered { line.member("db", Int64(name.database(kind))) }
        writeKey(name.key(kind), to: &line)
    }

    private static func writeKey(_ key: UnsafeRawBufferPointer, to line: inout JSONLine) {
        if let text = String(validating: key, as: UTF8.self) {
            line.member("key", text)
        } else {
            line.member("key_hex", hex: key)
        }
    }

    private static func word(_ bytes: UnsafeRawBufferPointer) -> Int64 {
        Int64(littleEndian: bytes.loadUnaligned(as: Int64.self))
    }
}

extension ControlKind {
    /// The record's kind in a dump.
    var dumpName: StaticString {
        switch self {
        case .flushAll: "flush_all"
        case .endOfSnapshot: "end_of_snapshot"
        case .policy: "policy"
        case .policyRemoval: "policy_removal"
        case .rule: "rule"
        case .ruleRemoval: "rule_removal"
        case .flushDatabase: "flush_database"
        }
    }
}
