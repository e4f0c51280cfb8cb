// The numbered zones known to this process: immutable and replaced as a whole, so that readers need no lock.
//
// How to find calendar windows:
//
//     let period = CalendarPeriod(.month, start: 15)       // nil when the unit has no such start
//     let name = try ZoneName("Europe/Berlin")             // or "+02:00", "-0530", "UTC", "Z"
//     let table = registry.table                           // kept until registry.version changes
//     guard let zone = table.number(of: name)              // nil: no such zone
//     table.window(containing: now, period, zone: zone)    // begin <= now < end; nil: see table.failure(of: zone)
//
// `ZoneRegistry.load` fills the table, with a function that reads a zone's file: on a thread that may block on a disk,
// at the start for all zones of the machine, and again when they may have changed. So every existing zone is in memory
// when a command needs it:
//
//     let directory = ZoneDirectory()                      // System; throws(ZoneDirectory.Failure)
//     let names = try directory.names().compactMap { try? ZoneName($0) }
//     let failures = registry.load(names) { name throws(ZoneDirectory.Failure) in try directory.read(name.text) }
//
// A zone's number has 16 bits, fits into a limit, and stays the same for the lifetime of the process. It is meaningless
// to another process: durable data and replication contain `ZoneName.text`. `ZoneRegistry.intern` adds names from
// there, whether or not this machine has the zone, so that state always loads. If the zone cannot be read, `window`
// returns nil, and the call has to be refused with `failure`, which names the zone. UTC is not used instead: a quota
// would silently begin at other instants, and at others again when the zone is back. An open window is stored with its
// end and remains valid until then.

/// The number of a zone in this process: see `ZoneTable`. 0 is UTC.
public struct ZoneNumber: Hashable, Sendable {
    /// Below `firstNamed`, a fixed offset: 0 for UTC, odd numbers east of it, even ones west. From there on, the
    /// position in the table.
    public let rawValue: UInt16

    /// A number obtained earlier from `rawValue`.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    static let firstNamed = 4096

    /// Offset 0.
    public static let utc = ZoneNumber(rawValue: 0)

    init(offsetMinutes: Int) {
        rawValue = UInt16(offsetMinutes > 0 ? 2 * offsetMinutes - 1 : -2 * offsetMinutes)
    }

    init(position: Int) { rawValue = UInt16(ZoneNumber.firstNamed + position) }

    /// The position in a table; negative for a fixed offset.
    @inline(__always)
    var position: Int { Int(rawValue) - ZoneNumber.firstNamed }

    /// For a fixed offset: minutes east of UTC.
    @inline(__always)
    var offsetMinutes: Int { rawValue & 1 == 1 ? (Int(rawValue) + 1) / 2 : -Int(rawValue) / 2 }
}

/// Why a zone has no windows.
public enum ZoneError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The zone is named by stored state, and its file has not been read yet.
    case unread(ZoneName)
    /// The zone's file could not be read, and the reason.
    case unreadable(ZoneName, String)
    /// The zone's file is invalid.
    case damaged(ZoneName, ZoneFileError)
    /// There are already `ZoneTable.zonesMax` zones.
    case tooMany(ZoneName)

    /// The zone it is about.
    public var name: ZoneName {
        switch self {
        case .unread(let name), .unreadable(let name, _), .damaged(let name, _), .tooMany(let name): name
        }
    }

    /// What is wrong, with the zone's name.
    public var description: String {
        switch self {
        case .unread(let name): "time zone '\(name)' has not been read yet"
        case .unreadable(let name, let reason): "time zone '\(name)' cannot be read: \(reason)"
        case .damaged(let name, let error): "the file of time zone '\(name)' is damaged: \(error)"
        case .tooMany(let name): "no room for time zone '\(name)': there are \(ZoneTable.zonesMax) zones already"
        }
    }
}

/// An immutable set of zones. Fixed offsets belong to every table and take no space in it.
///
/// `@unchecked Sendable`: its memory is written only in `init`, and freed in `deinit`.
public final class ZoneTable: @unchecked Sendable {
    /// Upper bound on the number of named zones. The database has about 600.
    public static let zonesMax = 8192

