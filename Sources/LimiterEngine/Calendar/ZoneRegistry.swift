// The zones in force: a table, and the functions that replace it. Readers never wait for a file.
//
// A decision needs a zone's rules while it holds a stripe, and must not wait for a thread that replaces the table. So
// the rules of each zone are also published individually, by the zone's number: one load, and no lock. Published rules
// are never freed, since a loop may be reading them; a zone whose rules have changed costs some KiB, and one that was
// reread without a change costs nothing.

import Synchronization
import System

/// The known zones. Thread-safe.
///
/// `@unchecked Sendable`: `rules` is a constant pointer to atomic words.
public final class ZoneRegistry: @unchecked Sendable {
    deinit {
        // Never runs for the process's registry. Published rules are kept in any case.
        rules.deinitialize(count: ZoneTable.zonesMax)
        rules.deallocate()
    }

    /// This process's registry. Limits refer to its zones by number.
    public static let shared = ZoneRegistry()

    /// The rules of a zone by position, kept for the lifetime of the process; 0 for none.
    private let rules: UnsafeMutablePointer<Atomic<UInt>>

    /// Held to read or replace the reference, and while a new table is derived from it. No other lock is taken under
    /// it.
    private let current = Locked(ZoneTable(), rank: .policyTable)
    private let published = Atomic<UInt64>(0)

    /// A registry with fixed offsets only.
    public init() {
        rules = .allocate(capacity: ZoneTable.zonesMax)
        for position in 0..<ZoneTable.zonesMax { (rules + position).initialize(to: Atomic(0)) }
    }

    /// The window of a period in a zone that contains an instant: see `ZoneTable.window`. Nil if the zone's rules are
    /// not known. Takes no lock and allocates nothing.
    @inline(never)
    func window(containing time: EngineTime, _ period: CalendarPeriod, zone: ZoneNumber) -> CalendarWindow? {
        guard zone.position >= 0 else { return period.window(containing: time, offset: zone.offsetMinutes * 60) }
        guard zone.position < ZoneTable.zonesMax else { return nil }
        let address = rules[zone.position].load(ordering: .acquiring)
        return UnsafeRawPointer(bitPattern: address).map {
            Unmanaged<ZoneRules>.fromOpaque($0)._withUnsafeGuaranteedRef { $0.view }
                .window(containing: time, period)
        }
    }

    /// Publishes the rules of a table's zones. Requires the lock.
    private func publish(_ table: ZoneTable) {
        let published = rules
        for (position, entry) in table.entries.enumerated() {
            guard case .success(let rules) = entry.rules else { continue }
            let address = published[position].load(ordering: .relaxed)
            if let known = UnsafeRawPointer(bitPattern: address),
                Unmanaged<ZoneRules>.fromOpaque(known).takeUnretainedValue().isSame(as: rules)
            {
                continue
            }
            let kept = UInt(bitPattern: Unmanaged.passRetained(rules).toOpaque())
            published[position].store(kept, ordering: .releasing)
        }
    }

    /// Incremented with every change, so that readers can cache the table. One load.
    public var version: UInt64 { published.load(ordering: .acquiring) }

    /// The table in force. Takes a lock briefly.
    public var table: ZoneTable { current.withLock { $0 } }

    /// The number of a zone named by stored state. An unknown zone is added: until `load` has read it, its `failure` is
    /// `unread`. Throws when there are too many. O(1) for a known zone, else O(zones).
    public func intern(_ name: ZoneName) throws(ZoneError) -> ZoneNumber {
        if let number = table.number(of: name) { return number }
        // The old table may be destroyed here, so it is passed out of the lock, for which readers wait.
        let (table, _) = try current.withLock { (current) throws(ZoneError) in
            let old = current
            current = try old.adding(name)
            return (current, old)
        }
        published.add(1, ordering: .releasing)
        return table.number(of: name)!
    }

    /// Reads zones and rereads the known ones, then replaces the table once. May block on a disk: call it with no lock
    /// held, and not on a loop. Names with the same rules share them.
    ///
    /// A zone that cannot be read keeps its rules; if it has none, `ZoneTable.failure` gives the reason.
    ///
    /// - Parameters:
    ///   - names: Zones to add. Fixed offsets are ignored.
    ///   - read: Returns the bytes of a zone's file. The description of its error becomes part of a `ZoneError`.
    /// - Returns: The zones that could not be used, and why.
    @discardableResult
    public func load<Failure: Error>(
        _ names: [ZoneName] = [], read: (ZoneName) throws(Failure) -> [UInt8]
    ) -> [ZoneError] {
        assertHoldsNoLock()
        var (entries, seen): ([ZoneTable.Entry], Set<ZoneName>) = ([], [])
        var known: [FileContent: ZoneRules] = [:]
        for name in table.names + names where name.offsetMinutes == nil && seen.insert(name).inserted {
            entries.append(ZoneTable.Entry(name: name, rules: ZoneRegistry.rules(of: name, known: &known, read)))
        }
        let (failures, _) = current.withLock { current in
            let old = current
            let (new, failures) = old.taking(entries)
            current = new
            publish(new)
            return (failures, old)
        }
        published.add(1, ordering: .releasing)
        return failures
    }

    /// A file's bytes, hashed as a whole: an array hashes each byte on its own, which took half of the time.
    private struct FileContent: Hashable {
        let bytes: [UInt8]
        func hash(into hasher: inout Hasher) { bytes.withUnsafeBytes { hasher.combine(bytes: $0) } }
    }

    private static func rules<Failure: Error>(
        of name: ZoneName, known: inout [FileContent: ZoneRules], _ read: (ZoneName) throws(Failure) -> [UInt8]
    ) -> Result<ZoneRules, ZoneError> {
        let bytes: [UInt8]
        do throws(Failure) {
            bytes = try read(name)
        } catch {
            return .failure(.unreadable(name, "\(error)"))
        }
        let content = FileContent(bytes: bytes)
        if let rules = known[content] { return .success(rules) }
        do throws(ZoneFileError) {
            let rules = try ZoneRules(file: bytes)
            known[content] = rules
            return .success(rules)
        } catch {
            return .failure(.damaged(name, error))
        }
    }
}
