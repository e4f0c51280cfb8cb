// A loop's turn: beginning, ending and lending it, and how other threads wait for one.
//
// A turn holds the loop's turn lock, but a command that has to stop all loops lends the lock for a while. So "every
// command that had begun is done" is a condition on the number of a turn, never on its lock.

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

    /// Returns whether another thread has been waiting for the turn lock; that thread needs time to wake up.
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

    /// Waits for the turn in progress, if any, to end: everything the loop runs afterwards sees what was set before
    /// this call. Call from one thread at a time, never from a loop's.
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

    /// Runs `body` while no loop is in a turn: with every turn lock held, acquired in the order of the loops. Lends
    /// this loop's own turn meanwhile, so `body` must not rely on anything read before: other threads may have changed
    /// roles and pauses, and marked connections.
    func stoppingAllLoops<Result>(_ body: () -> Result) -> Result {
        precondition(!hasStoppedAllLoops && !keyspace.isHolding && !excludesCollections, "turn locks come first")
        hasLentTurn = true
        turn.release()
        for loop in server.loops { loop.turn.acquire() }
        hasStoppedAllLoops = true
        // Another loop may have run CONFIG SET meanwhile, and this turn continues after that.
        refreshSettings()
        let result = body()
        hasStoppedAllLoops = false
        for loop in server.loops where loop !== self { loop.turn.release() }
        return result
    }
}
