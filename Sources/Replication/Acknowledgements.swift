// What each replica has acknowledged: WAIT, WAITAOF, and min-replicas-to-write.
//
//   WAIT n ──▶ waiting ── n online links have acknowledged the offset, or the timeout ──▶ answered with their number
//                 └────── the node stops being primary ──▶ unblocked with an error
//
// WAITAOF works the same with the offsets that replicas report as synced, and can also require this node's disk.
//
// Invariants: (1) A link counts from its first acknowledgement of a consistent state until it closes. (2) The count in
// an answer is the number of links that had acknowledged the offset when it was given. (3) Every wait is answered once.
//
// Owns: the table of links and waits. Blocks no thread.

package import System

/// Identifies a link during its lifetime; never reused.
package typealias LinkID = UInt64

/// What the replicas have acknowledged, and the waits for it.
package struct Acknowledgements: Sendable {
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

    /// The result of a wait.
    package struct Answer: Equatable, Sendable {
        /// The wait's ticket.
        package let ticket: UInt64
        /// How many replicas have acknowledged the offset.
        package let count: Int
        /// Whether this node has synced the offset.
        package let isLocal: Bool

        /// A result with these values.
        package init(ticket: UInt64, count: Int, isLocal: Bool = false) {
            self.ticket = ticket
            self.count = count
            self.isLocal = isLocal
        }
    }

    private var links: [LinkID: Link] = [:]
    private var waits: [Wait] = []
    /// Offset up to which the journal is synced on this node; -1 without a log.
    private var localSynced: Int64 = -1

    /// Without links and waits.
    package init() {}

    /// Waits that have not been answered.
    package var waiting: Int { waits.count }
    /// Number of links that count.
    package var online: Int { links.count }

    // MARK: Links

    /// An online link has acknowledged. Returns the waits that this completes.
    package mutating func acknowledged(
        _ link: LinkID, offset: Int64, synced: Int64, now: SteadyInstant
    ) -> [Answer] {
        let before = links[link]
        links[link] = Link(
            acknowledged: max(offset, before?.acknowledged ?? 0), synced: max(synced, before?.synced ?? -1), heard: now)
        guard before == nil || offset > before!.acknowledged || synced > before!.synced else { return [] }
        return drainAnswers()
    }

    /// The journal is synced on this node up to `offset`; -1 without a log, which ends all waits for this node's disk.
    /// Returns the waits that this completes.
    package mutating func synced(_ offset: Int64) -> [Answer] {
        guard offset != localSynced else { return [] }
        localSynced = offset
        return drainAnswers { $0.demandsLocal && offset < 0 }
    }

    /// Whether a wait depends on a disk.
    package var awaitsDisk: Bool { waits.contains { $0.demandsSync || $0.demandsLocal } }

    /// A link has closed.
    package mutating func removed(_ link: LinkID) { links[link] = nil }

    /// How many online replicas have the journal up to `offset`, in memory or synced. O(replicas).
    package func count(of offset: Int64, synced demandsSync: Bool = false) -> Int {
        links.values.reduce(0) { $0 + ((demandsSync ? $1.synced : $1.acknowledged) >= offset ? 1 : 0) }
    }

    /// How many online replicas have acknowledged within the last `lag`: `min_slaves_good_slaves`.
    package func good(lag: Nanoseconds, now: SteadyInstant) -> Int {
        Acknowledgements.good(heard: heard, lag: lag, now: now)
    }

    /// When each online replica last acknowledged. O(replicas).
    package var heard: [SteadyInstant] { links.values.map(\.heard) }

    /// How many of the replicas that last acknowledged at these times are good.
    package static func good(heard: [SteadyInstant], lag: Nanoseconds, now: SteadyInstant) -> Int {
        heard.count { now - $0 <= lag }
    }

    /// Whether writes are to be refused with NOREPLICAS.
    ///
    /// - Parameters:
    ///   - minimum: `min-replicas-to-write`; 0 never refuses.
    ///   - lag: `min-replicas-max-lag`; zero never refuses.
    package func refusesWrites(minimum: Int, lag: Nanoseconds, now: SteadyInstant) -> Bool {
        Acknowledgements.refusesWrites(heard: heard, minimum: minimum, lag: lag, now: now)
    }

    /// The same for replicas that last acknowledged at these times.
    package static func refusesWrites(
        heard: [SteadyInstant], minimum: Int, lag: Nanoseconds, now: SteadyInstant
    ) -> Bool {
        minimum > 0 && lag > .zero && good(heard: heard, lag: lag, now: now) < minimum
    }

    // MARK: Waits

    /// Waits until `count` replicas have the journal up to `offset`. Answered at once if they already do.
    ///
    /// - Parameters:
    ///   - ticket: Identifies the wait in the answer.
    ///   - deadline: When to answer regardless; nil for never.
    ///   - demandsSync: Synced, as WAITAOF requires.
    ///   - demandsLocal: Also synced on this node, as reported by `synced`.
    package mutating func wait(
        ticket: UInt64, offset: Int64, count: Int, deadline: SteadyInstant?, demandsSync: Bool = false,
        demandsLocal: Bool = false
    ) -> Answer? {
        let wait = Wait(
            ticket: ticket, offset: offset, count: count, deadline: deadline, demandsSync: demandsSync,
            demandsLocal: demandsLocal)
        // A new wait does not affect existing ones.
        let answer = answer(to: wait, isOver: demandsLocal && localSynced < 0)
        if answer == nil { waits.append(wait) }
        return answer
    }

    /// The clients of these waits have disconnected. O(waits).
    package mutating func cancel(_ tickets: Set<UInt64>) { waits.removeAll { tickets.contains($0.ticket) } }

    /// Time has passed. Returns the waits that have timed out.
    package mutating func tick(now: SteadyInstant) -> [Answer] {
        drainAnswers { now >= $0.deadline ?? .distantFuture }
    }

    /// The node is no longer primary: returns the tickets to unblock with an error, and removes all links.
    package mutating func fail() -> [UInt64] {
        let tickets = waits.map(\.ticket)
        let synced = localSynced
        self = Acknowledgements()
        localSynced = synced
        return tickets
    }

    /// Removes and returns the waits that are satisfied, and those that `isOver` selects.
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
