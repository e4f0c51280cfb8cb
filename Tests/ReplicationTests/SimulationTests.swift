// Random lives. ESCAPEMENT_SEED runs one life again, ESCAPEMENT_SEEDS says how many there are to be. The first hundred
// are the same each time; with ESCAPEMENT_FIXED_SEEDS all are, as in `make test`: a new life that fails has found a
// fault, but one that was there before, and not what is being tested.

import Glibc
import System
import TestSupport
import Testing

@testable import Replication

@Suite struct SimulationTests {
    /// Lives in which something was wrong once, and what it was. Nodes have more to draw since they run the driver of
    /// the server, so those seeds give other lives than they did; each is still one more that is the same every time.
    private static let regressions: [(seed: UInt64, what: String)] = [
        (3_450_477_663, "an end behind a failed write: policies of the snapshot were newer than the log"),
        (3_817_296_818, "the same with keys, which replicas then did not have"),
        (2_034_832_567, "the same, found when the files were read again"),
        (2_337_634_803, "the same, of a node that had failed before"),
        (2_851_561_553, "a log switched off, on and off again had a gap in its middle"),
        (4_156_707_520, "a log switched off: its last changes went with the journaling"),
        (1_361_411_423, "the log switched off in a full sync: the new state was saved under the old one's name"),
        (2_312_376_769, "a manifest without files kept its name when the first history began"),
        (3_366_112_636, "a node promoted within a snapshot went on saying its own time of before"),
        (1_664_773_025, "files from before changes that no journal has, under the name that those have too"),
        (1_696_353_736, "a start at the beginning of the history before, where keys had been forgotten by a clock"),
        (3_454_484_959, "a primary that went back to the history it came from had answered under the new name"),
        (2_566_512_088, "the same"),
        (2_938_213_217, "WAITAOF counted a node whose snapshot has all, under a name of its own"),
        (2_011_099_764, "the same, without a save by a client"),
        (807_772_219, "WAIT counted a node that was promoted and taken back without a key"),
        (3_290_121_911, "a node promoted at a place of the history before, whose primary's clock it has"),
        (2_157_465_438, "files from before changes that no journal has, which a history began with"),
        (1_995_083_516, "a primary without a journal that became a replica, and then began a log"),
        (976_189_105, "an end before the journal thread had begun the files of a new history"),
        (3_050_179_055, "a node without a log began one when its disk had not taken its new name"),
        (1_193_291_586, "the same, and the name was that of a state of before"),
        (611_690_502, "promoted inside a full sync, and the wall clock stepped back before it led"),
        (1_004_555_351, "promoted inside a full sync, with files from before the last one, by the clock of that one"),
    ]

    /// With turns that are waited for by their locks, and commands that are admitted once, a transaction that had lent
    /// its turn writes on a node that has handed over. Either rule alone prevents that.
    @Test func aWriteAfterAHandoverIsFound() {
        let rules = SimulatedLoops.Rules(waitsForNumbers: false, admitsAgain: false)
        withKnownIssue { SimulationTests.findFailure(among: 100) { Simulation(seed: $0, loopRules: rules) } }
    }

    /// Were settings to take effect inside of the EXEC that changes them, one with CONFIG SET appendonly would wait for
    /// its own stripes.
    @Test func aTransactionThatHangsIsFound() {
        let rules = SimulatedLoops.Rules(settingsFollowTheRelease: false)
        withKnownIssue { SimulationTests.findFailure(among: 100) { Simulation(seed: $0, loopRules: rules) } }
    }

    /// Runs lives until one fails.
    private static func findFailure(among lives: UInt64, _ make: (UInt64) -> Simulation) {
        for seed in 0..<lives {
            let life = make(seed)
            _ = life.run()
            guard life.failures == 0 else { return print("found by seed \(seed)") }
        }
    }

    @Test func whatWasWrongOnceIsRight() {
        for life in SimulationTests.regressions { _ = Simulation(seed: life.seed).run() }
    }

    /// The same lives each time, then new ones.
    @Test func nodesKeepTheirPromises() {
        var sum = Simulation.Coverage()
        if let seed = environmentNumber("ESCAPEMENT_SEED") {
            print(Simulation(seed: seed, explains: true).run())
            return
        }
        let begin = SteadyInstant.now()
        let lives = environmentNumber("ESCAPEMENT_SEEDS") ?? 240
        let fixed = seedsAreFixed ? lives : min(lives, SimulationTests.firstLives)
        for seed in 0..<fixed { sum = sum + Simulation(seed: seed).run() }
        if fixed >= SimulationTests.firstLives { SimulationTests.check(sum, lives: Int(fixed)) }
        var new = SystemRandomNumberGenerator()
        for _ in fixed..<lives {
            sum = sum + Simulation(seed: UInt64(UInt32.random(in: 1000...UInt32.max, using: &new))).run()
        }
        #expect(sum.converged == lives)
        print("\(lives) lives in \((SteadyInstant.now() - begin).millisecondsRoundedDown) ms: \(sum)")
    }

    /// Lives that are the same each time. Fewer need not meet everything.
    private static let firstLives: UInt64 = 100

    /// A simulation in which nothing happens finds nothing. Asked of lives that are the same each time, so that no draw
    /// decides about it.
    private static func check(_ sum: Simulation.Coverage, lives: Int) {
        #expect(sum.fullSyncs > lives && sum.partialSyncs > lives && sum.checkedFiles > lives)
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
        // A window lasts longer than a life, so a key has few changes of it.
        #expect(sum.calendarRecords > few, "\(sum.calendarRecords)")
        #expect(sum.policyRecords > few && sum.ruleRecords > few)
        #expect(sum.policyRemovals > few / 10 && sum.ruleRemovals > few / 10)
        #expect(sum.faults > few && sum.failures > few && sum.repairs > few && sum.followedInMemory > few)
        #expect(sum.snapshots > few && sum.slowSyncs > few && sum.switches > few && sum.lateJournals > few / 2)
        #expect(sum.grownLogs > few && sum.gatherings > few / 10 && sum.droppedBacklogs > few / 10)
        #expect(sum.longTurns > few && sum.lentTurns > few && sum.awaitedTurns > 0)
        #expect(sum.refusedTransactions > few / 10 && sum.unsavedRoles > few && sum.localWaits > 0)
        #expect(sum.checkedAnswers > few / 10 && sum.namelessStarts > few / 10)
        #expect(sum.restores > few / 10 && sum.failedRestores > 0 && sum.stoppedRestores > 0)
    }
}
