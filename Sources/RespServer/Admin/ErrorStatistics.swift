// Error replies by their first word, for INFO errorstats.

import RESP
import System

final class ErrorStatistics: Sendable {
    /// Maximum number of distinct words; our own error texts have fewer.
    static let wordsMax = 64
    private let counts = Locked<[String: Int]>([:])

    /// Counts the error whose text, without the `-`, begins at `text`.
    func count(_ text: Argument) {
        var length = 0
        while length < text.count, length < 32, text.base[length] > 0x20 { length += 1 }
        let word = Argument(base: text.base, count: length).string
        counts.withLock { counts in
            if counts[word] != nil || counts.count < ErrorStatistics.wordsMax { counts[word, default: 0] += 1 }
        }
    }

    /// How many errors had this first word.
    func count(of word: String) -> Int { counts.withLock { $0[word] ?? 0 } }

    var all: [(word: String, count: Int)] {
        counts.withLock { $0.sorted { $0.key < $1.key }.map { (word: $0.key, count: $0.value) } }
    }

    func reset() { counts.withLock { $0.removeAll() } }
}
