// The one place that reads clocks for the engine.
//
// Engine time, on a node that leads, is the wall clock at start, or the last time in the journal if that is later, plus
// the monotonic time since: a wall clock that is stepped while the server runs moves no limiter, and one that went back
// while it was down gives nothing back. On a replica it is what its primary's stream has said last, and stands still in
// between (StreamClock says why). The monotonic clock is CLOCK_BOOTTIME, which also counts while the machine sleeps.
//
// Whatever is no decision about a limiter (time-outs, paces, durations) is measured by `steady`, which never stands
// still.

import CLinux
import Glibc
import LimiterEngine
import Replication
import Synchronization

/// Engine time, steady time and the wall clock. Read from any thread. A read costs about 20 ns.
final class EngineClock: Sendable {
    /// Engine time minus steady time while it runs, in nanoseconds.
    private let offset: Atomic<Int64>
    /// Engine time while it stands still; -1 while it runs.
    private let standing = Atomic<Int64>(-1)

    init() {
        offset = Atomic(EngineClock.read(CLOCK_REALTIME) - EngineClock.steady())
    }

    /// Engine time. Never less than an earlier answer to the same thread, but where a full sync has replaced the state.
    func now() -> EngineTime {
        let still = standing.load(ordering: .relaxed)
        if still >= 0 { return EngineTime(nanoseconds: still) }
        return EngineTime(nanoseconds: max(0, EngineClock.steady() &+ offset.load(ordering: .relaxed)))
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
            standing.store(now, ordering: .relaxed)
        } else {
            offset.store(now &- steady, ordering: .relaxed)
            standing.store(-1, ordering: .relaxed)
        }
    }

    /// Nanoseconds of a clock that only ever runs.
    static func steady() -> Int64 { read(CLOCK_BOOTTIME) }

    /// The wall clock in nanoseconds since 1970; for people, never for decisions.
    static func wall() -> Int64 { read(CLOCK_REALTIME) }

    /// How far engine time is ahead of the wall clock, in nanoseconds; negative when behind.
    func skew() -> Int64 { now().nanoseconds - EngineClock.wall() }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }
}
