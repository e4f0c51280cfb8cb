// Command admission: every command in every server and session state, checked against Redis's flags and its order of
// refusals.

import Testing

@testable import RespServer

@Suite struct AdmissionTests {
    /// Every command, both on its own and as an EXEC that runs it.
    static let requests: [(name: String, facts: RequestFacts)] = CommandTableTests.all.flatMap { name, spec in
        let alone = RequestFacts(spec.flags, isWrite: spec.flags.contains(.write))
        var exec = RequestFacts(exec.flags, isWrite: alone.isWrite)
        exec.tolerates.formIntersection(alone.tolerates)
        return [(name, alone), ("exec of \(name)", exec)]
    }
    static let exec = CommandTableTests.all.first { $0.name == "exec" }!.spec

    static let states: [ServerState] = [
        .loading, .receiving, .restoring, .replica, .stale, .lacksState, .lacksReplicas, .diskFailed, .paused,
        .writesPaused, .handingOver, .monitored,
    ]
    static let sessions: [SessionFacts] = (0..<8).map {
        SessionFacts(
            isUnauthenticated: $0 & 1 != 0, isInTransaction: $0 & 2 != 0, isInSubscribedMode: $0 & 4 != 0)
    }
    /// A session with default state.
    static let usual = SessionFacts()

    /// Redis's flags of each command; nil if Redis does not have the command.
    static let redisFlags: [String: Set<String>] = Dictionary(
        uniqueKeysWithValues: redisCommandFacts.split(separator: "\n").map {
            let columns = $0.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
            return (columns[0], Set(columns[2].split(separator: " ").map(String.init)))
        })

    static func decide(_ request: RequestFacts, _ session: SessionFacts, _ state: ServerState) -> Admission {
        Admission.decide(request, session, state)
    }

    // MARK: One thing at a time

    @Test func everyCommandRunsInTheDefaultState() {
        for (name, facts) in Self.requests { #expect(Self.decide(facts, Self.usual, []) == .run, "\(name)") }
    }

    /// With exactly one abnormal state, the decision follows from Redis's flags.
    @Test func aSingleStateRefusesWhatRedisRefuses() {
        for (name, spec) in CommandTableTests.all {
            guard let flags = Self.redisFlags[name] else { continue }
            let facts = RequestFacts(spec.flags, isWrite: spec.flags.contains(.write))
            func expect(_ state: ServerState, _ refusal: Refusal, unless isSpared: Bool) {
                let expected: Admission = isSpared ? .run : .refuse(refusal)
                #expect(Self.decide(facts, Self.usual, state) == expected, "\(name) in \(refusal)")
            }
            let isWrite = flags.contains("write")
            // Redis runs any script on such a replica and refuses the commands in it; here a script is one command.
            let isScript = spec.flags.contains(.script)
            expect(.loading, .loading, unless: flags.contains("loading"))
            expect(.replica, .readOnly, unless: !isWrite)
            expect(.lacksReplicas, .lacksReplicas, unless: !isWrite)
            expect(.diskFailed, .diskFailed, unless: !isWrite && name != "ping")
            expect(.stale, .stale, unless: flags.contains("stale") && !isScript || Self.ownStale.contains(name))
            let stranger = SessionFacts(isUnauthenticated: true)
            #expect(
                Self.decide(facts, stranger, []) == (flags.contains("no_auth") ? .run : .refuse(.unauthenticated)),
                "\(name) before authentication")
            let inMulti = Self.decide(facts, SessionFacts(isInTransaction: true), [])
            let runsAtOnce = ["exec", "discard", "multi", "watch", "quit", "reset"].contains(name)
            let expected: Admission = flags.contains("no_multi") ? .refuse(.inTransaction) : runsAtOnce ? .run : .queue
            #expect(inMulti == expected, "\(name) inside MULTI")
            let subscribed = Self.decide(facts, SessionFacts(isInSubscribedMode: true), [])
            let isAllowed = Self.whileSubscribed.contains(name)
            #expect(subscribed == (isAllowed ? .run : .refuse(.subscribed)), "\(name) in subscribed mode")
        }
    }

    static let whileSubscribed: Set<String> = [
        "ping", "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "quit", "reset",
    ]
    /// Commands that configure a node and must work in every link state; Redis has no counterpart.
    static var ownStale: Set<String> {
        Set(CommandTableTests.all.filter { $0.spec.flags.contains(.ownRefusal) }.map(\.name))
    }

    @Test func pausesSuspendWhatRedisSuspends() {
        for (name, spec) in CommandTableTests.all {
            let facts = RequestFacts(spec.flags, isWrite: spec.flags.contains(.write))
            let ignores = spec.flags.contains(.ignoresPause)
            let held = { (state: ServerState) in Self.decide(facts, Self.usual, state) == .suspend }
            #expect(held(.paused) == !ignores, "\(name)")
            let mayReplicate = ["publish", "eval", "evalsha"].contains(name)
            #expect(held(.writesPaused) == (!ignores && (facts.isWrite || mayReplicate)), "\(name)")
            #expect(held(.handingOver) == (!ignores && facts.isWrite), "\(name)")
            // Queuing a command is not a write; EXEC is.
            let queued = Self.decide(facts, SessionFacts(isInTransaction: true), [.paused, .writesPaused])
            if !spec.flags.contains(.noMulti), !spec.flags.contains(.transactionControl) {
                #expect(queued == .queue, "\(name)")
            }
        }
        let writing = RequestFacts(Self.exec.flags, isWrite: true)
        #expect(Self.decide(writing, SessionFacts(isInTransaction: true), .writesPaused) == .suspend)
        #expect(Self.decide(writing, SessionFacts(isInTransaction: true), .handingOver) == .suspend)
    }

