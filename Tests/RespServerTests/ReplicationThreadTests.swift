import LimiterEngine
import Persistence
import Replication
import TestSupport
import Testing

@testable import RespServer

/// What the replication thread does for the node's driver.
struct ReplicationThreadTests {
    /// A loop that takes REPLICAOF closes the gate to writes before the driver hears of it. Until then other gates may
    /// change, and must leave that one alone.
    @Test func aGateThatALoopHasClosedIsOpenedByTheDriverAlone() throws {
        let node = try JournalNode()
        let report = try Recovery(
            files: FailingFiles(), path: node.directory, engine: node.server.engine, horizon: node.server.clock.now()
        ).run(history: node.server.runID, cutsTornTail: true)
        let thread = ReplicationThread(server: node.server, report: report, role: .primary, saved: nil)
        let replication = node.server.replication
        var gates = NodeGates()
        gates.isReplica = false
        thread.show(gates)
        #expect(!replication.isReplica)
        replication.set(isReplica: true)
        gates.lacksGoodReplicas = true
        thread.show(gates)
        #expect(replication.isReplica && replication.lacksGoodReplicas)
        gates.isReplica = true
        thread.show(gates)
        gates.isReplica = false
        thread.show(gates)
        #expect(!replication.isReplica)
    }
}
