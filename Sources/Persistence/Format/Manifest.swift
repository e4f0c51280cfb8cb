// The manifest: which files of the directory make up the state, and in which order. Text, one line each:
//
//   escapement-manifest 1
//   history 40 hexadecimal digits      names the journal whose offsets these are
//   snapshot N OFFSET                  none or one: the file snapshot-N, which contains everything up to OFFSET
//   log N OFFSET                       none or more, in order: the file log-N, whose first batch is at OFFSET
//   checksum 8 hexadecimal digits      CRC-32C of everything above
//
// Valid when the lines come in this order with single spaces and a line feed each, the checksum is correct, numbers are
// decimal without leading zeros and below 2⁶², logs' numbers differ, and offsets ascend: the first log's is at most the
// snapshot's (0 without a snapshot), each later log's at least its predecessor's. Files not listed are leftovers of
// unfinished work.

/// Which files make up the state.
package struct Manifest: Equatable, Sendable {
    /// The name of the file.
    package static let fileName = "manifest"
    /// Largest number of a file: leaves room for a next one.
    static let numberMax = (1 << 62) - 1
    /// How many numbers must remain unused at start: more than any server uses.
    static let numbersLeftMin = 1 << 40
    /// Largest manifest that is accepted.
    package static let bytesMax = 1 << 20

    /// A file in the manifest.
    package struct Entry: Equatable, Sendable {
        /// The number in its name.
        package var number: Int
        /// Where in the journal it begins.
        package var offset: Int64

        /// An entry with these fields.
        package init(number: Int, offset: Int64) {
            self.number = number
            self.offset = offset
        }
    }

    /// Forty hexadecimal digits that name the journal.
    package var history: String
    /// The snapshot, where there is one.
    package var snapshot: Entry?
    /// The log segments that follow it.
    package var logs: [Entry]

    /// A manifest with these fields.
    package init(history: String, snapshot: Entry? = nil, logs: [Entry] = []) {
        self.history = history
        self.snapshot = snapshot
        self.logs = logs
    }

    /// The name of a log segment.
    package static func logName(_ number: Int) -> String { "log-\(number)" }
    /// The name of a snapshot.
    package static func snapshotName(_ number: Int) -> String { "snapshot-\(number)" }

    /// The largest number of any file in it; 0 when it has none.
    package var largestNumber: Int { (logs + (snapshot.map { [$0] } ?? [])).map(\.number).max() ?? 0 }

    /// Names of the files in it.
    package var fileNames: [String] {
        (snapshot.map { [Manifest.snapshotName($0.number)] } ?? []) + logs.map { Manifest.logName($0.number) }
    }

    /// The manifest as bytes.
    package func encoded() -> [UInt8] {
        var text = "escapement-manifest 1\nhistory \(history)\n"
        if let snapshot { text += "snapshot \(snapshot.number) \(snapshot.offset)\n" }
        for log in logs { text += "log \(log.number) \(log.offset)\n" }
        let sum = Array(text.utf8).withUnsafeBytes { Checksum.crc32c($0) }
        let digits = String(sum, radix: 16)
        text += "checksum " + String(repeating: "0", count: 8 - digits.count) + digits + "\n"
        return Array(text.utf8)
    }

    /// Parses a manifest; the error names the line.
    package init(_ bytes: [UInt8]) throws(ManifestError) {
        var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        guard bytes.count <= Manifest.bytesMax, lines.count >= 4, lines.removeLast().isEmpty else {
            throw ManifestError(line: lines.count, reason: "the file ends too early")
        }
        let last = lines.removeLast()
        let covered = bytes.count - last.count - 1
        let sum = bytes.withUnsafeBytes { Checksum.crc32c(UnsafeRawBufferPointer(rebasing: $0[..<covered])) }
        let words = lines.map {
            String(decoding: $0, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
        }
        let digits = String(decoding: last, as: UTF8.self)
        guard digits.utf8.count == 17, digits.hasPrefix("checksum "), UInt32(digits.dropFirst(9), radix: 16) == sum
        else { throw ManifestError(line: lines.count + 1, reason: "the checksum is wrong") }
        guard words[0] == ["escapement-manifest", "1"] else {
            throw ManifestError(line: 1, reason: "not a manifest of version 1")
        }
        guard words[1].count == 2, words[1][0] == "history", Manifest.isHistory(words[1][1]) else {
            throw ManifestError(line: 2, reason: "not a history of forty hexadecimal digits")
        }
        self.init(history: String(words[1][1]))
        var logNumbers: Set<Int> = []
        for (index, line) in words.enumerated().dropFirst(2) {
            guard line.count == 3, let number = Manifest.number(line[1]), number > 0,
                let offset = Manifest.number(line[2])
            else { throw ManifestError(line: index + 1, reason: "expected a file, its number and its offset") }
            let entry = Entry(number: number, offset: Int64(offset))
            switch line[0] {
            case "snapshot" where snapshot == nil && logs.isEmpty: snapshot = entry
            case "log" where follows(entry) && logNumbers.insert(number).inserted: logs.append(entry)
            default: throw ManifestError(line: index + 1, reason: "this line is out of order")
            }
        }
    }

    private func follows(_ entry: Entry) -> Bool {
        if let last = logs.last { return entry.offset >= last.offset }
        return entry.offset <= snapshot?.offset ?? 0
    }

    private static func number(_ text: Substring) -> Int? {
        guard text.utf8.count <= 19, let value = Int(text), value >= 0, value <= numberMax, String(value) == text else {
            return nil
        }
        return value
    }

    private static func isHistory(_ text: Substring) -> Bool {
        text.utf8.count == 40
            && text.utf8.allSatisfy { ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x61 && $0 <= 0x66) }
    }
}

/// A manifest that is not valid.
package struct ManifestError: Error, Equatable, Sendable {
    /// Line number, from 1.
    package let line: Int
    /// What is wrong with it.
    package let reason: String
}
