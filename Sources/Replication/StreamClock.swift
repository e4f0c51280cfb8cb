// Engine time on a node that may be a replica: while it follows, what the stream says; when it leads, its own.
//
//              follow                                          lead
//   leading ───────────▶ following: the last time said ─────────────▶ leading
//   runs with the        stands still between batches               from the primary's clock as last heard,
//   steady clock                                                    and the steady time since
//
// Invariants:
// (1) It is never behind a time that the stream has said: a promoted node decides no call earlier than its primary.
// (2) Promoted, it is not ahead of the primary's own clock: what a batch says was true when it was made, and hearing of
//     it takes time. So a promoted node gives back no quota because its own clock is ahead; it is behind by the delay
//     of the link. Steady clocks are taken to run at one speed.
// (3) A replica forgets keys only by times that the stream has said, so all its state follows from its position, and it
//     may continue with anybody who has that position. That is why the clock stands still between batches.
// (4) A process that starts as a replica begins at the last time of its journal, not at its wall clock: what it took
//     for worthless by that could still be in force where its primary is. So it also recovers by this time.
// (5) A primary forgets keys by its own clock, which may be ahead of what its journal says. When it becomes a replica,
//     that instant is the horizon which the new primary's stream has to reach before the link is up (UpstreamLink).
// (6) Until a full sync has made the state whole and that is on disk, the state on disk is an older one, and so is the
//     clock that it was made by. A node promoted inside a full sync goes back to both: whatever the clock of a later
//     primary says, the limiters on disk get nothing back by it.
//
// The design's first idea, max(own clock, stream), lacks (2): a replica whose clock is an hour ahead would, promoted,
// find every limiter full again.

public import LimiterEngine
public import System

/// Engine time, led by a steady clock or by the stream.
public struct StreamClock: Equatable, Sendable {
    /// Engine time minus steady time: ours, or the primary's as far as we have heard.
    private var offset: Nanoseconds
    /// The last time said; means nothing while leading.
    private var said: EngineTime
    /// Whether it stands at what the stream says.
    public private(set) var isFollowing: Bool
    /// Whether `offset` is something that a stream or this process's own time as a primary vouches for.
    public private(set) var knowsTime: Bool
    private var isEstimateOld = true

    /// What was known of time when the state on disk was the one in memory.
    private struct Earlier: Equatable {
        var offset: Nanoseconds
        var said: EngineTime
        var knowsTime: Bool
    }

    private var earlier: Earlier?
    /// A full sync has begun that has not made the state whole yet.
    private var isReplacing = false

    /// The clock of a process that starts as a primary, at `time`: the later of the wall clock and the journal's last.
    public init(leadingFrom time: EngineTime, steady: SteadyInstant) {
        offset = time.offset(from: steady)
        said = time
        isFollowing = false
        knowsTime = true
    }

    /// The clock of a process that starts as a replica, with the last time of its journal.
    public init(followingFrom time: EngineTime) {
        offset = .zero
        said = time
        isFollowing = true
        knowsTime = false
    }

    /// Engine time at steady time `steady`.
    public func now(_ steady: SteadyInstant) -> EngineTime {
        isFollowing ? said : EngineTime(at: steady, offset: offset)
    }

    /// Engine time minus steady time, as it runs or, on a node that follows, as far as its stream says how it runs
    /// there; nil where nothing has said so since the process began.
    public var runningOffset: Nanoseconds? { knowsTime ? offset : nil }

    /// Begins to follow a stream, from here or another one than before.
    public mutating func follow(_ steady: SteadyInstant) {
        said = now(steady)
        isFollowing = true
        isEstimateOld = true
    }

    /// A full sync replaces the state by one of this time, which may be earlier than what was seen before.
    ///
    /// - Parameter filesAreCurrent: What is on disk is of the state that was in memory, and not of one that an earlier
    ///   full sync has replaced there.
    public mutating func replaced(at time: EngineTime, _ steady: SteadyInstant, filesAreCurrent: Bool) {
        if !isReplacing, filesAreCurrent || earlier == nil {
            earlier = Earlier(offset: offset, said: said, knowsTime: knowsTime)
        }
        isReplacing = true
        said = time
        isEstimateOld = true
        heard(time, at: steady)
    }

    /// The state of the full sync is whole.
    public mutating func becameWhole() { isReplacing = false }

    /// The state on disk, which is of before a full sync, takes the place of what has come of that.
    public mutating func goBack() {
        guard isReplacing, let known = earlier else { return }
        (offset, said, knowsTime, isReplacing) = (known.offset, known.said, known.knowsTime, false)
        isEstimateOld = true
    }

    /// A recovery has found this time in the files.
    public mutating func recovered(_ last: EngineTime) { said = max(said, last) }

    /// The stream, received at steady time `steady`, says that it was `time`.
    public mutating func heard(_ time: EngineTime, at steady: SteadyInstant) {
        said = max(said, time)
        let estimate = time.offset(from: steady)
        offset = isEstimateOld ? estimate : max(offset, estimate)
        isEstimateOld = false
        knowsTime = true
    }

    /// The node becomes a primary: time goes on. Where nothing vouches for a time since the process began, only the
    /// wall clock can say how long it was down, as at any start.
    public mutating func lead(wall: WallInstant, at steady: SteadyInstant) {
        guard isFollowing else { return }
        if !knowsTime { offset = EngineTime(wall).offset(from: steady) }
        offset = max(offset, said.offset(from: steady))
        isFollowing = false
        knowsTime = true
    }
}

/// When a primary adds a batch without records: so that links do not time out, replicas' clocks go on, and whoever
/// waits for acknowledgements gets them at once, since a replica acknowledges an empty batch when it comes.
public struct KeepAlive: Sendable {
    /// How long without a batch until one is due: replicas' clocks are behind by no more, and links silent for no
    /// longer.
    public var interval: Nanoseconds
    /// How often replicas are asked for acknowledgements however many batches go out: where those that they send on
    /// their own, one a second, are too few. Nil where they are not.
    public var askInterval: Nanoseconds?
    private var lastAsked = SteadyInstant.boot
    private var end: Int64 = -1
    private var last = SteadyInstant.boot
    private var isWanted = false
    /// No batch may come between the moment at which a failover stops writes and its end.
    public var isSuspended = false

    /// One that is due when nothing was added for `interval`.
    public init(interval: Nanoseconds) { self.interval = interval }

    /// Somebody waits for acknowledgements, or a link has begun: the next batch is due now.
    public mutating func want() { isWanted = true }

    /// Whether to collect and call `Journal.recordTime` at steady time `now`.
    ///
    /// - Parameters:
    ///   - end: The journal's.
    ///   - hasLinks: Whether there is a link to a replica. Without one nothing is added: a primary that has lost its
    ///     replicas keeps an offset that it may later continue from.
    public mutating func isDue(end: Int64, hasLinks: Bool, now: SteadyInstant) -> Bool {
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
