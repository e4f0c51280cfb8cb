// What the records of a directory amount to: keys by database, policies and rules, and records by kind.
//
// Owns the counts. Reading the records, and deciding which of them are valid, is the caller's.

package import LimiterEngine

/// What a start would restore.
package struct StateContents: Equatable, Sendable {
    /// The databases that have keys.
    package let databases: [KeyCensus.Database]
    /// Answers to idempotency tokens that are in force.
    package let tokens: Int
    /// Policies that commands have set.
    package let policies: Int
    /// Rules that commands have set.
    package let rules: Int

    /// Keys of all databases, without those that have expired.
    package var keys: Int { databases.reduce(0) { $0 + $1.keys } }
    /// Keys that have expired.
    package var expired: Int { databases.reduce(0) { $0 + $1.expired } }
}

/// Records by kind.
package struct RecordTally: Equatable, Sendable {
    private(set) var removals = 0
    private var states = [Int](repeating: 0, count: 1 + Int(StateKind.allCases.map(\.rawValue).max()!))
    private var controls = [Int](repeating: 0, count: 1 + Int(ControlKind.allCases.map(\.rawValue).max()!))

    /// All records.
    package var total: Int { removals + states.reduce(0, +) + controls.reduce(0, +) }

    mutating func add(_ record: JournalRecord) {
        switch record {
        case .state(_, let state): states[Int(state.kind.rawValue)] += 1
        case .removed: removals += 1
        case .control(let kind, _, _): controls[Int(kind.rawValue)] += 1
        }
    }

    /// The kinds that occur, as a dump names them, and how often: states, removals, control records.
    var kinds: [(name: StaticString, count: Int)] {
        var all: [(name: StaticString, count: Int)] = []
        for kind in StateKind.allCases { all.append((kind.facts.noun, states[Int(kind.rawValue)])) }
        all.append(("removed", removals))
        for kind in ControlKind.allCases { all.append((kind.dumpName, controls[Int(kind.rawValue)])) }
        return all.filter { $0.count > 0 }
    }
}

/// Counts records in the order in which a start reads them. Not thread-safe.
final class StateCensus {
    private(set) var tally = RecordTally()
    private var keys: KeyCensus
    private var policies = PolicyReplay()

    /// - Parameter now: States that expire by then count as expired.
    init(now: EngineTime) { keys = KeyCensus(horizon: now) }

    /// Adds a record of a key, or of all keys.
    func add(_ record: JournalRecord) {
        tally.add(record)
        switch record {
        case .state(let name, let state): keys.put(state, name)
        case .removed(let name): keys.remove(name)
        case .control(.flushAll, _, _): keys.removeAll()
        case .control(.flushDatabase, _, let body): keys.removeAll(ofDatabase: body[0])
        case .control: break
        }
    }

    /// Adds the records of policies and rules of a file.
    func add(_ records: [PolicyRecord]) { policies.add(records) }

    /// The result, once everything has been added. Throws, as a start does, if the policies and rules are inconsistent.
    func contents(path: String) throws(RecoveryError) -> StateContents {
        let registry = Engine(shards: 1).policies
        try policies.put(into: registry, path: path)
        let table = registry.table
        return StateContents(
            databases: keys.databases, tokens: keys.tokensInForce, policies: table.policies.count,
            rules: table.rules.count)
    }
}
