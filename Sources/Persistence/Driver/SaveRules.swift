// The rules of the `save` setting: a snapshot is due after a number of seconds if a number of changes were made.

public import System

/// Pairs of seconds and changes, as in `save 3600 1 300 100`.
public struct SaveRules: Sendable, Equatable {
    /// One pair.
    public struct Rule: Sendable, Equatable {
        /// Seconds since the last snapshot.
        public var seconds: Int
        /// Changes since the last snapshot.
        public var changes: Int

        /// A rule with these numbers.
        public init(seconds: Int, changes: Int) {
            self.seconds = seconds
            self.changes = changes
        }
    }

    /// A snapshot is due when any of these is met.
    public var rules: [Rule]

    /// These rules; none by default.
    public init(rules: [Rule] = []) { self.rules = rules }

    /// Whether a rule is met by this many changes since the last snapshot, which was taken `length` ago.
    public func isDue(after length: Nanoseconds, changes: UInt64) -> Bool {
        rules.contains { length >= .seconds($0.seconds) && changes >= UInt64($0.changes) && changes > 0 }
    }
}
