// Engine time: how it follows from the steady clock and the wall clock.
//
// Engine time, on a node that leads, is the wall clock at start, or the last time in the journal if that is later, plus
// the monotonic time since: a wall clock that is stepped while the server runs moves no limiter, and one that went back
// while it was down gives nothing back. On a replica it is what its primary's stream has said last, and stands still in
// between (StreamClock says why). The monotonic clock is CLOCK_BOOTTIME, which also counts while the machine sleeps.
//
// Clients know the wall clock. Instants that they name or are shown are converted where they come in and go out, by the
// difference between the two clocks of that moment (`skewForClients`); what is stored is engine time, and stays.
//
// Whatever is not a decision about a limiter (time-outs, paces, durations) is measured by `SteadyInstant`, which never
// stands still. All of it ends in the year 2262: engine time stops there, and no sum of times wraps.

import LimiterEngine
import Replication
import Synchronization
import System

/// Engine time. Read from any thread. A read costs about 20 ns.
final class EngineClock: Sendable {
    /// Clocks nearer to each other than this are taken for the same: those of two machines may be so far apart,
    /// or those of a primary and its replica. A step of the wall clock is larger.
    static let skewTolerance = Nanoseconds.milliseconds(100)
    /// Engine time minus steady time while it runs; on a replica, how it runs at the primary. `unknown` where nothing
    /// says so. The number of nanoseconds, since `advance` needs its atomic maximum.
    private let offset: Atomic<Int64>
    private static let unknown = Int64.min
    /// Engine time while it stands still, as `EngineTime` counts; -1 while it runs.
    private let standing = Atomic<Int64>(-1)
    /// The skew that clients' instants are converted by.
    private let clientSkew = Atomic<Nanoseconds>(.zero)

    init() {
        offset = Atomic(EngineTime(WallInstant.now()).offset(from: .now()).nanoseconds)
    }

    /// Engine time. Never less than an earlier answer to the same thread, but where a full sync has replaced the state,
    /// or the state on disk has taken the place of a full sync.
    func now() -> EngineTime {
        let still = standing.load(ordering: .relaxed)
        if still >= 0 { return EngineTime(nanoseconds: still) }
        return EngineTime(at: .now(), offset: Nanoseconds(offset.load(ordering: .relaxed)))
    }

    /// Has engine time go on from `instant`, if it is not there yet.
    func advance(to instant: EngineTime) {
        _ = offset.max(instant.offset(from: .now()).nanoseconds, ordering: .relaxed)
    }

    /// Has engine time be what this clock says.
    func show(_ clock: StreamClock) {
        let steady = SteadyInstant.now()
        let now = clock.now(steady)
        if clock.isFollowing {
            offset.store(clock.runningOffset?.nanoseconds ?? EngineClock.unknown, ordering: .relaxed)
            standing.store(now.nanoseconds, ordering: .relaxed)
        } else {
            offset.store(now.offset(from: steady).nanoseconds, ordering: .relaxed)
            standing.store(-1, ordering: .relaxed)
        }
    }

    // MARK: Skew

    /// How far engine time is ahead of the wall clock; negative when behind.
    func skew() -> Nanoseconds { measureSkew().skew }

    /// The skew by which an instant that a client names becomes engine time, and the other way round. Changes when the
    /// clocks have moved against each other by more than `skewTolerance`, and only then, so that an instant set is
    /// the instant shown. Four clock reads: for commands that name or show instants.
    func skewForClients() -> Nanoseconds {
        let (measured, error) = measureSkew()
        let known = clientSkew.load(ordering: .relaxed)
        let next = EngineClock.skewForClients(measured: measured, known: known, error: error)
        if next != known { clientSkew.store(next, ordering: .relaxed) }
        return next
    }

    /// What the skew for clients is where it was `known`, and `measured` with an error of no more than `error`. Whole
    /// milliseconds, so that a clock stepped there and back is where it was.
    static func skewForClients(measured: Nanoseconds, known: Nanoseconds, error: Nanoseconds) -> Nanoseconds {
        let tolerance = skewTolerance + error
        if (measured - known).magnitude <= tolerance { return known }
        if measured.magnitude <= tolerance { return .zero }
        let (whole, rest) = measured.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000)
        return .milliseconds(exactly: whole + rest / 500_000) ?? measured
    }

    /// The skew, and how wrong it may be: two clocks are not read at one moment. Tried again a few times where this
    /// thread was interrupted in between.
    private func measureSkew() -> (skew: Nanoseconds, error: Nanoseconds) {
        var best = (skew: Nanoseconds.zero, error: Nanoseconds.forever)
        for _ in 0..<8 {
            let before = SteadyInstant.now()
            let wall = WallInstant.now()
            let error = SteadyInstant.now() - before
            guard error < best.error else { continue }
            best = (engineTime(at: before, wall: wall).skew(from: wall), error)
            if error < .microseconds(100) { break }
        }
        return best
    }

    /// Engine time at a steady time; on a replica what it is at the primary, as far as anybody knows.
    private func engineTime(at steady: SteadyInstant, wall: WallInstant) -> EngineTime {
        let offset = offset.load(ordering: .relaxed)
        guard offset != EngineClock.unknown else {
            // As if it began to lead.
            return max(EngineTime(nanoseconds: standing.load(ordering: .relaxed)), EngineTime(wall))
        }
        return EngineTime(at: steady, offset: Nanoseconds(offset))
    }
}
