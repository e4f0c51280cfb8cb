// Event counters of simulation runs: a run in which nothing happens finds nothing.

extension Simulation {
    /// How often each event of interest occurred.
    struct Coverage {
        var writes = 0
        var online = 0
        var fullSyncs = 0
        var partialSyncs = 0
        var promotions = 0
        var takeovers = 0
        var cuts = 0
        var crashes = 0
        /// Processes killed; the kernel's page cache survived.
        var kills = 0
        var waits = 0
        /// Waits for replicas' disks.
        var syncedWaits = 0
        /// Waits for the node's own disk.
        var localWaits = 0
        var checkedStates = 0
        var checkedClocks = 0
        var checkedStarts = 0
        /// Restarts at a position that belongs to no history.
        var namelessStarts = 0
        /// Restarts checked against promises under `appendfsync always`.
        var checkedAnswers = 0
        /// Checks of what a power loss would leave on disk, after snapshots and replies.
        var checkedFiles = 0
        var converged = 0
        /// Pieces that overtook an earlier one sent over another connection to the same node.
        var reordered = 0
        var clockSteps = 0
        // Records in journals.
        var gcraRecords = 0
        var counterRecords = 0
        var fixedWindowRecords = 0
        var slidingWindowRecords = 0
        var slidingLogRecords = 0
        var tokenRecords = 0
        var calendarRecords = 0
        var policyRecords = 0
        var ruleRecords = 0
        var policyRemovals = 0
        var ruleRemovals = 0
        var numberedRecords = 0
        var flushedDatabases = 0
        // Loop turns that took time, lent their locks, or were waited for; transactions refused at their second
        // admission.
        var longTurns = 0
        var lentTurns = 0
        var awaitedTurns = 0
        var refusedTransactions = 0
        /// Failed saves of the role.
        var unsavedRoles = 0
        // Disks.
        var faults = 0
        var failures = 0
        var repairs = 0
        var snapshots = 0
        var slowSyncs = 0
        /// Syncs delayed briefly so that more replies share them.
        var gatherings = 0
        /// Snapshots taken because the log had grown.
        var grownLogs = 0
        /// Write backlogs dropped because too much was waiting for the disk.
        var droppedBacklogs = 0
        /// Logs switched on or off at run time.
        var switches = 0
        /// Histories begun because of changes that no journal contains.
        var lateJournals = 0
        /// Nodes promoted during a full sync that restored the state on disk; restores that failed; restores
        /// cancelled because the node was told to follow again.
        var restores = 0
        var failedRestores = 0
        var stoppedRestores = 0
        /// Batches applied by replicas whose disk was failing.
        var followedInMemory = 0

        static func + (left: Coverage, right: Coverage) -> Coverage {
            var sum = left
            var right = right
            withUnsafeMutableBytes(of: &sum) { sum in
                withUnsafeMutableBytes(of: &right) { right in
                    let (sum, right) = (sum.bindMemory(to: Int.self), right.bindMemory(to: Int.self))
                    for place in sum.indices { sum[place] += right[place] }
                }
            }
            return sum
        }
    }
}
