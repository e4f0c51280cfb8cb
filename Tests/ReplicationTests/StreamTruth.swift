// Ground truth for every history, recorded as it is made: the state at each offset, the history's origin, and the
// clock it runs on.
//
// States are built from the journal's batches, and compared with the engine they came from whenever everything has
// been collected. They hold no bytes: for each key, policy and rule, a hash of its name, a hash of its contents, and
// its expiry.

import LimiterEngine
import Persistence

@testable import Replication

/// A node's complete state: keys, tokens, policies and rules.
struct StreamState: Equatable {
    /// A key, a policy or a rule.
    struct Entry {
        let name: UInt64
        let digest: UInt64
        /// When the entry expires.
        let expiry: Int64
        let isKey: Bool
        /// The key's database.
        var database: UInt8 = 0
    }

    private(set) var entries: [Entry] = []

    var count: Int { entries.count }

    /// An order-independent hash of all entries live at `time`.
    func digest(at time: Int64) -> UInt64 {
        var sum: UInt64 = 0
        entries.withUnsafeBufferPointer { entries in
            for entry in entries where entry.expiry > time { sum &+= StreamState.mixed(entry.name ^ entry.digest) }
        }
        return sum
    }

    static func == (left: StreamState, right: StreamState) -> Bool {
        left.count == right.count && left.digest(at: Int64.min) == right.digest(at: Int64.min)
    }

    mutating func add(_ entry: Entry) { entries.append(entry) }

    mutating func set(_ entry: Entry) {
        remove(entry.name)
        entries.append(entry)
    }

    mutating func remove(_ name: UInt64) {
        let place = entries.withUnsafeBufferPointer { entries in
            for place in 0..<entries.count where entries[place].name == name { return place }
            return -1
        }
        guard place >= 0 else { return }
        entries.swapAt(place, entries.count - 1)
        entries.removeLast()
    }

    mutating func removeKeys() { entries.removeAll(where: \.isKey) }

    mutating func removeKeys(ofDatabase database: UInt8) {
        entries.removeAll { $0.isKey && $0.database == database }
    }

    // MARK: Entries

    static func entry(_ key: KeyName, _ state: StateView) -> Entry {
        let own = state.kind == .counter ? Int64.max : state.value.loadUnaligned(as: Int64.self)
        let seed = UInt64(state.kind.rawValue) &+ UInt64(bitPattern: state.deadline ?? -1) &* 0x9E37_79B9_7F4A_7C15
        return Entry(
            name: name(key, isHidden: state.kind.isHidden), digest: hash(state.value, seed: seed),
            expiry: min(own, state.deadline ?? Int64.max), isKey: true, database: UInt8(key.database(state.kind)))
    }

    static func entry(_ record: PolicyRecord) -> Entry {
        Entry(
            name: name(record), digest: record.value.withUnsafeBytes { hash($0, seed: 7) }, expiry: Int64.max,
            isKey: false)
    }

    static func name(_ key: KeyName, isHidden: Bool) -> UInt64 {
        hash(key.bytes, seed: (isHidden ? 2 : 1) + (key.isNumbered ? 10 : 0))
    }

    static func name(_ record: PolicyRecord) -> UInt64 {
        let isPolicy = record.kind == .policy || record.kind == .policyRemoval
        return record.key.withUnsafeBytes { hash($0, seed: isPolicy ? 3 : 4) }
    }

    private static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
        var hash = mixed(seed &+ UInt64(bytes.count))
        var place = 0
        while place + 8 <= bytes.count {
            hash = mixed(hash ^ bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self))
            place += 8
        }
        while place < bytes.count {
            hash = mixed(hash ^ UInt64(bytes[place]))
            place += 1
        }
        return hash
    }

    private static func mixed(_ value: UInt64) -> UInt64 {
        let product = (value ^ 0xD6E8_FEB8_6659_FD93).multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
        return product.high ^ product.low
    }
}

/// Everything ever streamed.
struct StreamTruth {
    private struct Place: Hashable {
        let history: Int
        let offset: Int64
    }

    private var numbers: [ReplicationID: Int] = [:]
    private var states: [Place: StreamState] = [:]
    /// Earlier states at a place where unjournaled changes were made since.
    private var earlier: [Place: [StreamState]] = [:]
    /// The state at the recorded end of each history.
    private var ends: [StreamState] = []
    private var parents: [StreamPosition?] = []
    /// Places whose changes a history began with, though without their bytes.
    private var origins: [ReplicationID: StreamPosition] = [:]
    /// The node that appends to each history.
    private var makers: [Int] = []
    private var clocks: [Int64] = []
    /// The offset and time at which each history began.
    private var beginnings: [(offset: Int64, time: Int64)] = []
    /// Readable names and contents by hash, if failures are to be explained.
    private(set) var words: [UInt64: String]?