    @Test func execRunsIfAllItsCommandsMayRun() {
        var exec = RequestFacts(Self.exec.flags, isWrite: false)
        let transaction = SessionFacts(isInTransaction: true)
        for state: ServerState in [.loading, .stale, .receiving, .lacksState] {
            let alone = Self.decide(exec, transaction, state)
            exec.tolerates = []
            #expect(Self.decide(exec, transaction, state) != .run)
            exec.tolerates = ToleratedStates(Self.exec.flags)
            #expect(Self.decide(exec, transaction, state) == alone)
        }
    }

    // MARK: Combined states

    /// In any combination the first applicable refusal in Redis's order wins.
    @Test func theFirstRefusalInRedissOrderWins() {
        let relevant: CommandFlags = [
            .noAuth, .noMulti, .reportsDisk, .whileSubscribed, .transactionControl, .ignoresPause, .mayReplicate,
        ]
        let refusing = Self.states.prefix { $0 != .paused }
        let holding: [ServerState] = [[], [.paused, .writesPaused, .handingOver, .monitored]]
        var seen: Set<[UInt32]> = []
        for (name, facts) in Self.requests {
            let flags = facts.flags.intersection(relevant).rawValue
            let key = [flags, facts.isWrite ? 1 : 0, UInt32(facts.tolerates.rawValue)]
            guard seen.insert(key).inserted else { continue }
            for session in Self.sessions {
                for bits in 0..<UInt32(2 << refusing.count) {
                    let isHolding = bits >> UInt32(refusing.count) != 0
                    let state = refusing.enumerated().reduce(into: holding[isHolding ? 1 : 0]) {
                        if bits & 1 << UInt32($1.offset) != 0 { $0.formUnion($1.element) }
                    }
                    let expected = Self.firstRefusal(facts, session, state).map { Admission.refuse($0) }
                    let decision = Self.decide(facts, session, state)
                    if case .refuse = decision {
                        if decision != expected { Issue.record("\(name), \(session), \(state): \(decision)") }
                    } else if expected != nil {
                        Issue.record("\(name), \(session), \(state): \(decision), not \(expected!)")
                    }
                }
            }
        }
        #expect(seen.count > 10, "distinct decisions")
    }

    private static func firstRefusal(
        _ facts: RequestFacts, _ session: SessionFacts, _ state: ServerState
    ) -> Refusal? {
        func alone(_ session: SessionFacts, _ state: ServerState) -> Refusal? {
            if case .refuse(let refusal) = decide(facts, session, state) { return refusal }
            return nil
        }
        // While the dataset is loading, the node's role is not settled, so nothing is refused because of it.
        let isLoading = state.contains(.loading)
        func ofServer(_ part: ServerState) -> Refusal? {
            let isPart: ServerState = [.restoring, .replica, .lacksReplicas, .stale, .lacksState]
            guard state.isSuperset(of: part), !isLoading || part.isDisjoint(with: isPart) else { return nil }
            return alone(usual, part)
        }
        let order: [Refusal?] = [
            session.isUnauthenticated ? alone(SessionFacts(isUnauthenticated: true), []) : nil,
            session.isInTransaction ? alone(SessionFacts(isInTransaction: true), []) : nil,
            ofServer(.diskFailed), ofServer(.restoring), ofServer(.replica), ofServer(.lacksReplicas),
            session.isInSubscribedMode ? alone(SessionFacts(isInSubscribedMode: true), []) : nil,
            ofServer(.stale), ofServer(.loading), ofServer(.receiving), ofServer(.lacksState),
        ]
        return order.compactMap { $0 }.first
    }

    // MARK: The fast path

    /// A command that the fast path accepts without an admission check would also pass that check.
    @Test func theFastPathAdmitsNothingThatWouldBeRefused() {
        typealias Word = ConnectionFields.Word
        for flag in (0..<16).map({ ConnectionFlags(rawValue: 1 << $0) }) {
            let word = Word(flag, [])
            #expect(Admission.isOnFastPath(word, []) == ConnectionFlags.fastPathCompatible.contains(flag))
            #expect(!Admission.isOnFastPath(word, .monitored))
        }
        for flag in (16..<32).map({ SessionFlags(rawValue: 1 << $0) }) {
            let word = Word([], flag)
            #expect(Admission.isOnFastPath(word, []) == SessionFlags.fastPathCompatible.contains(flag))
            #expect(!Admission.isOnFastPath(word, .monitored))
        }
        for state in Self.states { #expect(!Admission.isOnFastPath(Word([], []), state)) }
        #expect(Admission.isOnFastPath(Word([], []), []))
        #expect(Admission.isOnFastPath(Word(.fastPathCompatible, .fastPathCompatible), []))
    }

    /// The connection and its session share a word; neither changes the other's flags.
    @Test func theHalvesOfTheSharedWordAreIndependent() {
        var fields = ConnectionFields([.unixSocket, .blocked])
        fields.sessionFlags.insert([.monitor, .resp3])
        #expect(fields.connectionFlags == [.unixSocket, .blocked] && fields.sessionFlags == [.monitor, .resp3])
        fields.connectionFlags.remove(.blocked)
        fields.connectionFlags.insert(.noEvict)
        #expect(fields.connectionFlags == [.unixSocket, .noEvict] && fields.sessionFlags == [.monitor, .resp3])
        #expect(fields.word.unusual == SessionFlags.monitor.rawValue)
        fields.sessionFlags = []
        #expect(fields.connectionFlags == [.unixSocket, .noEvict] && fields.word.unusual == 0)
    }
}
