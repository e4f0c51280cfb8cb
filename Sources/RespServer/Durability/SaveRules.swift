// The text form of the setting `save`: pairs of seconds and changes.

import Persistence

extension SaveRules {
    /// Parses pairs of numbers; nil if malformed. An empty text means no rules.
    init?(_ text: String) {
        let words = ConfigWord.split(text).filter { !$0.isEmpty }
        guard words.count % 2 == 0, words.count <= 64 else { return nil }
        var rules: [Rule] = []
        for index in stride(from: 0, to: words.count, by: 2) {
            guard let seconds = Setting.decimal(words[index]), let changes = Setting.decimal(words[index + 1]),
                (1...315_360_000).contains(seconds), (0...Int(Int32.max)).contains(changes)
            else { return nil }
            rules.append(Rule(seconds: seconds, changes: changes))
        }
        self.init(rules: rules)
    }

    /// The setting's text form.
    var text: String { rules.map { "\($0.seconds) \($0.changes)" }.joined(separator: " ") }
}
