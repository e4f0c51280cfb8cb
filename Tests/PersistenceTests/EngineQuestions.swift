// Random requests to an engine: limiters of every algorithm with and without IDs, counters, deadlines, policies and
// rules. A question is a value, so that several engines can be given the very same request.
//
// Owns: which keys hold which kind of state. Most requests to a key match its kind, so that state builds up; a few do
// not.

import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

/// An engine's answer to a question.
enum Answer: Equatable {
    case decision(LimitDecision)
    case limit(LimitDecision)
    case all(KeyspaceSession.TakeAllOutcome, [LimitDecision])
    case done(Bool)
    case timeToLive(TimeToLive)
    case state(StoredState?)
    case number(Int64?)
    case step(value: Int64, applied: Int64)
    case setting(CounterSetting)
    case failed(CounterError)
    /// No such policy or rule.
    case nothing
}

/// A query or a change.
struct Question {
    enum Kind {
        case remove
        case setDeadline
        case removeDeadline
        case timeToLive
        case state
        case exists
        case throttle
        case take
        case peek
        case refund
        case named
        case check
        case takeAll
        case counter
        case editPolicies

        static let drawn: [Kind] = [
            .remove, .setDeadline, .removeDeadline, .timeToLive, .state, .exists, .throttle, .throttle, .take, .take,
            .take, .take, .take, .peek, .refund, .named, .named, .check, .check, .takeAll, .counter, .counter, .counter,
            .editPolicies, .editPolicies, .editPolicies,
        ]
    }

    let kind: Kind
    let key: String
    let others: [String]
    let algorithm: Limit.Algorithm
    let number: Int64
    let choice: Int
    /// An ID, for calls that accept one; drawn from few, so that IDs repeat.
    let token: String?

    /// A question about one of `keys` keys.
    init(_ random: inout SeededGenerator, keys: Int) {
        func name(_ number: Int) -> String { "k\(number)" + String(repeating: "x", count: number % 10 * 7) }
        let place = random.below(keys)
        key = name(place)
        others = [name((place + 1) % keys), name((place + 3) % keys)]
        kind = Kind.drawn[random.below(Kind.drawn.count)]
        let algorithms = Limit.Algorithm.allCases
        let isUsual = random.below(8) > 0
        algorithm = algorithms[(isUsual ? place : random.below(algorithms.count)) % algorithms.count]
        number = Int64(random.below(1000))
        choice = random.below(12)
        token = random.below(3) == 0 ? "id \(random.below(4))" : nil
    }

    // MARK: Execution

    /// Executes the question. With a journal, changes of policies and rules are recorded there; changes of keys wait
    /// for its next collection.
    @discardableResult
    func ask(_ session: KeyspaceSession, journal: Journal? = nil, now: EngineTime) -> Answer {
        switch kind {
        case .remove: return .done(session.remove(key, now: now))
        case .setDeadline: return .done(session.setDeadline(key, to: now.adding(number * 50_000_000), now: now))
        case .removeDeadline: return .done(session.removeDeadline(key, now: now))
        case .timeToLive: return .timeToLive(key.withBytes { session.timeToLive($0, now: now) })
        case .state: return .state(session.stored(key, now: now))
        case .exists: return .done(key.withBytes { session.exists($0, now: now) })
        case .throttle:
            return .decision(
                session.throttle(
                    key, burst: number % 7, count: 1 + number % 3, period: 1 + number % 20, quantity: number % 3,
                    now: now))
        case .take: return decide(request(limit, .take), key, session, now: now)
        case .peek: return decide(request(limit, .peek), key, session, now: now)
        case .refund: return decide(request(limit, .refund), key, session, now: now)
        case .named: return named(session, now: now)
        case .check: return check(session, now: now)
        case .takeAll: return takeAll(session, now: now)
        case .counter: return counter(session, now: now)
        case .editPolicies: return .done(edit(session, journal, now: now))
        }
    }

    private var limit: Limit { limit(algorithm) }

    private func limit(_ algorithm: Limit.Algorithm) -> Limit {
        // Units are replenished after tens of milliseconds up to hours.
        let period = (1 + number * number) * 10_000_000
        let burst = algorithm.kind == .gcra ? number % 9 + 1 : nil
        return try! Limit.sample(
            algorithm, units: 3 + number % 7, period: period, burst: burst,
            offset: algorithm == .fixedWindow ? number * 1_000_000 : 0)
    }

    private var demand: Demand { try! Demand(number % 4, isPartial: choice == 0) }

    private func request(_ limit: Limit, _ operation: LimitCall.Operation) -> LimitCall {
        var take = LimitCall(limit, demand)
        take.operation = operation
        return take
    }

    private func decide(
        _ take: LimitCall, _ key: String, _ session: KeyspaceSession, now: EngineTime
    ) -> Answer {
        var take = take
        // An ID window of seconds, or longer than the whole run.
        take.tokenWindow = choice < 4 ? 3_000_000_000 : 1_000_000_000_000
        let bytes = Array((token ?? "").utf8)
        return bytes.withUnsafeBytes { token in
            if self.token != nil, take.operation == .take { take.token = token }
            key.withBytes { session.decide(&take, key: $0, now: now) }
            return .limit(take.decision)
        }
    }

