// Engine time: how it is derived from the steady clock and the wall clock.
//
// On a primary, engine time is the wall clock at start, or the last time in the journal if that is later, plus the
// monotonic time since. So stepping the wall clock while the server runs affects no limiter, and a wall clock that went
// back while it was down replenishes nothing early. On a replica, engine time is the last time its primary's stream
// specified, and is stopped in between (StreamClock explains why). The monotonic clock is CLOCK_BOOTTIME, which also
// advances while the machine sleeps.
//
// Clients use the wall clock. Instants that they specify or are shown are converted at the boundary, by the current
// difference between the two clocks (`skewForClients`); stored instants are engine time and never change.
//
// Everything that is not a decision about a limiter (time-outs, paces, durations) is measured by `SteadyInstant`, which
// never stops. All clocks end in the year 2262: engine time stops there, and no sum of times wraps.

import LimiterEngine
import Replication
import Synchronization
import System

/// Engine time. Safe to read from any thread. A read costs about 20 ns.
final class EngineClock: Sendable {
    /// Clocks closer together than this are treated as equal: the clocks of two machines, such as a primary and its
    /// replica, may differ by as much. A step of the wall clock is larger.
    static let skewTolerance = Nanoseconds.milliseconds(100)
    /// Engine time minus steady time while it runs; on a replica, the offset at the primary. `unknown` if the stream
    /// has not specified it. A raw number of nanoseconds, since `advance` needs its atomic maximum.
    private let offset: Atomic<Int64>
    private static let unknown = Int64.min
    /// Engine time while it is stopped, in the units of `EngineTime`; -1 while it runs.
    private let stoppedAt = Atomic<Int64>(-1)
    /// The skew used to convert clients' instants.
    private let clientSkew = Atomic<Nanoseconds>(.zero)

    init() {
        // Read together: an interruption between two reads would separate the clocks for the life of the process.
        let clocks = EngineClock.readBothClocks()
        offset = Atomic(EngineTime(clocks.wall).offset(from: clocks.steady).nanoseconds)
    }

    /// Engine time. Never earlier than a previous result on the same thread, except after a full sync has replaced the
    /// state, or the state on disk has replaced that of a full sync.
    func now() -> EngineTime {
        // Acquire pairs with the release in `show`: a thread that sees time running also sees its offset.
        let still = stoppedAt.load(ordering: .acquiring)
        if still >= 0 { return EngineTime(nanoseconds: still) }
        return EngineTime(at: .now(), offset: Nanoseconds(offset.load(ordering: .relaxed)))
    }

    /// Engine time at this steady time, which has just been read; while engine time runs.
    func now(at steady: SteadyInstant) -> EngineTime {
        assert(stoppedAt.load(ordering: .relaxed) < 0, "engine time is stopped")
        return EngineTime(at: steady, offset: Nanoseconds(offset.load(ordering: .relaxed)))
    }

    /// Advances engine time to `instant`, unless it is already later.
    func advance(to instant: EngineTime) {
        _ = offset.max(instant.offset(from: .now()).nanoseconds, ordering: .relaxed)
    }

    /// Sets engine time to that of this clock.
    func show(_ clock: StreamClock) {
        let steady = SteadyInstant.now()
        let now = clock.now(steady)
        if clock.isFollowing {
            offset.store(clock.runningOffset?.nanoseconds ?? EngineClock.unknown, ordering: .relaxed)
            stoppedAt.store(now.nanoseconds, ordering: .relaxed)
        } else {
            offset.store(now.offset(from: steady).nanoseconds, ordering: .relaxed)
            stoppedAt.store(-1, ordering: .releasing)
        }
    }

    // MARK: Skew

    /// How far engine time is ahead of the wall clock; negative when behind.
    func skew() -> Nanoseconds { measureSkew().skew }

    /// The skew used to convert an instant that a client specifies to engine time, and back. Changes only when the
    /// clocks have moved relative to each other by more than `skewTolerance`, so that an instant that was set is the
    /// instant shown. Takes four clock reads: for commands that accept or show instants.
    func skewForClients() -> Nanoseconds {
        let (measured, error) = measureSkew()
        let known = clientSkew.load(ordering: .relaxed)
        let next = EngineClock.skewForClients(measured: measured, known: known, error: error)
        if next != known { clientSkew.store(next, ordering: .relaxed) }
        return next
    }

    /// The next skew for clients after `known`, given `measured` with an error of at most `error`. In whole
    /// milliseconds, so that a clock stepped there and back returns to the same skew.
    static func skewForClients(measured: Nanoseconds, known: Nanoseconds, error: Nanoseconds) -> Nanoseconds {
        let tolerance = skewTolerance + error
        if (measured - known).magnitude <= tolerance { return known }
        if measured.magnitude <= tolerance { return .zero }
        let (whole, rest) = measured.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000)
        return .milliseconds(exactly: whole + rest / 500_000) ?? measured
    }

    /// The skew, and its maximum error.
    private func measureSkew() -> (skew: Nanoseconds, error: Nanoseconds) {
        let (steady, wall, error) = EngineClock.readBothClocks()
        return (engineTime(at: steady, wall: wall).skew(from: wall), error)
    }

    /// Both clocks, and the maximum error: they cannot be read at the same moment. Retries a few times if this thread
    /// was interrupted between the reads.
    static func readBothClocks() -> (steady: SteadyInstant, wall: WallInstant, error: Nanoseconds) {
        var best = (steady: SteadyInstant.now(), wall: WallInstant.now(), error: Nanoseconds.forever)
        for _ in 0..<8 {
            let before = SteadyInstant.now()
            let wall = WallInstant.now()
            let error = SteadyInstant.now() - before
            guard error < best.error else { continue }
            best = (before, wall, error)
            if error < .microseconds(100) { break }
        }
        return best
    }

    /// Engine time at a steady time; on a replica, the best estimate of the primary's.
    private func engineTime(at steady: SteadyInstant, wall: WallInstant) -> EngineTime {
        let offset = offset.load(ordering: .relaxed)
        guard offset != EngineClock.unknown else {
            // What it would be if this node became the primary now.
            return max(EngineTime(nanoseconds: stoppedAt.load(ordering: .relaxed)), EngineTime(wall))
        }
        return EngineTime(at: steady, offset: Nanoseconds(offset))
    }
}
