import LimiterEngine
import Persistence
import Replication
import TestSupport
import Testing

@testable import RespServer

/// The replication thread's callbacks for the node's driver.
struct ReplicationThreadTests {
    /// A loop that executes REPLICAOF closes the write gate before the driver learns of it. Until then other gates
    /// may change, but that one must stay closed.
    @Test func onlyTheDriverReopensAGateThatALoopClosed() throws {
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
        gates.lacksState = true
        thread.show(gates)
        #expect(replication.isReplica && replication.lacksState)
        gates.isReplica = true
        thread.show(gates)
        gates.isReplica = false
        thread.show(gates)
        #expect(!replication.isReplica)
    }
}
