// How fast expired keys are looked for: a whole round a minute when there is nothing to find, faster while there is.

import LimiterEngine
import System

struct SweepPace {
    /// Seconds for a round through a table in which nothing expires.
    private static let roundSeconds = 60
    /// A tick that forgets at least one in this many keys it looks at goes on.
    private static let worthwhile = 10
    /// Most time one tick spends, as a share of the interval between ticks: a quarter.
    private static let shareOfInterval = 4

    private let engine: Engine
    private var sweeper: Sweeper

    init(engine: Engine) {
        self.engine = engine
        sweeper = Sweeper(engine: engine)
    }

    /// Does one tick's share of the walk, after giving back what FLUSHALL has left.
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
