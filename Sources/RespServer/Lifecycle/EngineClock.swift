// The one place that reads clocks for the engine.
//
// Engine time is the wall clock at start plus the monotonic time since: a wall clock that is stepped while the server
// runs moves no limiter. The monotonic clock is CLOCK_BOOTTIME, which also counts while the machine sleeps.

import CLinux
import Glibc
import LimiterEngine

/// Engine time and the wall clock. Immutable; read from any thread. A read costs about 20 ns.
struct EngineClock: Sendable {
    /// Wall clock minus monotonic clock when the server started, in nanoseconds.
    private let offset: Int64

    init() {
        offset = EngineClock.read(CLOCK_REALTIME) - EngineClock.read(CLOCK_BOOTTIME)
    }

    /// Engine time. Never less than an earlier answer to the same thread.
    func now() -> EngineTime { EngineTime(nanoseconds: EngineClock.read(CLOCK_BOOTTIME) &+ offset) }

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
