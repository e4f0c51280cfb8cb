// Waits for replicas: WAIT, WAITAOF, FAILOVER, and writes that require replicas with a small lag.

import Persistence
package import System

extension NodeDriver {
    /// The conditions of WAIT and WAITAOF.
    package struct WaitDemand: Sendable {
        /// How many replicas have to acknowledge.
        package var replicas: Int
        /// Nil for no timeout.
        package var timeout: Nanoseconds?
        /// WAITAOF: only synced offsets count.
        package var onDisk: Bool
        /// WAITAOF: this node must have synced as well.
        package var onOwnDisk: Bool

        /// A demand with these values.
        package init(replicas: Int, timeout: Nanoseconds?, onDisk: Bool = false, onOwnDisk: Bool = false) {
            self.replicas = replicas
            self.timeout = timeout
            self.onDisk = onDisk
            self.onOwnDisk = onOwnDisk
        }
    }

    // MARK: WAIT

    /// A client waits for replicas to have everything it has changed: everything up to now. One answer or one `unblock`
    /// with this ticket follows.
    package func wait(_ ticket: UInt64, _ demand: WaitDemand) {
        guard role.leads else { return environment.unblock(ticket) }
        environment.collect()
        let now = environment.steady
        finish(acknowledgements.synced(environment.syncedOffset))
        let answer = acknowledgements.wait(
            ticket: ticket, offset: journal.offset, count: demand.replicas, deadline: demand.timeout.map { now + $0 },
            demandsSync: demand.onDisk, demandsLocal: demand.onOwnDisk)
        if let answer { return finish([answer]) }
        // Replicas acknowledge an empty batch on receipt.
        if !keepAlive.isSuspended { addEmptyBatch() }
    }

    /// The waiting client has disconnected.
    package func waiterGone(_ ticket: UInt64) { gone.insert(ticket) }

    func forgetWaiters() {
        guard !gone.isEmpty else { return }
        acknowledgements.cancel(gone)
        gone = []
    }

    func finish(_ answers: [Acknowledgements.Answer]) {
        for answer in answers { environment.answer(answer) }
    }

    /// Updates whether writes are refused for lack of good replicas.
    func considerReplicas(now: SteadyInstant) {
        gates.lacksGoodReplicas =
            role.leads && acknowledgements.refusesWrites(minimum: settings.minReplicas, lag: settings.maxLag, now: now)
    }

    // MARK: FAILOVER

    /// FAILOVER.
    ///
    /// - Parameter asker: The connection that requested it: the only one that is not closed at the end.
    package func startFailover(_ request: Failover.Request, asker: Int64) throws(FailoverError) {
        failoverAsker = asker
        run(
            try failover.start(
                request, isReplica: role.isReplica, candidates: candidates, now: environment.steady))
    }

    /// FAILOVER ABORT.
    package func abortFailover() throws(FailoverError) { run(try failover.abort()) }

    var candidates: [Failover.Candidate] {
        replicas.filter(\.link.isReplica).map {
            Failover.Candidate(
                address: $0.address, acknowledged: $0.link.acknowledged, isOnline: $0.link.isOnline)
        }
    }

    func run(_ actions: [Failover.Action]) {
        for action in actions {
            switch action {
            case .pauseWrites:
                gates.holdsWrites = true
                environment.waitForWriters()
                // Changes being collected elsewhere must also precede the end.
                addEmptyBatch()
                keepAlive.isSuspended = true
                failover.paused(end: journal.offset)
            case .resumeWrites:
                keepAlive.isSuspended = false
                gates.holdsWrites = false
            case .handOver(let address, let permitsLoss):
                handoverPermitsLoss = permitsLoss
                guard saveHandover(to: address) else {
                    run(failover.answered(tookOver: false))
                    continue
                }
                environment.note(.handingOver(address))
                follow(address, takesOver: true)
            case .takeBack: if role.isReplica { lead() }
            }
        }
    }
}
