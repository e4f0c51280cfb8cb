// Who has what: WAIT, WAITAOF, and min-replicas-to-write.
//
//   WAIT n ──▶ waiting ── n online links have acknowledged the offset, or time is up ──▶ answered with how many have
//                 └────── the node stops being primary ──▶ unblocked with an error
//
// WAITAOF is the same with what links say they have on disk, and may want it on this node's disk, too.
//
// Invariants: (1) a link counts from its first acknowledgement of a whole state until it closes. (2) An answer's count
// is the number of links that had acknowledged the offset when it was given. (3) Every wait is answered once.
//
// Owns: the table of links and waits. Refuses to block anybody.

public import System

/// Names a link for as long as it lives; never used twice.
public typealias LinkID = UInt64

/// What the replicas have, and who waits for it.
public struct Acknowledgements: Sendable {
    private struct Link {
        var acknowledged: Int64
        var synced: Int64
        var heard: SteadyInstant
    }

    private struct Wait {
        let ticket: UInt64
        let offset: Int64
        let count: Int
        let deadline: SteadyInstant?
        let demandsSync: Bool
        let demandsLocal: Bool
    }

    /// A wait's end.
    public struct Answer: Equatable, Sendable {
        /// Which wait.
        public let ticket: UInt64
        /// How many replicas have the offset.
        public let count: Int
        /// Whether this node has it on disk.
        public let isLocal: Bool

        /// The end of a wait.
        public init(ticket: UInt64, count: Int, isLocal: Bool = false) {
            self.ticket = ticket
            self.count = count
            self.isLocal = isLocal
        }
    }

    private var links: [LinkID: Link] = [:]
    private var waits: [Wait] = []
    /// Up to where the journal is on this node's disk; -1 without a log.
    private var localSynced: Int64 = -1

    /// Nobody, and nobody waiting.
    public init() {}

    /// Waits that have not been answered.
    public var waiting: Int { waits.count }
    /// Links that count.
    public var online: Int { links.count }

    // MARK: Links

    /// An online link has acknowledged. Returns the waits that this ends.
    public mutating func acknowledged(
        _ link: LinkID, offset: Int64, synced: Int64, now: SteadyInstant
    ) -> [Answer] {
        let before = links[link]
        links[link] = Link(
            acknowledged: max(offset, before?.acknowledged ?? 0), synced: max(synced, before?.synced ?? -1), heard: now)
        guard before == nil || offset > before!.acknowledged || synced > before!.synced else { return [] }
        return drainAnswers()
    }

    /// The journal is on this node's disk up to `offset`; -1 without a log, and then nobody waits for it any more.
    /// Returns the waits that this ends.
    public mutating func synced(_ offset: Int64) -> [Answer] {
        guard offset != localSynced else { return [] }
        localSynced = offset
        return drainAnswers { $0.demandsLocal && offset < 0 }
    }

    /// Whether somebody waits for a disk.
    public var awaitsDisk: Bool { waits.contains { $0.demandsSync || $0.demandsLocal } }

    /// A link is over.
    public mutating func removed(_ link: LinkID) { links[link] = nil }

    /// How many online replicas have the journal up to `offset`, in memory or on disk. O(replicas).
    public func count(of offset: Int64, synced demandsSync: Bool = false) -> Int {
        links.values.reduce(0) { $0 + ((demandsSync ? $1.synced : $1.acknowledged) >= offset ? 1 : 0) }
    }

    /// How many online replicas have acknowledged within the last `lag`: `min_slaves_good_slaves`.
    public func good(lag: Nanoseconds, now: SteadyInstant) -> Int {
        links.values.reduce(0) { $0 + (now - $1.heard <= lag ? 1 : 0) }
    }

    /// Whether writes are to be refused with NOREPLICAS.
    ///
    /// - Parameters:
    ///   - minimum: `min-replicas-to-write`; 0 never refuses.
    ///   - lag: `min-replicas-max-lag`; zero never refuses.
    public func refusesWrites(minimum: Int, lag: Nanoseconds, now: SteadyInstant) -> Bool {
        minimum > 0 && lag > .zero && good(lag: lag, now: now) < minimum
    }

    // MARK: Waits

    /// Somebody waits until `count` replicas have the journal up to `offset`. Answered at once if they have.
    ///
    /// - Parameters:
    ///   - ticket: Names the wait in the answer.
    ///   - deadline: When it is answered in any case; nil for never.
    ///   - demandsSync: On disk, as WAITAOF wants it.
    ///   - demandsLocal: Also on this node's disk, which `synced` tells of.
    public mutating func wait(
        ticket: UInt64, offset: Int64, count: Int, deadline: SteadyInstant?, demandsSync: Bool = false,
        demandsLocal: Bool = false
    ) -> Answer? {
        let wait = Wait(
            ticket: ticket, offset: offset, count: count, deadline: deadline, demandsSync: demandsSync,
            demandsLocal: demandsLocal)
        // Another wait changes nothing for those that are there.
        let answer = answer(to: wait, isOver: demandsLocal && localSynced < 0)
        if answer == nil { waits.append(wait) }
        return answer
    }

    /// Those who waited have gone. O(waits).
    public mutating func cancel(_ tickets: Set<UInt64>) { waits.removeAll { tickets.contains($0.ticket) } }

    /// Time has passed. Returns the waits that are over.
    public mutating func tick(now: SteadyInstant) -> [Answer] {
        drainAnswers { now >= $0.deadline ?? .distantFuture }
    }

    /// The node is primary no more: the tickets that are to be unblocked with an error. Nobody is online.
    public mutating func fail() -> [UInt64] {
        let tickets = waits.map(\.ticket)
        let synced = localSynced
        self = Acknowledgements()
        localSynced = synced
        return tickets
    }

    /// Ends the waits that have what they want, and those that are over whatever they have.
    private mutating func drainAnswers(_ isOver: (Wait) -> Bool = { _ in false }) -> [Answer] {
        guard !waits.isEmpty else { return [] }
        var answers: [Answer] = []
        var rest: [Wait] = []
        for wait in waits {
            if let answer = answer(to: wait, isOver: isOver(wait)) { answers.append(answer) } else { rest.append(wait) }
        }
        waits = rest
        return answers
    }

    private func answer(to wait: Wait, isOver: Bool) -> Answer? {
        let count = count(of: wait.offset, synced: wait.demandsSync)
        let isLocal = localSynced >= wait.offset
        guard count >= wait.count && (isLocal || !wait.demandsLocal) || isOver else { return nil }
        return Answer(ticket: wait.ticket, count: count, isLocal: isLocal)
    }
}
