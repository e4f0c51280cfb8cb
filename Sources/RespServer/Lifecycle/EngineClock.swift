// The one place that reads clocks for the engine.
//
// Engine time, on a node that leads, is the wall clock at start, or the last time in the journal if that is later, plus
// the monotonic time since: a wall clock that is stepped while the server runs moves no limiter, and one that went back
// while it was down gives nothing back. On a replica it is what its primary's stream has said last, and stands still in
// between (StreamClock says why). The monotonic clock is CLOCK_BOOTTIME, which also counts while the machine sleeps.
//
// Clients know the wall clock. Instants that they name or are shown are converted where they come in and go out, by the
// difference between the two clocks of that moment (`skewForClients`); what is stored is engine time, and stays.
//
// Whatever is no decision about a limiter (time-outs, paces, durations) is measured by `steady`, which never stands
// still. All of it ends in the year 2262: engine time stops there, and no sum of times wraps.

import CLinux
import Glibc
import LimiterEngine
import Replication
import Synchronization

/// Engine time, steady time and the wall clock. Read from any thread. A read costs about 20 ns.
final class EngineClock: Sendable {
    /// Clocks nearer to each other than this are taken for the same: those of two machines may be so far apart,
    /// or those of a primary and its replica. A step of the wall clock is larger. In nanoseconds.
    static let skewTolerance: Int64 = 100_000_000
    /// Engine time minus steady time while it runs, in nanoseconds; on a replica, how it runs at the primary. `unknown`
    /// where nothing says so.
    private let offset: Atomic<Int64>
    private static let unknown = Int64.min
    /// Engine time while it stands still; -1 while it runs.
    private let standing = Atomic<Int64>(-1)
    /// The skew that clients' instants are converted by.
    private let clientSkew = Atomic<Int64>(0)

    init() {
        offset = Atomic(EngineClock.wall() - EngineClock.steady())
    }

    /// Engine time. Never less than an earlier answer to the same thread, but where a full sync has replaced the state,
    /// or the state on disk has taken the place of a full sync.
    func now() -> EngineTime {
        let still = standing.load(ordering: .relaxed)
        if still >= 0 { return EngineTime(nanoseconds: still) }
        return EngineClock.running(offset.load(ordering: .relaxed), at: EngineClock.steady())
    }

    private static func running(_ offset: Int64, at steady: Int64) -> EngineTime {
        max(EngineTime(nanoseconds: steady).advanced(by: offset), EngineTime(nanoseconds: 0))
    }

    /// Has engine time go on from `instant`, if it is not there yet.
    func advance(to instant: EngineTime) {
        _ = offset.max(instant.nanoseconds &- EngineClock.steady(), ordering: .relaxed)
    }

    /// Has engine time be what this clock says.
    func show(_ clock: StreamClock) {
        let steady = EngineClock.steady()
        let now = clock.now(steady).nanoseconds
        if clock.isFollowing {
            offset.store(clock.runningOffset ?? EngineClock.unknown, ordering: .relaxed)
            standing.store(now, ordering: .relaxed)
        } else {
            offset.store(now &- steady, ordering: .relaxed)
            standing.store(-1, ordering: .relaxed)
        }
    }

    /// Nanoseconds of a clock that only ever runs.
    static func steady() -> Int64 { nanoseconds(read(CLOCK_BOOTTIME)) }

    /// The wall clock in nanoseconds since 1970, between 0 and those of `EngineTime.latest`; never for decisions.
    static func wall() -> Int64 { max(0, nanoseconds(read(CLOCK_REALTIME))) }

    /// The wall clock in seconds since 1970 and nanoseconds, in every year; for people.
    static func wallClock() -> (seconds: Int64, nanoseconds: Int64) {
        let time = read(CLOCK_REALTIME)
        return (Int64(time.tv_sec), Int64(time.tv_nsec))
    }

    /// The wall clock in seconds since 1970; for people.
    static func unixSeconds() -> Int64 { Int64(read(CLOCK_REALTIME).tv_sec) }

    private static func read(_ clock: clockid_t) -> timespec {
        var time = timespec()
        clock_gettime(clock, &time)
        return time
    }

    static func nanoseconds(_ time: timespec) -> Int64 {
        let (seconds, overflows) = Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflows else { return time.tv_sec < 0 ? Int64.min : EngineTime.latest.nanoseconds }
        return EngineTime(nanoseconds: seconds).advanced(by: Int64(time.tv_nsec)).nanoseconds
    }

    // MARK: Skew

    /// How far engine time is ahead of the wall clock, in nanoseconds; negative when behind.
    func skew() -> Int64 { measureSkew().skew }

    /// The skew by which an instant that a client names becomes engine time, and the other way round. Changes when the
    /// clocks have moved against each other by more than `skewTolerance`, and only then, so that an instant set is
    /// the instant shown. Four clock reads: for commands that name or show instants.
    func skewForClients() -> Int64 {
        let (measured, error) = measureSkew()
        let known = clientSkew.load(ordering: .relaxed)
        let next = EngineClock.skewForClients(measured: measured, known: known, error: error)
        if next != known { clientSkew.store(next, ordering: .relaxed) }
        return next
    }

    /// What the skew for clients is where it was `known`, and `measured` with an error of no more than `error`. Whole
    /// milliseconds, so that a clock stepped there and back is where it was.
    static func skewForClients(measured: Int64, known: Int64, error: Int64) -> Int64 {
        let tolerance = skewTolerance + error
        let (difference, overflows) = measured.subtractingReportingOverflow(known)
        if !overflows, difference.magnitude <= UInt64(tolerance) { return known }
        if measured.magnitude <= UInt64(tolerance) { return 0 }
        let (whole, rest) = measured.quotientAndRemainder(dividingBy: 1_000_000)
        let (rounded, roundingOverflows) = (whole + rest / 500_000).multipliedReportingOverflow(by: 1_000_000)
        return roundingOverflows ? measured : rounded
    }

    /// The skew, and how wrong it may be: two clocks are not read at one moment. Tried again a few times where this
    /// thread was interrupted in between.
    private func measureSkew() -> (skew: Int64, error: Int64) {
        var best = (skew: Int64(0), error: Int64.max)
        for _ in 0..<8 {
            let before = EngineClock.steady()
            let wall = EngineClock.wall()
            let error = EngineClock.steady() - before
            guard error < best.error else { continue }
            best = (engineTime(at: before, wall: wall).subtracting(wall), error)
            if error < 100_000 { break }
        }
        return best
    }

    /// Engine time at a steady time; on a replica what it is at the primary, as far as anybody knows.
    private func engineTime(at steady: Int64, wall: Int64) -> Int64 {
        let offset = offset.load(ordering: .relaxed)
        // As if it began to lead.
        guard offset != EngineClock.unknown else { return max(standing.load(ordering: .relaxed), wall) }
        return EngineClock.running(offset, at: steady).nanoseconds
    }
}

extension Int64 {
    /// The difference to `other`, as near as 64 bits come to it.
    fileprivate func subtracting(_ other: Int64) -> Int64 {
        let (difference, overflows) = subtractingReportingOverflow(other)
        return overflows ? (self < other ? Int64.min : Int64.max) : difference
    }
}
