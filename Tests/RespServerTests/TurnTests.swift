import Glibc
import LimiterEngine
import Synchronization
import System
import Testing

@testable import RespServer

/// Turns that release their lock: what waits for them to end, and what a command finds when all loops have stopped.
struct TurnTests {
    private static func server(loops: Int) throws -> Server {
        var settings = Settings()
        settings.ioThreads = loops
        return try Server(settings: CurrentSettings(settings), log: Log(level: .warning))
    }

    /// A thread that has lent its turn remains in the turn until its end, whichever thread holds the lock: a handover
    /// that waits for "every command that had begun" waits for this turn too.
    @Test func aLentTurnIsWaitedFor() throws {
        let server = try Self.server(loops: 2)
        let (other, lender) = (server.loops[0], server.loops[1])
        let order = Locked<[String]>([])
        let isLent = Doorbell()
        // The first lock that the lender acquires next, so the lender blocks here without any lock, its own included.
        other.turn.acquire()
        let ended = [
            Thread.start(name: "lender") {
                lender.beginTurn()
                isLent.ring()
                lender.stoppingAllLoops { order.withLock { $0.append("command") } }
                order.withLock { $0.append("end of turn") }
                lender.endTurn()
            },
            Thread.start(name: "waiter") {
                // The lender holds its own lock until it lends its turn.
                while isLent.count == 0 { isLent.wait(since: 0, atMost: .seconds(1)) }
                lender.waitForTurnInProgress()
                order.withLock { $0.append("waiter") }
            },
        ]
        // Waits until the turn is lent and the waiter either blocks on it or has wrongly passed it.
        while lender.turnEnded.waiters == 0, order.withLock({ $0.isEmpty }) { sched_yield() }
        other.turn.release()
        for thread in ended { pthread_join(thread, nil) }
        #expect(order.withLock { $0 } == ["command", "end of turn", "waiter"])
    }

    /// No wait between turns, nor for a turn that began after the call.
    @Test func withoutATurnInProgressNothingWaits() throws {
        let server = try Self.server(loops: 1)
        server.waitForTurnsInProgress()
        let loop = server.loops[0]
        loop.beginTurn()
        loop.endTurn()
        server.waitForTurnsInProgress()
        #expect(loop.currentTurn == 0 && loop.lastTurn == 1)
    }

    @Test func allLoopsAreStoppedAndResumed() throws {
        let server = try Self.server(loops: 3)
        let loop = server.loops[1]
        loop.beginTurn()
        loop.stoppingAllLoops { #expect(loop.hasStoppedAllLoops) }
        #expect(!loop.hasStoppedAllLoops)
        loop.endTurn()
        for loop in server.loops {
            loop.beginTurn()
            loop.endTurn()
        }
    }

    /// New connections are assigned to idle loops, however few connections the busy loop has.
    @Test func aLoopInALongCommandGetsNoConnections() throws {
        let server = try Self.server(loops: 2)
        server.loops[1].assigned.store(100, ordering: .relaxed)
        #expect(server.loopForNext() === server.loops[0])
        server.loops[0].turnBeganAt.store(SteadyInstant.now() - .seconds(1), ordering: .relaxed)
        #expect(server.loopForNext() === server.loops[1])
        server.loops[0].turnBeganAt.store(.distantFuture, ordering: .relaxed)
        #expect(server.loopForNext() === server.loops[0])
    }
}
