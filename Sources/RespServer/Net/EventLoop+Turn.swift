// A loop's turn: beginning, ending and lending it, and how other threads wait for one.
//
// A turn holds the loop's turn lock, but a command that has to stop all loops lends it in between. "Every command that
// had begun is done" is therefore a statement about the number of a turn, never about its lock.

import Glibc
import LimiterEngine
import Synchronization
import System

extension EventLoop {
    func beginTurn() {
        turn.acquire()
        lastTurn &+= 1
        currentTurn = lastTurn
    }

    /// Returns whether another thread has been waiting for the turn lock; it takes a while to wake up.
    @discardableResult
    func endTurn() -> Bool {
        let wasLent = hasLentTurn
        hasLentTurn = false
        currentTurn = 0
        turnBeganAt.store(.distantFuture, ordering: .relaxed)
        let isWanted = turn.release()
        if wasLent { turnEnded.ring() }
        return isWanted
    }

    /// Returns when the turn that is under way, if one is, has ended: whatever the loop runs from then on sees what was
    /// set before this call. One thread at a time, and not a loop's.
    func waitForTurnInProgress() {
        assertHoldsNoLock()
        var awaited = 0
        while true {
            let seen = turnEnded.count
            turn.acquire()
            let current = currentTurn
            turn.release()
            guard current != 0, awaited == 0 || awaited == current else { return }
            awaited = current
            turnEnded.wait(since: seen, atMost: .seconds(1))
        }
    }

    /// Runs `body` while no loop is in a turn: with every turn lock held, taken in the order of the loops. Lends this
    /// loop's own turn meanwhile, so nothing that was read before may be relied upon in `body`: other threads have
    /// changed roles and pauses, and marked connections.
    func stoppingAllLoops<Result>(_ body: () -> Result) -> Result {
        precondition(!hasStoppedAllLoops && !keyspace.isHolding && !excludesCollections, "turn locks come first")
        hasLentTurn = true
        turn.release()
        for loop in server.loops { loop.turn.acquire() }
        hasStoppedAllLoops = true
        let result = body()
        hasStoppedAllLoops = false
        for loop in server.loops where loop !== self { loop.turn.release() }
        return result
    }
}
