// Notification of key changes: a table from keys to the tokens that watch them.
//
// Looked up with every change while anything is watched, so by the key's hash, which is already computed, and without
// allocating. A token is notified once: a change removes the key from the table, so a key that a thousand clients watch
// costs its next change a thousand steps and later ones none, and a key that is no longer watched costs nothing.

import Synchronization

/// A client's request to learn of changes. One per watching connection; any thread may touch it.
public final class WatchToken: Sendable {
    private let touched = Atomic<Bool>(false)

    /// An untouched token.
    public init() {}

    /// Whether a watched key changed.
    public var isTouched: Bool { touched.load(ordering: .acquiring) }

    func touch() { touched.store(true, ordering: .releasing) }
}

/// Watched keys and their watchers. Locked by the shard's stripe.
struct WatchTable {
    /// One watched key. Two keys with the same hash are a chain.
    private final class Entry {
        let key: [UInt8]
        let isNumbered: Bool
        var tokens: [ObjectIdentifier: WatchToken] = [:]
        var next: Entry?

        init(_ name: KeyName, next: Entry?) {
            key = Array(name.bytes)
            isNumbered = name.isNumbered
            self.next = next
        }

        func isNamed(_ other: KeyName) -> Bool {
            guard isNumbered == other.isNumbered, key.count == other.count else { return false }
            return key.isEmpty || key.withUnsafeBytes { bytesAreEqual($0.baseAddress!, other.base, count: other.count) }
        }
    }

    private var entries: [UInt64: Entry] = [:]
    /// Watched keys.
    private(set) var count = 0
    /// Total number of key comparisons in lookups, for tests.
    private(set) var comparisons = 0

    /// Touches the token when the key changes. O(1).
    mutating func add(_ hash: UInt64, _ name: KeyName, token: WatchToken) {
        let entry: Entry
        if let found = find(hash, name) {
            entry = found
        } else {
            entry = Entry(name, next: entries[hash])
            entries[hash] = entry
            count += 1
        }
        entry.tokens[ObjectIdentifier(token)] = token
    }

    /// Ends the token's watch on the key, if the key has not changed since. O(1).
    mutating func remove(_ hash: UInt64, _ name: KeyName, token: WatchToken) {
        guard let entry = find(hash, name) else { return }
        entry.tokens[ObjectIdentifier(token)] = nil
        if entry.tokens.isEmpty { unlink(entry, hash) }
    }

    /// Touches the tokens that watch the key, and removes the key. O(tokens).
    mutating func touch(_ hash: UInt64, _ name: KeyName) {
        guard let entry = find(hash, name) else { return }
        for token in entry.tokens.values { token.touch() }
        unlink(entry, hash)
    }

    /// Touches the tokens of the keys for which `isChanged` is true, and removes these keys. O(keys + tokens).
    mutating func touchAll(where isChanged: (UInt64, KeyName) -> Bool) {
        for (hash, first) in entries {
            var entry: Entry? = first
            while let watched = entry {
                entry = watched.next
                let isTouched = watched.key.withUnsafeBytes {
                    isChanged(hash, KeyName($0, isNumbered: watched.isNumbered))
                }
                guard isTouched else { continue }
                for token in watched.tokens.values { token.touch() }
                unlink(watched, hash)
            }
        }
    }

    private mutating func find(_ hash: UInt64, _ name: KeyName) -> Entry? {
        var entry = entries[hash]
        while let candidate = entry {
            comparisons &+= 1
            if candidate.isNamed(name) { return candidate }
            entry = candidate.next
        }
        return nil
    }

    private mutating func unlink(_ entry: Entry, _ hash: UInt64) {
        count -= 1
        guard let first = entries[hash], first !== entry else {
            entries[hash] = entry.next
            return
        }
        var previous = first
        while let next = previous.next, next !== entry { previous = next }
        previous.next = entry.next
    }
}
