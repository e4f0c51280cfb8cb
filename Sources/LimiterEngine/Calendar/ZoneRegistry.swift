// The zones in force: a table, and the ways to replace it. Readers never wait for a file.

import Synchronization
import System

/// An engine's zones. Thread-safe.
public final class ZoneRegistry: Sendable {
    /// Held to read or replace the reference, and while a table is made of one that was read. Takes no other lock.
    private let current = Locked(ZoneTable(), rank: .policyTable)
    private let published = Atomic<UInt64>(0)

    /// No zones but fixed offsets.
    public init() {}

    /// Goes up with every change: a reader that keeps a table compares it. One load.
    public var version: UInt64 { published.load(ordering: .acquiring) }

    /// The table in force. Takes a lock for a moment.
    public var table: ZoneTable { current.withLock { $0 } }

    /// The number of a zone that stored state names. One that is not known is added: until `load` has read it, its
    /// `failure` is `unread`. Throws when there are too many. O(1) for a known zone, else O(zones).
    public func intern(_ name: ZoneName) throws(ZoneError) -> ZoneNumber {
        if let number = table.number(of: name) { return number }
        // The old table may end with this, so it leaves the lock: readers wait for it.
        let (table, _) = try current.withLock { (current) throws(ZoneError) in
            let old = current
            current = try old.adding(name)
            return (current, old)
        }
        published.add(1, ordering: .releasing)
        return table.number(of: name)!
    }

    /// Reads zones, and those that are known, again or for the first time; then replaces the table once. May wait for
    /// a disk: call it with no lock held, and on no loop. Names that have the same rules share them.
    ///
    /// A zone that cannot be read keeps the rules it has; if it has none, `ZoneTable.failure` is why.
    ///
    /// - Parameters:
    ///   - names: Zones to add. Fixed offsets are ignored.
    ///   - read: The bytes of a zone's file. The description of what it throws becomes part of a `ZoneError`.
    /// - Returns: What could not be used.
    @discardableResult
    public func load<Failure: Error>(
        _ names: [ZoneName] = [], read: (ZoneName) throws(Failure) -> [UInt8]
    ) -> [ZoneError] {
        assertHoldsNoLock()
        var (entries, seen): ([ZoneTable.Entry], Set<ZoneName>) = ([], [])
        var known: [[UInt8]: ZoneRules] = [:]
        for name in table.names + names where name.offsetMinutes == nil && seen.insert(name).inserted {
            entries.append(ZoneTable.Entry(name: name, rules: ZoneRegistry.rules(of: name, known: &known, read)))
        }
        let (failures, _) = current.withLock { current in
            let old = current
            let (new, failures) = old.taking(entries)
            current = new
            return (failures, old)
        }
        published.add(1, ordering: .releasing)
        return failures
    }

    private static func rules<Failure: Error>(
        of name: ZoneName, known: inout [[UInt8]: ZoneRules], _ read: (ZoneName) throws(Failure) -> [UInt8]
    ) -> Result<ZoneRules, ZoneError> {
        let bytes: [UInt8]
        do throws(Failure) {
            bytes = try read(name)
        } catch {
            return .failure(.unreadable(name, "\(error)"))
        }
        if let rules = known[bytes] { return .success(rules) }
        do throws(ZoneFileError) {
            let rules = try ZoneRules(file: bytes)
            known[bytes] = rules
            return .success(rules)
        } catch {
            return .failure(.damaged(name, error))
        }
    }
}
