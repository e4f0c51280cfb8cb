// Client and operator workload on the primary: limits of every algorithm, given by numbers, by policy or by rule,
// with and without tokens, refunds, counters, deadlines and deletions; edits of policies and rules.

import LimiterEngine
import Persistence
import TestSupport

@testable import Replication

extension Simulation {
    private static let keys = 12
    private static let millisecond: Int64 = 1_000_000

    /// Issues a few calls.
    func write(to node: SimulatedNode) {
        if node.admitsWrites { runWrites(on: node) }
    }

    /// Runs calls that have been admitted.
    func runWrites(on node: SimulatedNode) {
        coverage.writes += 1
        let session = KeyspaceSession(engine: node.engine)
        let time = node.engineTime
        session.database = random.once(in: 4) ? 1 + random.below(2) : 0
        switch random.below(70) {
        case 0: flush(node, session, time)
        case 1, 2, 3, 4: editPolicies(of: node)
        default: for _ in 0..<1 + random.below(4) { change(session, time) }
        }
        node.storage.noteChanges()
        if node.storage.isJournaling { node.hasUncollected = true }
        if random.once(in: 3) { node.collect() }
    }

    /// FLUSHALL or FLUSHDB.
    private func flush(_ node: SimulatedNode, _ session: KeyspaceSession, _ time: EngineTime) {
        let isOfDatabase = random.once(in: 2)
        node.journal.excludingCollections {
            if !isOfDatabase { session.removeAll() }
            let flush = isOfDatabase ? session.removeDatabase() : .everything
            guard node.storage.isJournaling else { return }
            switch flush {
            case .nothing: break
            case .everything: node.journal.recordExcluding(.flushAll, time: time)
            case .database:
                withUnsafeBytes(of: UInt8(session.database)) {
                    node.journal.recordExcluding(.flushDatabase, body: $0, time: time)
                }
            }
        }
    }

