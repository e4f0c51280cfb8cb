// The rules of the setting `save`: a snapshot is due when so many seconds have passed with so many changes.

/// Pairs of seconds and changes, as `save 3600 1 300 100` has them.
struct SaveRules: Sendable, Equatable {
    struct Rule: Sendable, Equatable {
        var seconds: Int
        var changes: Int
    }

    var rules: [Rule] = []

    /// Reads pairs of numbers; nil when they are not. No words: no rules.
    init?(_ text: String) {
        let words = ConfigWord.split(text).filter { !$0.isEmpty }
        guard words.count % 2 == 0, words.count <= 64 else { return nil }
        for index in stride(from: 0, to: words.count, by: 2) {
            guard let seconds = Setting.decimal(words[index]), let changes = Setting.decimal(words[index + 1]),
                (1...315_360_000).contains(seconds), (0...Int(Int32.max)).contains(changes)
            else { return nil }
            rules.append(Rule(seconds: seconds, changes: changes))
        }
    }

    /// The setting's spelling.
    var text: String { rules.map { "\($0.seconds) \($0.changes)" }.joined(separator: " ") }

    /// Whether a rule is met.
    func isDue(seconds: Int64, changes: UInt64) -> Bool {
        rules.contains { seconds >= Int64($0.seconds) && changes >= UInt64($0.changes) && changes > 0 }
    }
}
