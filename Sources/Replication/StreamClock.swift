// Engine time on a node that may be a replica: the stream's while it follows, its own while it leads.
//
//              follow                                          lead
//   leading ───────────▶ following: the stream's last time ─────────▶ leading
//   runs with the        stops between batches                      from the primary's clock as last heard,
//   steady clock                                                    plus the steady time since
//
// Invariants:
// (1) It is never earlier than a time from the stream: a promoted node decides no call earlier than its primary did.
// (2) After a promotion it is not ahead of the primary's clock: a batch's time was correct when it was created, and
//     transmission takes time. So a promoted node releases no quota because its own clock is ahead; it lags by the
//     delay of the link. Steady clocks are assumed to run at the same speed.
// (3) A replica expires keys only by times from the stream, so its state is a function of its position, and it can
//     continue with any node that has that position. Hence the clock stops between batches.
// (4) A process that starts as a replica begins at the last time in its journal, not at its wall clock: a state expired
//     by that clock could still be in force at its primary. So it also recovers by this time.
// (5) A primary expires keys by its own clock, which may be ahead of its journal. When it becomes a replica, that
//     instant is the horizon that the new primary's stream has to reach before the link is up (UpstreamLink).
// (6) Until a full sync has produced a consistent state and that is on disk, the disk holds an older state, made by an
//     older clock. A node promoted during a full sync returns to both: whatever a later primary's clock showed, the
//     limiters on disk are not replenished by it.
//
// The simpler max(own clock, stream) violates (2): a replica whose clock is an hour ahead would find every limiter
// replenished after its promotion.

package import LimiterEngine
package import System

/// Engine time, advanced by a steady clock or by the stream.
package struct StreamClock: Equatable, Sendable {
    /// Engine time minus steady time: this node's, or the primary's as far as it is known.
    private var offset: Nanoseconds
    /// The last time from the stream; meaningless while leading.
    private var lastHeard: EngineTime
    /// Whether time is stopped at the stream's last time.
    package private(set) var isFollowing: Bool
    /// Whether `offset` is confirmed by a stream or by this process's own time as a primary.
    package private(set) var knowsTime: Bool
    private var isEstimateOld = true

    /// What was known of time when the state on disk was the one in memory.
    private struct Earlier: Equatable {
        var offset: Nanoseconds
        var lastHeard: EngineTime
        var knowsTime: Bool
    }

    private var earlier: Earlier?
    /// A full sync has begun whose state is not consistent yet.
    private var isReplacing = false

    /// The clock of a process that starts as a primary at `time`: the later of the wall clock and the journal's last
    /// time.
    package init(leadingFrom time: EngineTime, steady: SteadyInstant) {
        offset = time.offset(from: steady)
        lastHeard = time
        isFollowing = false
        knowsTime = true
    }

    /// The clock of a process that starts as a replica, with the last time in its journal.
    package init(followingFrom time: EngineTime) {
        offset = .zero
        lastHeard = time
        isFollowing = true
        knowsTime = false
    }

    /// Engine time at steady time `steady`.
    package func now(_ steady: SteadyInstant) -> EngineTime {
        isFollowing ? lastHeard : EngineTime(at: steady, offset: offset)
    }

    /// Engine time minus steady time: this node's, or on a follower the primary's as far as the stream has shown; nil
    /// if unknown since the process began.
    package var runningOffset: Nanoseconds? { knowsTime ? offset : nil }

    /// Begins to follow a stream, possibly another one than before.
    package mutating func follow(_ steady: SteadyInstant) {
        lastHeard = now(steady)
        isFollowing = true
        isEstimateOld = true
    }

    /// A full sync replaces the state with one of this time, which may be earlier than times already seen.
    ///
    /// - Parameter filesAreCurrent: Whether the files hold the state that was in memory, and not one that an earlier
    ///   full sync had replaced there.
    package mutating func replaced(at time: EngineTime, _ steady: SteadyInstant, filesAreCurrent: Bool) {
        if !isReplacing, filesAreCurrent || earlier == nil {
            earlier = Earlier(offset: offset, lastHeard: lastHeard, knowsTime: knowsTime)
        }
        isReplacing = true
        lastHeard = time
        isEstimateOld = true
        heard(time, at: steady)
    }

    /// The state of the full sync is consistent.
    package mutating func becameWhole() { isReplacing = false }

    /// The state on disk, from before a full sync, replaces what the full sync had delivered.
    package mutating func goBack() {
        guard isReplacing, let known = earlier else { return }
        (offset, lastHeard, knowsTime, isReplacing) = (known.offset, known.lastHeard, known.knowsTime, false)
        isEstimateOld = true
    }

    /// A recovery has found this time in the files.
    package mutating func recovered(_ last: EngineTime) { lastHeard = max(lastHeard, last) }

    /// The stream reported the time `time`, received at steady time `steady`.
    package mutating func heard(_ time: EngineTime, at steady: SteadyInstant) {
        lastHeard = max(lastHeard, time)
        let estimate = time.offset(from: steady)
        offset = isEstimateOld ? estimate : max(offset, estimate)
        isEstimateOld = false
        knowsTime = true
    }

    /// The node becomes a primary: time runs. If no time has been confirmed since the process began, only the wall
    /// clock can tell how long it was down, as at any start.
    package mutating func lead(wall: WallInstant, at steady: SteadyInstant) {
        guard isFollowing else { return }
        if !knowsTime { offset = EngineTime(wall).offset(from: steady) }
        offset = max(offset, lastHeard.offset(from: steady))
        isFollowing = false
        knowsTime = true
    }
}

/// When a primary adds an empty batch: so that links do not time out, replicas' clocks advance, and waits for
/// acknowledgements end promptly, since a replica acknowledges an empty batch on receipt.
package struct KeepAlive: Sendable {
    /// An empty batch is due after this long without a batch: an upper bound on the lag of replicas' clocks and on a
    /// link's silence.
    package var interval: Nanoseconds
    /// How often to ask replicas for acknowledgements however many batches are sent, if the one a second that they send
    /// on their own is not enough; nil if it is.
    package var askInterval: Nanoseconds?
    private var lastAsked = SteadyInstant.boot
    private var end: Int64 = -1
    private var last = SteadyInstant.boot
    private var isWanted = false
    /// No batch may be added from the moment a failover pauses writes until its end.
    package var isSuspended = false

    /// A keep-alive due when nothing was added for `interval`.
    package init(interval: Nanoseconds) { self.interval = interval }

    /// A wait needs acknowledgements, or a link has begun: the next batch is due now.
    package mutating func want() { isWanted = true }

    /// Whether to collect and call `Journal.recordTime` at steady time `now`.
    ///
    /// - Parameters:
    ///   - end: The journal's end.
    ///   - hasLinks: Whether there is a link to a replica. Without one nothing is added: a primary that has lost its
    ///     replicas keeps an offset from which it may later continue.
    package mutating func isDue(end: Int64, hasLinks: Bool, now: SteadyInstant) -> Bool {
        if end != self.end {
            self.end = end
            last = now
        }
        let asks = askInterval.map { now - lastAsked >= $0 } ?? false
        guard hasLinks, !isSuspended, isWanted || asks || now - last >= interval else { return false }
        isWanted = false
        last = now
        lastAsked = now
        return true
    }
}
