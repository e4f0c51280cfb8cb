// Who waits for replicas: WAIT, WAITAOF, FAILOVER, and writes that need replicas that keep up.

import Persistence
public import System

extension NodeDriver {
    /// What WAIT and WAITAOF ask for.
    public struct WaitDemand: Sendable {
        /// How many of them are to have it.
        public var replicas: Int
        /// Nil for as long as it takes.
        public var timeout: Nanoseconds?
        /// WAITAOF: what counts is on disk.
        public var onDisk: Bool
        /// WAITAOF: on this node's, too.
        public var onOwnDisk: Bool

        /// A demand of these.
        public init(replicas: Int, timeout: Nanoseconds?, onDisk: Bool = false, onOwnDisk: Bool = false) {
            self.replicas = replicas
            self.timeout = timeout
            self.onDisk = onDisk
            self.onOwnDisk = onOwnDisk
        }
    }

    // MARK: WAIT

    /// A client waits for replicas to have all that it has changed: everything up to now. One answer follows, or an
    /// `unblock`, with this ticket.
    public func wait(_ ticket: UInt64, _ demand: WaitDemand) {
        guard role.leads else { return environment.unblock(ticket) }
        environment.collect()
        let now = environment.steady
        finish(acknowledgements.synced(environment.syncedOffset))
        let answer = acknowledgements.wait(
            ticket: ticket, offset: journal.offset, count: demand.replicas, deadline: demand.timeout.map { now + $0 },
            demandsSync: demand.onDisk, demandsLocal: demand.onOwnDisk)
        if let answer { return finish([answer]) }
        // Replicas acknowledge an empty batch when it comes.
        if !keepAlive.isSuspended { addEmptyBatch() }
    }

    /// The client that waited has gone.
    public func waiterGone(_ ticket: UInt64) { gone.insert(ticket) }

    func forgetWaiters() {
        guard !gone.isEmpty else { return }
        acknowledgements.cancel(gone)
        gone = []
    }

    func finish(_ answers: [Acknowledgements.Answer]) {
        for answer in answers { environment.answer(answer) }
    }

    /// Whether writes need more replicas than keep up.
    func considerReplicas(now: SteadyInstant) {
        gates.lacksGoodReplicas =
            role.leads && acknowledgements.refusesWrites(minimum: settings.minReplicas, lag: settings.maxLag, now: now)
    }

    // MARK: FAILOVER

    /// FAILOVER.
    ///
    /// - Parameter asker: The connection that asked for it, which is the only one that is not closed when it is done.
    public func startFailover(_ request: Failover.Request, asker: Int64) throws(FailoverError) {
        failoverAsker = asker
        run(
            try failover.start(
                request, isReplica: role.isReplica, candidates: candidates, now: environment.steady))
    }

    /// FAILOVER ABORT.
    public func abortFailover() throws(FailoverError) { run(try failover.abort()) }

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
                // What is being collected elsewhere comes before the end, too.
                addEmptyBatch()
                keepAlive.isSuspended = true
                failover.paused(end: journal.offset)
            case .resumeWrites:
                keepAlive.isSuspended = false
                gates.holdsWrites = false
            case .handOver(let address):
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
