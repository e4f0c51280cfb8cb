// WAIT, WAITAOF and min-replicas-to-write.

import System
import TestSupport
import Testing

@testable import Replication

@Suite struct AcknowledgementsTests {
    private typealias Answer = Acknowledgements.Answer

    @Test func aWaitEndsWhenEnoughReplicasHaveAcknowledged() {
        var acknowledgements = Acknowledgements()
        #expect(acknowledgements.wait(ticket: 1, offset: 10, count: 0, deadline: nil) == Answer(ticket: 1, count: 0))
        #expect(acknowledgements.wait(ticket: 2, offset: 10, count: 1, deadline: nil) == nil)
        #expect(acknowledgements.wait(ticket: 3, offset: 20, count: 2, deadline: nil) == nil)
        #expect(acknowledgements.acknowledged(1, offset: 9, synced: -1, now: 0) == [])
        #expect(acknowledgements.acknowledged(1, offset: 10, synced: -1, now: 0) == [Answer(ticket: 2, count: 1)])
        #expect(acknowledgements.acknowledged(1, offset: 20, synced: -1, now: 0) == [])
        #expect(acknowledgements.acknowledged(2, offset: 25, synced: -1, now: 0) == [Answer(ticket: 3, count: 2)])
        #expect(acknowledgements.waiting == 0)
        #expect(acknowledgements.wait(ticket: 4, offset: 25, count: 1, deadline: nil) == Answer(ticket: 4, count: 1))
    }

    @Test func aWaitEndsAtItsTimeout() {
        var acknowledgements = Acknowledgements()
        _ = acknowledgements.acknowledged(1, offset: 10, synced: -1, now: 0)
        _ = acknowledgements.wait(ticket: 1, offset: 10, count: 2, deadline: 100)
        _ = acknowledgements.wait(ticket: 2, offset: 11, count: 2, deadline: nil)
        #expect(acknowledgements.tick(now: 99) == [])
        #expect(acknowledgements.tick(now: 100) == [Answer(ticket: 1, count: 1)])
        #expect(acknowledgements.tick(now: .distantFuture - 1) == [])
        #expect(acknowledgements.waiting == 1)
        _ = acknowledgements.wait(ticket: 3, offset: 11, count: 2, deadline: nil, demandsSync: true)
        #expect(acknowledgements.awaitsDisk)
        acknowledgements.cancel([3, 4])
        #expect(acknowledgements.waiting == 1 && !acknowledgements.awaitsDisk)
        acknowledgements.cancel([2])
        #expect(acknowledgements.waiting == 0)
        #expect(acknowledgements.acknowledged(2, offset: 11, synced: 11, now: 0) == [])
    }

    @Test func aClosedLinkIsNotCounted() {
        var acknowledgements = Acknowledgements()
        _ = acknowledgements.acknowledged(1, offset: 10, synced: 5, now: 0)
        acknowledgements.removed(1)
        #expect(acknowledgements.count(of: 0) == 0 && acknowledgements.online == 0)
        #expect(acknowledgements.wait(ticket: 1, offset: 10, count: 1, deadline: nil) == nil)
    }

    @Test func syncedOffsetsAreTrackedSeparately() {
        var acknowledgements = Acknowledgements()
        #expect(acknowledgements.wait(ticket: 1, offset: 10, count: 1, deadline: nil, demandsSync: true) == nil)
        #expect(acknowledgements.acknowledged(1, offset: 10, synced: 9, now: 0) == [])
        #expect(acknowledgements.count(of: 10) == 1 && acknowledgements.count(of: 10, synced: true) == 0)
        #expect(acknowledgements.acknowledged(1, offset: 10, synced: 10, now: 0) == [Answer(ticket: 1, count: 1)])
        // An acknowledgement never moves back.
        #expect(acknowledgements.acknowledged(1, offset: 3, synced: -1, now: 0) == [])
        #expect(acknowledgements.count(of: 10) == 1 && acknowledgements.count(of: 10, synced: true) == 1)
    }

    @Test func waitaofCountsTheLocalDisk() {
        var acknowledgements = Acknowledgements()
        #expect(acknowledgements.synced(5) == [])
        #expect(
            acknowledgements.wait(ticket: 1, offset: 5, count: 0, deadline: nil, demandsLocal: true)
                == Answer(ticket: 1, count: 0, isLocal: true))
        #expect(acknowledgements.wait(ticket: 2, offset: 6, count: 0, deadline: nil, demandsLocal: true) == nil)
        #expect(
            acknowledgements.wait(ticket: 3, offset: 7, count: 1, deadline: nil, demandsSync: true, demandsLocal: true)
                == nil)
        #expect(acknowledgements.awaitsDisk)
        #expect(acknowledgements.synced(6) == [Answer(ticket: 2, count: 0, isLocal: true)])
        #expect(acknowledgements.acknowledged(1, offset: 7, synced: 7, now: 0) == [])
        #expect(acknowledgements.synced(7) == [Answer(ticket: 3, count: 1, isLocal: true)])
        #expect(!acknowledgements.awaitsDisk)
        // Not requested, but reported in the answer.
        #expect(
            acknowledgements.wait(ticket: 4, offset: 7, count: 1, deadline: nil, demandsSync: true)
                == Answer(ticket: 4, count: 1, isLocal: true))
    }

    @Test func waitaofWithoutALogIsAnsweredAtOnce() {
        var acknowledgements = Acknowledgements()
        #expect(
            acknowledgements.wait(ticket: 1, offset: 5, count: 0, deadline: nil, demandsLocal: true)
                == Answer(ticket: 1, count: 0))
        _ = acknowledgements.synced(4)
        #expect(acknowledgements.wait(ticket: 2, offset: 5, count: 0, deadline: nil, demandsLocal: true) == nil)
        #expect(acknowledgements.synced(-1) == [Answer(ticket: 2, count: 0)])
        #expect(acknowledgements.waiting == 0)
    }

    @Test func writesAreRefusedWithoutGoodReplicas() {
        var acknowledgements = Acknowledgements()
        #expect(!acknowledgements.refusesWrites(minimum: 0, lag: 10, now: 0))
        #expect(!acknowledgements.refusesWrites(minimum: 1, lag: 0, now: 0))
        #expect(acknowledgements.refusesWrites(minimum: 1, lag: 10, now: 0))
        _ = acknowledgements.acknowledged(1, offset: 0, synced: -1, now: 100)
        _ = acknowledgements.acknowledged(2, offset: 0, synced: -1, now: 105)
        #expect(acknowledgements.good(lag: 10, now: 110) == 2 && acknowledgements.good(lag: 10, now: 111) == 1)
        #expect(!acknowledgements.refusesWrites(minimum: 1, lag: 10, now: 115))
        #expect(acknowledgements.refusesWrites(minimum: 1, lag: 10, now: 116))
    }

    @Test func aDemotedPrimaryUnblocksEveryWait() {
        var acknowledgements = Acknowledgements()
        _ = acknowledgements.acknowledged(1, offset: 10, synced: 5, now: 0)
        _ = acknowledgements.wait(ticket: 7, offset: 11, count: 1, deadline: 5)
        _ = acknowledgements.wait(ticket: 8, offset: 11, count: 1, deadline: 5)
        #expect(acknowledgements.fail() == [7, 8])
        #expect(acknowledgements.tick(now: 5) == [])
        #expect(acknowledgements.online == 0)
    }
}
