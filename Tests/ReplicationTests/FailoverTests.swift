// The FAILOVER command.

import System
import TestSupport
import Testing

@testable import Replication

@Suite struct FailoverTests {
    private let here = PeerAddress(host: "h", port: 1)
    private let there = PeerAddress(host: "h", port: 2)

    private func candidate(_ address: PeerAddress, _ acknowledged: Int64, isOnline: Bool = true) -> Failover.Candidate {
        Failover.Candidate(address: address, acknowledged: acknowledged, isOnline: isOnline)
    }

    /// A failover that waits for replicas to acknowledge offset 100.
    private func waiting(_ request: Failover.Request) throws -> Failover {
        var failover = Failover()
        let actions = try failover.start(
            request, isReplica: false, candidates: [candidate(here, 0), candidate(there, 0)], now: 0)
        #expect(actions == [.pauseWrites])
        #expect(failover.state == .waitingForSync)
        #expect(failover.tick(candidates: [candidate(here, 1000)], now: 0) == [])
        failover.paused(end: 100)
        return failover
    }

    @Test func refusesImpossibleRequests() {
        func refusal(
            _ request: Failover.Request, isReplica: Bool = false, _ candidates: [Failover.Candidate]
        ) -> FailoverError? {
            var failover = Failover()
            do throws(FailoverError) {
                _ = try failover.start(request, isReplica: isReplica, candidates: candidates, now: 0)
                return nil
            } catch {
                #expect(failover.state == .none)
                return error
            }
        }
        let one = [candidate(here, 0)]
        #expect(refusal(Failover.Request(), isReplica: true, one) == .notPrimary)
        #expect(refusal(Failover.Request(), []) == .noReplicas)
        #expect(refusal(Failover.Request(target: there), one) == .unknownTarget)
        #expect(refusal(Failover.Request(target: here), [candidate(here, 0, isOnline: false)]) == .targetOffline)
        #expect(refusal(Failover.Request(target: here, force: true), one) == .forceWithoutTarget)
        #expect(refusal(Failover.Request(force: true, timeout: 5), one) == .forceWithoutTarget)
        #expect(refusal(Failover.Request(timeout: 0), one) == .invalidTimeout)
        var none = Failover()
        #expect(throws: FailoverError.notInProgress) { try none.abort() }
        #expect(none.overruled() == [])
        #expect(none.answered(tookOver: true) == [])
        #expect(FailoverError.notInProgress.rawValue == "ERR No failover in progress.")
    }

    @Test func theFirstReplicaWithEverythingTakesOver() throws {
        var failover = try waiting(Failover.Request())
        #expect(throws: FailoverError.alreadyInProgress) {
            try failover.start(Failover.Request(), isReplica: false, candidates: [], now: 0)
        }
        let behind = [candidate(here, 99), candidate(there, 100, isOnline: false)]
        #expect(failover.tick(candidates: behind, now: 1_000_000) == [])
        #expect(
            failover.tick(candidates: [candidate(here, 99), candidate(there, 100)], now: 0) == [
                .handOver(there, permitsLoss: false)
            ])
        #expect(failover.state == .inProgress && failover.target == there)
        #expect(failover.tick(candidates: [candidate(here, 100)], now: .distantFuture) == [])
        #expect(failover.answered(tookOver: true) == [.resumeWrites])
        #expect(failover.state == .none && failover.target == nil)
    }

    @Test func onlyTheTargetTakesOver() throws {
        var failover = try waiting(Failover.Request(target: there))
        #expect(failover.tick(candidates: [candidate(here, 100), candidate(there, 99)], now: 0) == [])
        #expect(failover.tick(candidates: [candidate(there, 100)], now: 0) == [.handOver(there, permitsLoss: false)])
    }

    @Test func theTimeoutAbortsOrForcesIt() throws {
        var failover = try waiting(Failover.Request(target: there, timeout: 50))
        #expect(failover.tick(candidates: [candidate(there, 99)], now: 49) == [])
        #expect(failover.tick(candidates: [candidate(there, 99)], now: 50) == [.resumeWrites])
        #expect(failover.state == .none)
        var forced = try waiting(Failover.Request(target: there, force: true, timeout: 50))
        #expect(forced.tick(candidates: [], now: 49) == [])
        #expect(forced.tick(candidates: [], now: 50) == [.handOver(there, permitsLoss: true)])
        // The timeout no longer applies: the target may have taken over.
        #expect(forced.tick(candidates: [], now: .distantFuture) == [])
    }

    @Test func aRefusalOrAnAbortRestoresTheRole() throws {
        var refused = try waiting(Failover.Request())
        _ = refused.tick(candidates: [candidate(here, 100)], now: 0)
        #expect(refused.answered(tookOver: false) == [.takeBack, .resumeWrites])
        var aborted = try waiting(Failover.Request())
        #expect(try aborted.abort() == [.resumeWrites])
        #expect(aborted.state == .none)
        var late = try waiting(Failover.Request())
        _ = late.tick(candidates: [candidate(here, 100)], now: 0)
        #expect(try late.abort() == [.takeBack, .resumeWrites])
        #expect(late.answered(tookOver: true) == [])
    }

    @Test func anotherRoleChangeAbortsIt() throws {
        var failover = try waiting(Failover.Request())
        #expect(failover.overruled() == [.resumeWrites])
        #expect(failover.state == .none)
        failover.paused(end: 5)
        #expect(failover.tick(candidates: [candidate(here, 100)], now: 0) == [])
    }
}
