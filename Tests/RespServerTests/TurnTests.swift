import Glibc
import LimiterEngine
import Synchronization
import System
import Testing

@testable import RespServer

/// Turns that lend their lock: what waits for their end, and what a command finds when all loops have stopped.
struct TurnTests {
    private static func server(loops: Int) throws -> Server {
        var settings = Settings()
        settings.ioThreads = loops
        return try Server(settings: CurrentSettings(settings), log: Log(level: .warning))
    }

    /// A thread that has lent its turn is in it until the turn's end, whoever holds the lock: a handover that waits for
    /// "every command that had begun" waits for this one.
    @Test func aLentTurnIsWaitedFor() throws {
        let server = try Self.server(loops: 2)
        let (other, lender) = (server.loops[0], server.loops[1])
        let order = Locked<[String]>([])
        let isLent = Doorbell()
        // The first lock that the lender wants: so it stays without any, its own included.
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
                // The lender holds its own lock until it lends it.
                while isLent.count == 0 { isLent.wait(since: 0, atMost: .seconds(1)) }
                lender.waitForTurnInProgress()
                order.withLock { $0.append("waiter") }
            },
        ]
        // Waits until the turn is lent and the waiter has had a look at it, or has gone past it.
        while lender.turnEnded.waiters == 0, order.withLock({ $0.isEmpty }) { sched_yield() }
        other.turn.release()
        for thread in ended { pthread_join(thread, nil) }
        #expect(order.withLock { $0 } == ["command", "end of turn", "waiter"])
    }

    /// Between turns, and for a turn that began after the call, nobody waits.
    @Test func noTurnIsNotWaitedFor() throws {
        let server = try Self.server(loops: 1)
        server.waitForTurnsInProgress()
        let loop = server.loops[0]
        loop.beginTurn()
        loop.endTurn()
        server.waitForTurnsInProgress()
        #expect(loop.currentTurn == 0 && loop.lastTurn == 1)
    }

    @Test func allLoopsAreHeldAndGivenBack() throws {
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

    /// New connections are dealt to loops that are free, however few connections the busy one has.
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