    struct Entry {
        var name: ZoneName
        var rules: Result<ZoneRules, ZoneError>
    }

    let entries: [Entry]
    private let positions: [ZoneName: Int]
    /// The data that lookups need, without references, so that no reference count is touched.
    private let views: UnsafeMutablePointer<ZoneRules.View?>

    /// Fixed offsets only.
    public convenience init() { self.init([]) }

    private init(_ entries: [Entry]) {
        self.entries = entries
        positions = Dictionary(uniqueKeysWithValues: entries.enumerated().map { ($1.name, $0) })
        views = .allocate(capacity: max(entries.count, 1))
        for (position, entry) in entries.enumerated() {
            (views + position).initialize(to: try? entry.rules.get().view)
        }
    }

    deinit { views.deallocate() }

    /// The names of its zones, except fixed offsets, in the order of their numbers.
    public var names: [ZoneName] { entries.map(\.name) }

    /// Size of the rules in bytes; zones with the same rules share them.
    public var byteCount: Int {
        var seen: Set<ObjectIdentifier> = []
        return entries.reduce(0) { sum, entry in
            guard case .success(let rules) = entry.rules else { return sum }
            return seen.insert(ObjectIdentifier(rules)).inserted ? sum + rules.byteCount : sum
        }
    }

    /// The zone's number; nil when the table does not have it, which never happens for a fixed offset. O(name).
    public func number(of name: ZoneName) -> ZoneNumber? {
        if let minutes = name.offsetMinutes { return ZoneNumber(offsetMinutes: minutes) }
        return positions[name].map(ZoneNumber.init(position:))
    }

    /// The name of a zone; nil when it was added after this table.
    public func name(of zone: ZoneNumber) -> ZoneName? {
        if zone.position < 0 { return ZoneName(offsetMinutes: zone.offsetMinutes) }
        return zone.position < entries.count ? entries[zone.position].name : nil
    }

    /// Why `window` returns nil for a zone; nil when it does not, or when the zone was added after this table.
    public func failure(of zone: ZoneNumber) -> ZoneError? {
        guard entries.indices.contains(zone.position) else { return nil }
        if case .failure(let error) = entries[zone.position].rules { return error }
        return nil
    }

    /// The window of a period in a zone that contains an instant: `begin <= time < end`. The single nanosecond after
    /// `EngineTime.latest` belongs to the same window. Nil when the zone's rules are not known: see `failure`. O(log of
    /// the changes of its offset), without allocation or a lock.
    public func window(
        containing time: EngineTime, _ period: CalendarPeriod, zone: ZoneNumber
    ) -> CalendarWindow? {
        guard zone.position >= 0 else { return period.window(containing: time, offset: zone.offsetMinutes * 60) }
        guard zone.position < entries.count else { return nil }
        return views[zone.position]?.window(containing: time, period)
    }

    // MARK: Deriving tables

    /// The table plus a zone whose file has not been read; the same table if it already has the zone.
    func adding(_ name: ZoneName) throws(ZoneError) -> ZoneTable {
        guard number(of: name) == nil else { return self }
        guard entries.count < ZoneTable.zonesMax else { throw .tooMany(name) }
        return ZoneTable(entries + [Entry(name: name, rules: .failure(.unread(name)))])
    }

    /// The table plus what was read. A zone that could not be read keeps its rules, and is not added.
    ///
    /// - Returns: Also the zones that could not be used.
    func taking(_ read: [Entry]) -> (table: ZoneTable, failures: [ZoneError]) {
        var (entries, positions) = (entries, positions)
        var failures: [ZoneError] = []
        for entry in read {
            if case .failure(let error) = entry.rules { failures.append(error) }
            switch (positions[entry.name], entry.rules) {
            case (let position?, .success): entries[position].rules = entry.rules
            case (let position?, .failure):
                if case .failure = entries[position].rules { entries[position].rules = entry.rules }
            case (nil, .success):
                guard entries.count < ZoneTable.zonesMax else {
                    failures.append(.tooMany(entry.name))
                    continue
                }
                positions[entry.name] = entries.count
                entries.append(entry)
            case (nil, .failure): break
            }
        }
        return (ZoneTable(entries), failures)
    }
}
