// Random lives. ESCAPEMENT_SEED runs one life again, ESCAPEMENT_SEEDS says how many new ones there are to be.

import Glibc
import Testing

@testable import Replication

@Suite struct SimulationTests {
    private static func number(_ name: String) -> UInt64? {
        getenv(name).flatMap { UInt64(String(cString: $0)) }
    }

    private static func steady() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }

    /// The same lives each time, then new ones while there is time.
    @Test func nodesKeepTheirPromises() {
        var sum = Simulation.Coverage()
        if let seed = SimulationTests.number("ESCAPEMENT_SEED") {
            print(Simulation(seed: seed, explains: true).run())
            return
        }
        let fixed: UInt64 = 100
        let begin = SimulationTests.steady()
        let count = SimulationTests.number("ESCAPEMENT_SEEDS")
        var lives: UInt64 = 0
        var rest = SystemRandomNumberGenerator()
        while count.map({ lives < $0 }) ?? (SimulationTests.steady() - begin < (lives < fixed ? 14_000 : 6_000)) {
            let seed = lives < fixed ? lives : UInt64(UInt32.random(in: 1000...UInt32.max, using: &rest))
            sum = sum + Simulation(seed: seed).run()
            lives += 1
        }
        print("\(lives) lives in \(SimulationTests.steady() - begin) ms: \(sum)")
        SimulationTests.check(sum, lives: Int(lives))
    }

    /// A simulation in which nothing happens finds nothing.
    private static func check(_ sum: Simulation.Coverage, lives: Int) {
        #expect(sum.converged == lives)
        #expect(sum.fullSyncs > lives && sum.partialSyncs > lives)
        let few = lives / 4
        #expect(sum.promotions > few && sum.takeovers > few / 2 && sum.crashes > few && sum.kills > few)
        #expect(sum.waits > few && sum.syncedWaits > few && sum.cuts > few)
        #expect(sum.checkedStates > 100 * few && sum.checkedClocks > few && sum.checkedStarts > few)
        // Connections overtake each other, and clocks step while they are looked at.
        #expect(sum.reordered > 10 * few && sum.clockSteps > few)
        let states = [
            sum.gcraRecords, sum.counterRecords, sum.fixedWindowRecords, sum.slidingWindowRecords,
            sum.slidingLogRecords, sum.tokenRecords,
        ]
        #expect(states.allSatisfy { $0 > 20 * few }, "of some kind there were too few: \(states)")
        #expect(sum.policyRecords > few && sum.ruleRecords > few)
        #expect(sum.policyRemovals > few / 10 && sum.ruleRemovals > few / 10)
        #expect(sum.faults > few && sum.failures > few && sum.repairs > few && sum.followedInMemory > few)
        #expect(sum.snapshots > few && sum.slowSyncs > few && sum.switches > few && sum.lateJournals > few / 2)
        #expect(sum.checkedAnswers > few / 10 && sum.namelessStarts > few / 10)
    }
}
