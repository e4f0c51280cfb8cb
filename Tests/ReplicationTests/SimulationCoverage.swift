// What has happened in lives: a simulation in which nothing happens finds nothing.

extension Simulation {
    /// How often something that the simulation is there for has happened.
    struct Coverage {
        var writes = 0
        var online = 0
        var fullSyncs = 0
        var partialSyncs = 0
        var promotions = 0
        var takeovers = 0
        var cuts = 0
        var crashes = 0
        /// Processes that ended with what the kernel had of their files kept.
        var kills = 0
        var waits = 0
        /// Waits for the disks of replicas.
        var syncedWaits = 0
        /// Waits for the disk of the node itself.
        var localWaits = 0
        var checkedStates = 0
        var checkedClocks = 0
        var checkedStarts = 0
        /// Starts at a place that no history has.
        var namelessStarts = 0
        /// Starts that were checked for what `appendfsync always` had promised.
        var checkedAnswers = 0
        /// Looks at what a loss of power would leave, after snapshots and answers.
        var checkedFiles = 0
        var converged = 0
        /// Pieces that arrived before one sent earlier over another connection to the same node.
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
        // Turns of loops: that lasted, that lent their locks, that were waited for; and transactions that were not
        // admitted again.
        var longTurns = 0
        var lentTurns = 0
        var awaitedTurns = 0
        var refusedTransactions = 0
        /// Roles that the disk did not take.
        var unsavedRoles = 0
        // Disks.
        var faults = 0
        var failures = 0
        var repairs = 0
        var snapshots = 0
        var slowSyncs = 0
        /// Syncs put off a little because more replies were expected to share them.
        var gatherings = 0
        /// Snapshots taken because the log had grown.
        var grownLogs = 0
        /// Logs given up because too much waited for the disk.
        var droppedBacklogs = 0
        /// Logs switched on or off while the node worked.
        var switches = 0
        /// Histories begun because changes had been made that no journal has.
        var lateJournals = 0
        /// Nodes promoted inside a full sync that went back to the state on disk; tries at that which failed, and those
        /// that ended because the node was told to follow again.
        var restores = 0
        var failedRestores = 0
        var stoppedRestores = 0
        /// Batches put in by replicas whose disk was failing.
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
