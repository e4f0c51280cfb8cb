// The rules of the `save` setting: a snapshot is due after a number of seconds if a number of changes were made.

package import System

/// Pairs of seconds and changes, as in `save 3600 1 300 100`.
package struct SaveRules: Sendable, Equatable {
    /// One pair.
    package struct Rule: Sendable, Equatable {
        /// Seconds since the last snapshot.
        package var seconds: Int
        /// Changes since the last snapshot.
        package var changes: Int

        /// A rule with these numbers.
        package init(seconds: Int, changes: Int) {
            self.seconds = seconds
            self.changes = changes
        }
    }

    /// A snapshot is due when any of these is met.
    package var rules: [Rule]

    /// These rules; none by default.
    package init(rules: [Rule] = []) { self.rules = rules }

    /// Whether a rule is met by this many changes since the last snapshot, which was taken `length` ago.
    package func isDue(after length: Nanoseconds, changes: UInt64) -> Bool {
        rules.contains { length >= .seconds($0.seconds) && changes >= UInt64($0.changes) && changes > 0 }
    }
}