    private var kinds = [Int](repeating: 0, count: 8)
    private var controls = [Int](repeating: 0, count: 5)
    private var numbered = 0
    private var flushedDatabases = 0

    init(explains: Bool) { words = explains ? [:] : nil }

    // MARK: Recording

    /// A node begins a history at `offset` with this state, on a clock that is `clock` ahead of the simulation's. Or
    /// it continues a history from a state with unjournaled changes, as long as no other node knows that history.
    mutating func began(
        _ identity: ReplicationIdentity, at offset: Int64, _ state: StreamState, clock: Int64, time: EngineTime,
        by node: Int
    ) {
        let number = numbers[identity.id] ?? numbers.count
        if number == numbers.count {
            numbers[identity.id] = number
            ends.append(state)
            parents.append(identity.past)
            makers.append(node)
            clocks.append(clock)
            beginnings.append((offset, time.nanoseconds))
        }
        ends[number] = state
        let place = Place(history: number, offset: offset)
        if let before = states[place], before != state { earlier[place, default: []].append(before) }
        states[place] = state
    }

    /// A history, or a set of files of this name, began with all changes up to `origin`, though without their bytes.
    mutating func contains(_ id: ReplicationID, all origin: StreamPosition) { origins[id] = origin }

    /// Records complete batches appended to a history.
    mutating func added(_ bytes: UnsafeRawBufferPointer, to id: ReplicationID) {
        guard let number = numbers[id] else { return }
        var state = ends[number]
        ends[number] = StreamState()
        var position = 0
        while position < bytes.count {
            let batch = JournalBatch(UnsafeRawBufferPointer(rebasing: bytes[position...]))!
            let whole = UnsafeRawBufferPointer(rebasing: bytes[position..<position + batch.count])
            do throws(BatchError<Never>) {
                try JournalBatch.forEachRecord(in: whole) { record in apply(record, to: &state) }
            } catch {
                preconditionFailure("a batch of the journal: \(error)")
            }
            position += batch.count
            states[Place(history: number, offset: batch.offset + Int64(batch.count))] = state
        }
        ends[number] = state
    }

    private mutating func apply(_ record: JournalRecord, to state: inout StreamState) {
        switch record {
        case .state(let key, let view):
            kinds[Int(view.kind.rawValue)] += 1
            if key.isNumbered { numbered += 1 }
            state.set(StreamState.entry(key, view))
            guard words != nil else { return }
            words![StreamState.entry(key, view).digest] = "\(view.kind) \(Array(view.value))"
            words![StreamState.name(key, isHidden: view.kind.isHidden)] = String(decoding: key.bytes, as: UTF8.self)
        case .removed(let key): state.remove(StreamState.name(key, isHidden: false))
        case .control(.flushAll, _, _): state.removeKeys()
        case .control(.flushDatabase, _, let body):
            flushedDatabases += 1
            state.removeKeys(ofDatabase: body[0])
        case .control(.policy, let key, let body): change(.policy, key, body, &state)
        case .control(.policyRemoval, let key, let body): change(.policyRemoval, key, body, &state)
        case .control(.rule, let key, let body): change(.rule, key, body, &state)
        case .control(.ruleRemoval, let key, let body): change(.ruleRemoval, key, body, &state)
        case .control(.endOfSnapshot, _, _): preconditionFailure("an end of a snapshot in a journal")
        }
    }

    private mutating func change(
        _ kind: PolicyRecord.Kind, _ key: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer,
        _ state: inout StreamState
    ) {
        controls[Int(kind.rawValue)] += 1
        let record = PolicyRecord(kind: kind, key: Array(key), value: Array(body))
        if kind == .policy || kind == .rule {
            state.set(StreamState.entry(record))
        } else {
            state.remove(StreamState.name(record))
        }
    }

    /// Adds the number of records of each kind.
    func count(into coverage: inout Simulation.Coverage) {
        coverage.gcraRecords += kinds[Int(StateKind.gcra.rawValue)]
        coverage.counterRecords += kinds[Int(StateKind.counter.rawValue)]
        coverage.fixedWindowRecords += kinds[Int(StateKind.fixedWindow.rawValue)]
        coverage.slidingWindowRecords += kinds[Int(StateKind.slidingWindow.rawValue)]
        coverage.slidingLogRecords += kinds[Int(StateKind.slidingLog.rawValue)]
        coverage.tokenRecords += kinds[Int(StateKind.token.rawValue)]
        coverage.calendarRecords += kinds[Int(StateKind.calendar.rawValue)]
        coverage.policyRecords += controls[Int(PolicyRecord.Kind.policy.rawValue)]
        coverage.ruleRecords += controls[Int(PolicyRecord.Kind.rule.rawValue)]
        coverage.policyRemovals += controls[Int(PolicyRecord.Kind.policyRemoval.rawValue)]
        coverage.ruleRemovals += controls[Int(PolicyRecord.Kind.ruleRemoval.rawValue)]
        coverage.numberedRecords += numbered
        coverage.flushedDatabases += flushedDatabases
    }

