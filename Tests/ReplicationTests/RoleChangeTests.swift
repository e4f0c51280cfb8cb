// The actions of a role change, and their order.

import Testing

@testable import Replication

@Suite struct RoleChangeTests {
    private let a = TestStream.id("a")
    private let b = TestStream.id("b")
    private let c = TestStream.id("c")
    private let there = PeerAddress(host: "h", port: 2)
    private let elsewhere = PeerAddress(host: "h", port: 3)

    @Test func everyStartAsAPrimaryBeginsAHistory() {
        let node = NodeRole(role: .primary, recovered: a, end: 100, fresh: b)
        #expect(node.identity.id == b && node.identity.past == StreamPosition(id: a, offset: 100))
        #expect(node.started() == [.saveIdentity, .journal(true), .allowWrites])
        #expect(node.shownPriority(configured: 7) == 7)
        let new = NodeRole(role: .primary, recovered: nil, end: 0, fresh: b)
        #expect(new.identity == ReplicationIdentity(id: b))
    }

    @Test func aReplicaContinuesWhereItsFilesEnd() {
        let node = NodeRole(role: .replica(of: there), recovered: a, end: 100, fresh: b)
        #expect(node.position(end: 100) == StreamPosition(id: a, offset: 100))
        #expect(node.started() == [.refuseWrites, .journal(false), .startLink(there, takesOver: false)])
        // It crashed during a handover, and whether the target took over is unknown.
        #expect(node.started(takesOver: true).last == .startLink(there, takesOver: true))
        #expect(node.shownPriority(configured: 7) == 7)
    }

    @Test func withoutFilesThereIsNoPositionAndNoPriority() {
        var node = NodeRole(role: .replica(of: there), recovered: nil, end: 0, fresh: b)
        #expect(node.position(end: 0) == nil)
        #expect(node.shownPriority(configured: 7) == 0)
        #expect(node.serving(linkIsUp: true, isLoading: false, end: 0).readiness == .incomplete)
        _ = node.snapshotBegan(a)
        node.snapshotEnded()
        #expect(node.shownPriority(configured: 7) == 0)
        node.becameWhole()
        #expect(node.shownPriority(configured: 7) == 7)
        #expect(node.position(end: 50) == StreamPosition(id: a, offset: 50))
    }

