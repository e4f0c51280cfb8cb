// The pace of the search for expired keys: one full round a minute when there is nothing to find, faster while there
// is.

import LimiterEngine
import System

struct SweepPace {
    /// Duration of a round through a table in which nothing expires.
    private static let roundSeconds = 60
    /// A tick continues if it drops at least one in this many of the keys it looks at.
    private static let worthwhile = 10
    /// Maximum share of the interval that one tick spends: a quarter.
    private static let shareOfInterval = 4

    private let engine: Engine
    private var sweeper: Sweeper

    init(engine: Engine) {
        self.engine = engine
        sweeper = Sweeper(engine: engine)
    }

    /// Does one tick's share of the round, after freeing what FLUSHALL left.
    mutating func tick(now: EngineTime, hz: Int) {
        let share = max(256, engine.bucketCount / (SweepPace.roundSeconds * hz))
        let deadline = SteadyInstant.now() + .seconds(1) / Int64(hz * SweepPace.shareOfInterval)
        while !engine.releaseRemains(steps: 4096) {
            if SteadyInstant.now() >= deadline { return }
        }
        var done = 0
        repeat {
            let progress = sweeper.step(buckets: 256, now: now)
            done += 256
            let isWorthwhile = progress.forgotten * SweepPace.worthwhile > progress.seen && progress.forgotten > 0
            if done >= share, !isWorthwhile, !engine.isOverMemoryLimit { return }
            if progress.finishedRound, !isWorthwhile { return }
        } while SteadyInstant.now() < deadline
    }
}