    // MARK: Queries

    /// Engine time minus simulation time of the node that made the bytes before a place, or of the node that began a
    /// history there, if later: a full sync transfers its clock, whether or not bytes follow it.
    func clock(at position: StreamPosition) -> Int64? {
        let found = lineage(of: position)
        return found.filter { $0 == found.last || beginnings[$0].offset == position.offset }.map { clocks[$0] }.max()
    }

    /// The time at which this history or one of its ancestors began, if it began at this place: by then some keys in
    /// the files it began with may have expired there.
    func beginning(at position: StreamPosition) -> Int64? {
        lineage(of: position).first { beginnings[$0].offset == position.offset }.map { beginnings[$0].time }
    }

    /// The histories that share this place, from its own back to the one in which its bytes were made.
    private func lineage(of position: StreamPosition) -> [Int] {
        var found: [Int] = []
        var id: ReplicationID? = position.id
        while let history = id, let number = numbers[history] {
            found.append(number)
            guard let parent = parents[number], position.offset <= parent.offset else { break }
            id = parent.id
        }
        return found
    }

    /// Whether unjournaled changes were made at a place by another node. Only the node that made them can be there.
    func isForeign(_ position: StreamPosition, to node: Int) -> Bool {
        guard let number = numbers[position.id], makers[number] != node else { return false }
        return earlier[Place(history: number, offset: position.offset)] != nil
    }

    /// The state at the recorded end of a history.
    func end(of id: ReplicationID) -> StreamState? { numbers[id].map { ends[$0] } }

    /// States that a primary had at a place, in its history or in an ancestor.
    func states(at position: StreamPosition) -> [StreamState] {
        lineage(of: position).flatMap { number in
            let place = Place(history: number, offset: position.offset)
            return (states[place].map { [$0] } ?? []) + (earlier[place] ?? [])
        }
    }

    /// Whether a node at `position` has everything up to `other`.
    func contains(_ position: StreamPosition, _ other: StreamPosition) -> Bool {
        // The start of a history is also a place of its parent, and a node may have returned to that.
        var wanted = other
        while let number = numbers[wanted.id], let parent = parents[number], wanted.offset <= parent.offset {
            wanted.id = parent.id
        }
        var place = position
        while place.id != wanted.id {
            if let origin = origins[place.id] {
                place = origin
            } else if let number = numbers[place.id], let parent = parents[number] {
                place = StreamPosition(id: parent.id, offset: min(place.offset, parent.offset))
            } else {
                return false
            }
        }
        return wanted.offset <= place.offset
    }

    /// Readable differences between the two states.
    func difference(_ found: StreamState, _ wanted: StreamState, at time: Int64) -> String {
        let (left, right) = (StreamTruth.live(found, time), StreamTruth.live(wanted, time))
        return Set(left.keys).union(right.keys).sorted().filter { left[$0] != right[$0] }.map { name in
            func text(_ digest: UInt64?) -> String { digest.map { words?[$0] ?? "\($0)" } ?? "nothing" }
            return "\(words?[name] ?? "\(name)"): \(text(left[name])), and the primary had \(text(right[name]))"
        }.joined(separator: "; ")
    }

    private static func live(_ state: StreamState, _ time: Int64) -> [UInt64: UInt64] {
        Dictionary(
            state.entries.filter { $0.expiry > time }.map { ($0.name, $0.digest) }, uniquingKeysWith: { $1 })
    }

    /// The state of an engine, including expired entries not yet removed.
    static func dump(_ engine: Engine) -> StreamState { StreamReader(engine).state() }
}

/// Reads an engine's state repeatedly.
final class StreamReader {
    private let session: KeyspaceSession
    private var version: UInt64?
    private var policies: [StreamState.Entry] = []

    init(_ engine: Engine) { session = KeyspaceSession(engine: engine) }

    func state() -> StreamState {
        let registry = session.engine.policies
        if version != registry.version {
            version = registry.version
            policies = registry.table.records.map { StreamState.entry($0) }
        }
        var state = StreamState()
        for entry in policies { state.add(entry) }
        var cursor: UInt64 = 0
        repeat {
            cursor = session.scanStates(cursor: cursor, effort: 1000, now: EngineTime(nanoseconds: 0)) {
                state.add(StreamState.entry($0, $1))
            }
        } while cursor != 0
        return state
    }
}