    @Test func aPrimaryThatFollowsCollectsFirst() {
        var node = NodeRole(role: .primary, recovered: nil, end: 0, fresh: a)
        #expect(
            node.follow(there, isEmpty: false) == [
                .refuseWrites, .collect, .journal(false), .followTime, .closeReplicaLinks, .failWaits, .saveRole,
                .startLink(there, takesOver: false),
            ])
        #expect(node.isReplica && node.position(end: 9) == StreamPosition(id: a, offset: 9))
        #expect(node.follow(there, isEmpty: false) == [])
        #expect(
            node.follow(elsewhere, isEmpty: false) == [
                .stopLink, .closeReplicaLinks, .followTime, .saveRole, .startLink(elsewhere, takesOver: false),
            ])
    }

    @Test func anEmptyPrimaryThatFollowsMayNotBePromoted() {
        var node = NodeRole(role: .primary, recovered: nil, end: 0, fresh: a)
        _ = node.follow(there, isEmpty: true)
        #expect(node.shownPriority(configured: 7) == 0 && node.position(end: 9) == nil)
        var relieved = NodeRole(role: .primary, recovered: nil, end: 0, fresh: a)
        #expect(relieved.follow(there, isEmpty: true, takesOver: true).last == .startLink(there, takesOver: true))
        #expect(relieved.position(end: 9) == StreamPosition(id: a, offset: 9))
    }

    @Test func anIncompleteStateIsUnownedOnDisk() {
        // Before its first state, after a restart from files begun then, and with the state it had when it first
        // followed.
        for (recovered, isUnproven) in [(nil, false), (ReplicationID.unowned, false), (a, true)] {
            let node = NodeRole(
                role: .replica(of: there), recovered: recovered, end: 7, fresh: b, isUnproven: isUnproven)
            #expect(
                node.started() == [
                    .refuseWrites, .journal(false), .markUnowned, .startLink(there, takesOver: false),
                ])
            #expect(node.shownPriority(configured: 7) == 0 && node.position(end: 7) == nil)
        }
        // A primary may have started from such files; they are not a past history.
        let primary = NodeRole(role: .primary, recovered: .unowned, end: 7, fresh: b, isUnproven: true)
        #expect(primary.identity == ReplicationIdentity(id: b) && primary.shownPriority(configured: 7) == 7)
        // While running: before the role is on disk, so that a restart in between does not trust the state.
        var empty = NodeRole(role: .primary, recovered: a, end: 7, fresh: b)
        let actions = empty.follow(there, isEmpty: true)
        let places = [NodeRole.Action.markUnowned, .saveRole].map { actions.firstIndex(of: $0) }
        #expect(places[0] != nil && places[0]! < places[1]!)
        // Returning to its past does not restore the old name either.
        #expect(empty.returnToPast(end: 7) == nil)
    }

    @Test func aPromotionBranchesOff() {
        var node = NodeRole(role: .replica(of: there), recovered: a, end: 100, fresh: c)
        #expect(
            node.becomePrimary(end: 120, fresh: b) == [
                .stopLink, .closeReplicaLinks, .saveIdentity, .leadTime, .saveRole, .journal(true), .allowWrites,
            ])
        #expect(node.identity.id == b && node.identity.past == StreamPosition(id: a, offset: 120))
        #expect(node.becomePrimary(end: 130, fresh: c) == [])
        #expect(node.serving(linkIsUp: false, isLoading: false, end: 0).readiness == .ready)
    }

    @Test func withoutAStateFromAPrimaryItLeadsWithItsOwn() {
        var node = NodeRole(role: .replica(of: there), recovered: nil, end: 0, fresh: c)
        #expect(
            node.becomePrimary(end: 50, fresh: b) == [
                .stopLink, .closeReplicaLinks, .restartBacklog, .leadTime, .journal(true), .saveState, .saveRole,
                .allowWrites,
            ])
        #expect(node.identity == ReplicationIdentity(id: b) && node.dataset == .whole && node.leads)
    }

    // MARK: Promotion during a full sync

    /// A node promoted during a full sync.
    private func restoring(isPartial: Bool = false) -> NodeRole {
        var node = NodeRole(role: .replica(of: there), recovered: a, end: 100, fresh: c)
        #expect(node.snapshotBegan(c) == [.closeReplicaLinks])
        if isPartial { node.snapshotEnded() }
        #expect(node.position(end: 50) == nil)
        #expect(node.becomePrimary(end: 50, fresh: b) == [.stopLink, .closeReplicaLinks, .saveRole, .restore])
        return node
    }

    @Test(arguments: [false, true]) func aPartialStateNeverLeads(isPartial: Bool) {
        var node = restoring(isPartial: isPartial)
        #expect(node.dataset == .restoring && !node.leads && !node.isReplica && node.position(end: 50) == nil)
        #expect(node.serving(linkIsUp: false, isLoading: false, end: 0).readiness == .loading)
        // Already in progress, so a second promotion does nothing.
        #expect(node.becomePrimary(end: 50, fresh: b) == [])
        // As after a restart, the state on disk becomes the past of a new history.
        #expect(
            node.restored(recovered: a, end: 90, fresh: b) == [
                .leadTime, .resumeLog, .saveIdentity, .journal(true), .allowWrites,
            ])
        #expect(node.identity.id == b && node.identity.past == StreamPosition(id: a, offset: 90))
        #expect(node.dataset == .whole && node.leads)
        #expect(node.serving(linkIsUp: false, isLoading: false, end: 0).readiness == .ready)
        #expect(node.restored(recovered: a, end: 90, fresh: c) == [])
    }

    @Test func unownedFilesAreNotAPastHistory() {
        for recovered in [nil, ReplicationID.unowned] {
            var node = restoring()
            _ = node.restored(recovered: recovered, end: 0, fresh: b)
            #expect(node.identity == ReplicationIdentity(id: b) && node.leads)
        }
    }

    /// Empty or not, memory does not tell what is on disk, so the state on disk is not marked unowned.
    @Test(arguments: [false, true]) func followingAgainCancelsTheRestore(isEmpty: Bool) {
        var node = restoring()
        #expect(
            node.follow(elsewhere, isEmpty: isEmpty) == [
                .stopRestoring, .refuseWrites, .saveRole, .startLink(elsewhere, takesOver: false),
            ])
        #expect(node.dataset == .none && node.isReplica && !node.neverSynced && node.position(end: 50) == nil)
        // A result that arrives too late.
        #expect(node.restored(recovered: a, end: 90, fresh: b) == [])
        #expect(node.isReplica)
        #expect(node.becomePrimary(end: 50, fresh: b).last == .restore)
    }

    @Test func aLinkThatContinuesElsewhereBranchesOff() {
        var node = NodeRole(role: .replica(of: there), recovered: a, end: 100, fresh: c)
        #expect(node.follows(b, end: 100) == [.saveIdentity, .closeReplicaLinks, .followTime])
        #expect(node.identity.id == b && node.identity.past == StreamPosition(id: a, offset: 100))
    }

    @Test func unjournaledChangesEndTheHistory() {
        var node = NodeRole(role: .primary, recovered: nil, end: 0, fresh: a)
        #expect(node.journalingBegins(fresh: c) == [.closeReplicaLinks, .restartBacklog, .journal(true)])
        #expect(node.identity == ReplicationIdentity(id: c))
    }

    @Test func reportsWhetherItCanServe() {
        let node = NodeRole(role: .replica(of: there), recovered: a, end: 100, fresh: c)
        #expect(node.serving(linkIsUp: true, isLoading: true, end: 0).readiness == .loading)
        #expect(node.serving(linkIsUp: true, isLoading: false, end: 0).readiness == .ready)
        #expect(node.serving(linkIsUp: false, isLoading: false, end: 0).readiness == .withoutPrimary)
        #expect(node.serving(linkIsUp: true, isLoading: false, end: 0).isReplica)
    }
}