    private func takeAll(_ session: KeyspaceSession, now: EngineTime) -> Answer {
        let names = ([key] + others).map { Array($0.utf8) }
        var calls = names.indices.map { index in
            request(limit(Limit.Algorithm.allCases[(choice + index) % Limit.Algorithm.allCases.count]), .take)
        }
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: names.reduce(0) { $0 + $1.count })
        defer { bytes.deallocate() }
        var end = bytes
        for (index, name) in names.enumerated() {
            end.initialize(from: name, count: name.count)
            calls[index].setKey(end, count: name.count)
            end += name.count
        }
        let outcome = calls.withUnsafeMutableBufferPointer {
            session.takeAll($0.baseAddress!, count: $0.count, now: now)
        }
        return .all(outcome, calls.map(\.decision))
    }

    private func counter(_ session: KeyspaceSession, now: EngineTime) -> Answer {
        // Separate keys; otherwise hardly any limiters would be left.
        let name = choice == 11 ? key : "counter " + key
        return name.withBytes { key in
            do throws(CounterError) {
                switch choice {
                case 0..<4: return .number(try session.add(number - 500, toCounter: key, now: now))
                case 4, 5:
                    var step = CounterStep(number)
                    step.upperBound = 1500
                    step.saturates = choice == 4
                    step.deadline = choice == 4 ? .keep : .ifNone(at: now.adding(number * 100_000_000))
                    let (value, applied) = try session.step(step, counter: key, now: now)
                    return .step(value: value, applied: applied)
                case 6: return .number(try session.takeCounter(key, now: now))
                case 7: return .number(try session.counter(key, now: now))
                case 8: return .setting(try session.setCounter(key, to: number, if: .ifAbsent, now: now))
                default:
                    let deadline = CounterDeadline.at(now.adding(number * 100_000_000))
                    return .setting(
                        try session.setCounter(key, to: number, deadline: choice == 9 ? .keep : deadline, now: now))
                }
            } catch {
                return .failed(error)
            }
        }
    }

    // MARK: Policies and rules

    private var policyName: [UInt8] { Array("p\(number % 4)".utf8) }
    private var tenant: [UInt8] { Array("t\(number % 2)".utf8) }
    private var client: [UInt8] { Array("c\(number % 5)".utf8) }

    private func named(_ session: KeyspaceSession, now: EngineTime) -> Answer {
        let table = session.policies
        guard let policy = policyName.withUnsafeBytes({ table.policyNumber(named: $0) }) else { return .nothing }
        return decide(table.terms(ofPolicy: policy).take(demand), "named " + key, session, now: now)
    }

    private func check(_ session: KeyspaceSession, now: EngineTime) -> Answer {
        let table = session.policies
        return tenant.withUnsafeBytes { tenant in
            client.withUnsafeBytes { client in
                guard let found = table.resolve(tenant: tenant, client: client, action: client) else { return .nothing }
                var key = [UInt8](
                    repeating: 0, count: CheckKey.count(tenant: tenant, client: client, action: client))
                key.withUnsafeMutableBufferPointer {
                    _ = CheckKey.write(tenant: tenant, client: client, action: client, to: $0.baseAddress!)
                }
                let name = String(decoding: key, as: UTF8.self)
                return decide(table.terms(ofPolicy: found.policy).take(demand), name, session, now: now)
            }
        }
    }

    /// One change, or a few at once. Returns false if it was refused.
    private func edit(_ session: KeyspaceSession, _ journal: Journal?, now: EngineTime) -> Bool {
        let policies = session.engine.policies
        func change(_ draft: inout PolicyDraft) throws(PolicyError) {
            let subject = RuleSubject(tenant: number % 3 == 0 ? nil : tenant, client: client, action: nil)
            let mode = LimitCall.Mode.allCases[choice % 3]
            switch choice {
            case 0, 1: try draft.removePolicy(policyName)
            case 2, 3: try draft.removeRule(subject)
            case 4..<8: try draft.set(Policy(name: policyName, limit: limit, mode: mode, origin: .command))
            // Only policies with even numbers get rules, or none could be removed.
            case 8 where number % 2 == 0: try draft.set(Rule(subject, policy: policyName))
            case 9 where number % 2 == 0:
                try draft.set(Policy(name: policyName, limit: limit, mode: mode, origin: .file))
                try draft.set(Rule(subject, policy: policyName, origin: .file))
            default: try draft.set(Policy(name: policyName, limit: limit, mode: mode, origin: .file))
            }
        }
        func result(_ journal: ([PolicyRecord]) -> Void) -> Bool {
            (try? policies.edit(now: now, change, journal: journal)) != nil
        }
        guard let journal else { return result { _ in } }
        return journal.excludingCollections { result { journal.recordExcluding($0, time: now) } }
    }
}