    private func withKey<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        Array("key-\(random.below(Simulation.keys))".utf8).withUnsafeBytes(body)
    }

    private func change(_ session: KeyspaceSession, _ time: EngineTime) {
        switch random.below(16) {
        case 0: withKey { _ = session.remove($0, now: time) }
        case 1: changeDeadline(session, time)
        case 2, 3, 4: changeCounter(session, time)
        case 5: takeFromSeveral(session, time)
        case 6, 7: takeByPolicy(session, time)
        default: takeByNumbers(session, time)
        }
    }

    // MARK: Limits

    /// Random parameters for a limit of this algorithm.
    private func limit(_ algorithm: Limit.Algorithm) -> Limit {
        let period = random.between(50, 3000) * Simulation.millisecond
        let isRate = algorithm.kind == .gcra
        return try! Limit.sample(
            algorithm, units: random.between(1, 6), period: period, burst: isRate ? random.between(1, 6) : nil)
    }

    /// Mostly uses the key's own algorithm, so that calls usually find a state of their own kind.
    private func limit(forKey number: Int) -> Limit {
        let all = Limit.Algorithm.allCases
        return limit(all[random.once(in: 12) ? random.below(all.count) : number % all.count])
    }

    private func takeByNumbers(_ session: KeyspaceSession, _ time: EngineTime) {
        let number = random.below(Simulation.keys)
        var take = LimitCall(limit(forKey: number), try! Demand(random.between(1, 3), isPartial: random.once(in: 3)))
        if random.once(in: 8) { take.operation = .refund }
        if random.once(in: 15) { take.mode = .shadow }
        Array("key-\(number)".utf8).withUnsafeBytes { key in
            guard random.once(in: 4) else { return session.decide(&take, key: key, now: time) }
            take.tokenWindow = random.between(50, 3000) * Simulation.millisecond
            Array("t\(random.below(3))".utf8).withUnsafeBytes { token in
                take.token = token
                session.decide(&take, key: key, now: time)
                take.token = nil
            }
        }
    }

    /// The policy may have used another algorithm when the key was last used.
    private func takeByPolicy(_ session: KeyspaceSession, _ time: EngineTime) {
        let table = session.policies
        guard !table.policies.isEmpty else { return }
        let action = Array("action-\(random.below(3))".utf8)
        let nobody = UnsafeRawBufferPointer(start: nil, count: 0)
        let rule = action.withUnsafeBytes { table.resolve(tenant: nobody, client: nobody, action: $0) }
        let number = random.once(in: 2) ? rule?.policy : nil
        var take = table.terms(ofPolicy: number ?? random.below(table.policies.count)).take(.one)
        Array("named-\(random.below(3))".utf8).withUnsafeBytes { session.decide(&take, key: $0, now: time) }
    }

    private func takeFromSeveral(_ session: KeyspaceSession, _ time: EngineTime) {
        let first = random.below(Simulation.keys)
        let names = [first, (first + 5) % Simulation.keys].map { Array("key-\($0)".utf8) }
        var calls = [first, (first + 5) % Simulation.keys].map { LimitCall(limit(forKey: $0), .one) }
        names[0].withUnsafeBufferPointer { one in
            names[1].withUnsafeBufferPointer { other in
                calls[0].setKey(one.baseAddress!, count: one.count)
                calls[1].setKey(other.baseAddress!, count: other.count)
                calls.withUnsafeMutableBufferPointer {
                    _ = session.takeAll($0.baseAddress!, count: 2, now: time)
                }
            }
        }
    }

    // MARK: Keys

    private func changeDeadline(_ session: KeyspaceSession, _ time: EngineTime) {
        let deadline = EngineTime(nanoseconds: time.nanoseconds + random.between(-10, 900) * Simulation.millisecond)
        let removes = random.once(in: 3)
        withKey { key in
            _ =
                removes
                ? session.removeDeadline(key, now: time) : session.setDeadline(key, to: deadline, now: time)
        }
    }

    private func changeCounter(_ session: KeyspaceSession, _ time: EngineTime) {
        let deadline = EngineTime(nanoseconds: time.nanoseconds + random.between(1, 900) * Simulation.millisecond)
        let kind = random.below(6)
        let amount: Int64 = random.between(-3, 9)
        Array("count-\(random.below(3))".utf8).withUnsafeBytes { key in
            switch kind {
            case 0: _ = try? session.setCounter(key, to: amount, deadline: .at(deadline), now: time)
            case 1: _ = try? session.takeCounter(key, now: time)
            case 2:
                var step = CounterStep(amount)
                step.upperBound = 20
                step.saturates = amount > 4
                step.deadline = .ifNone(at: deadline)
                _ = try? session.step(step, counter: key, now: time)
            default: _ = try? session.add(amount, toCounter: key, now: time)
            }
        }
    }

    // MARK: Policies and rules

    /// Updates registry and journal in one step, as the server does.
    private func editPolicies(of node: SimulatedNode) {
        let name = Array("policy-\(random.below(3))".utf8)
        let subject = RuleSubject(
            tenant: random.once(in: 2) ? nil : Array("tenant".utf8), client: nil,
            action: Array("action-\(random.below(3))".utf8))
        let algorithms = Limit.Algorithm.allCases
        let policy = Policy(name: name, limit: limit(algorithms[random.below(algorithms.count)]))
        let kind = random.below(8)
        let time = node.engineTime
        node.journal.excludingCollections {
            // An invalid edit is refused as a whole.
            try? node.engine.policies.edit(now: time) { draft throws(PolicyError) in
                switch kind {
                case 0: try draft.removePolicy(name)
                case 1, 2: try draft.removeRule(subject)
                case 3, 4: try draft.set(Rule(subject, policy: name))
                case 5:
                    try draft.set(policy)
                    try draft.set(Rule(subject, policy: name))
                default: try draft.set(policy)
                }
            } journal: { records in
                if node.storage.isJournaling { node.journal.recordExcluding(records, time: time) }
            }
        }
    }
}
