// Every state transition of the link on the primary's side.

import Persistence
import System
import TestSupport
import Testing

@testable import Replication

@Suite struct DownstreamLinkTests {
    private let a = TestStream.id("a")
    private let b = TestStream.id("b")
    private let settings = DownstreamLink.Settings()
    private var primary: ServingNode { node(.ready) }

    private func node(
        _ readiness: ServingNode.Readiness, isReplica: Bool = false, end: Int64 = 1 << 40
    ) -> ServingNode {
        ServingNode(readiness: readiness, isReplica: isReplica, identity: ReplicationIdentity(id: a), end: end)
    }

    /// A backlog of two batches that starts at offset 100, and the boundary between the batches.
    private func backlog() -> (backlog: Backlog, boundary: Int64) {
        let stream = TestStream(offset: 100)
        let backlog = Backlog(capacity: 100_000, offset: 100)
        stream.batch(0..<3).withUnsafeBytes { backlog.append($0, at: 100) }
        let boundary = backlog.end
        stream.batch(1..<3).withUnsafeBytes { backlog.append($0, at: boundary) }
        return (backlog, boundary)
    }

    private func streaming(_ backlog: Backlog) -> DownstreamLink {
        var link = DownstreamLink(now: 0)
        let request = SyncRequest(position: StreamPosition(id: a, offset: 100))
        _ = link.request(request, of: primary, backlog: backlog, now: 0)
        link.sent(backlog.count)
        return link
    }

    @Test func continuesOnlyAtABatchBoundary() {
        let (backlog, boundary) = backlog()
        for (offset, isPartial) in [
            (100, true), (boundary, true), (backlog.end, true), (99, false), (101, false), (backlog.end + 1, false),
        ] {
            var link = DownstreamLink(now: 0)
            let request = SyncRequest(position: StreamPosition(id: a, offset: offset))
            let actions = link.request(request, of: primary, backlog: backlog, now: 0)
            #expect(actions == (isPartial ? [.send("+CONTINUE \(a)\r\n"), .wantTime] : [.beginSnapshot]))
            #expect(link.state == (isPartial ? .streaming : .waitingForSnapshot))
            #expect(link.needed == (isPartial ? offset : nil))
        }
        var stranger = DownstreamLink(now: 0)
        let request = SyncRequest(position: StreamPosition(id: b, offset: boundary))
        #expect(stranger.request(request, of: primary, backlog: backlog, now: 0) == [.beginSnapshot])
        var initial = DownstreamLink(now: 0)
        #expect(initial.request(SyncRequest(position: nil), of: primary, backlog: nil, now: 0) == [.beginSnapshot])
        #expect(initial.request(SyncRequest(position: nil), of: primary, backlog: nil, now: 0) == [.close(.unexpected)])
    }

    @Test func refusesWhenItCannotServe() {
        let (backlog, _) = backlog()
        for (readiness, word) in [
            (ServingNode.Readiness.loading, "-LOADING"), (.withoutPrimary, "-NOMASTERLINK"),
            (.incomplete, "-NOMASTERLINK"),
        ] {
            var link = DownstreamLink(now: 0)
            let actions = link.request(SyncRequest(position: nil), of: node(readiness), backlog: backlog, now: 0)
            guard actions.count == 2, case .send(let line) = actions[0] else { return #expect(Bool(false)) }
            #expect(line.hasPrefix(word) && line.hasSuffix("\r\n"))
            // The replica reconnects.
            #expect(actions[1] == .close(.refused))
            #expect(link.state == .closed && !link.isReplica)
        }
    }

    @Test func outOfOrderCommandsCloseTheLink() {
        let (backlog, _) = backlog()
        var link = streaming(backlog)
        #expect(link.spokeOutOfTurn() == [.close(.unexpected)])
        #expect(link.spokeOutOfTurn() == [])
    }

    @Test func sendsTheJournalOnce() {
        let (backlog, _) = backlog()
        var link = DownstreamLink(now: 0)
        let request = SyncRequest(position: StreamPosition(id: a, offset: 100))
        _ = link.request(request, of: primary, backlog: backlog, now: 0)
        var sent: [UInt8] = []
        while case .journal(let bytes) = link.output(from: backlog) {
            let part = bytes.prefix(13)
            sent += Array(part)
            link.sent(part.count)
        }
        #expect(sent == Array(backlog.bytes(from: 100, limit: 1 << 20)!))
        #expect(link.nextOffset == backlog.end)
    }

    @Test func aFullSyncSendsTheSnapshotThenTheJournal() {
        let (backlog, boundary) = backlog()
        var link = DownstreamLink(now: 0)
        _ = link.request(SyncRequest(position: nil), of: primary, backlog: backlog, now: 0)
        if case .nothing = link.output(from: backlog) {} else { #expect(Bool(false)) }
        #expect(link.tick(end: 9_999_999_999, settings, now: 999_999_999) == [])
        #expect(link.tick(end: 9_999_999_999, settings, now: 1_000_000_000) == [.send("\n")])
        #expect(
            link.snapshotBegan(at: StreamPosition(id: a, offset: boundary), now: 0)
                == [.send("+FULLRESYNC \(a) \(boundary)\r\n")])
        #expect(link.state == .sendingSnapshot && link.needed == boundary)
        if case .snapshot = link.output(from: backlog) {} else { #expect(Bool(false)) }
        #expect(link.snapshotEnded(wholeAt: backlog.end, now: 0) == [.wantTime])
        if case .journal(let bytes) = link.output(from: backlog) { link.sent(bytes.count) }
        #expect(link.nextOffset == backlog.end)
        // An incomplete state does not count as online; a complete one does.
        #expect(link.announced(.acknowledged(offset: boundary, synced: -1), end: backlog.end, now: 5) == [])
        #expect(!link.isOnline)
        let whole = ReplicaAnnouncement.acknowledged(offset: backlog.end, synced: 3)
        #expect(link.announced(whole, end: backlog.end, now: 6) == [.cameOnline])
        #expect(link.isOnline && link.acknowledged == backlog.end && link.synced == 3)
        #expect(link.snapshotBegan(at: StreamPosition(id: a, offset: 0), now: 0) == [])
        #expect(link.snapshotEnded(wholeAt: 0, now: 0) == [])
        #expect(link.snapshotFailed() == [])
    }

    @Test func aFailedSnapshotClosesTheLink() {
        for begins in [false, true] {
            var link = DownstreamLink(now: 0)
            _ = link.request(SyncRequest(position: nil), of: primary, backlog: nil, now: 0)
            if begins { _ = link.snapshotBegan(at: StreamPosition(id: a, offset: 1), now: 0) }
            #expect(link.snapshotFailed() == [.close(.snapshot)])
            #expect(link.state == .closed)
        }
    }

    @Test func impossibleAcknowledgementsAreRejected() {
        let (backlog, boundary) = backlog()
        var link = streaming(backlog)
        let all = ReplicaAnnouncement.acknowledged(offset: backlog.end, synced: 0)
        #expect(link.announced(all, end: backlog.end, now: 7) == [.cameOnline])
        #expect(link.announced(.acknowledged(offset: boundary, synced: 0), end: backlog.end, now: 8) == [])
        #expect(link.acknowledged == backlog.end && link.lastAcknowledged == 8)
        let future = ReplicaAnnouncement.acknowledged(offset: backlog.end + 1, synced: 0)
        #expect(link.announced(future, end: backlog.end + 5, now: 9) == [.close(.unexpected)])
        #expect(!link.isOnline)
        #expect(link.announced(future, end: backlog.end + 5, now: 9) == [])
        // Ignored from a connection that is not a replica; out of order during the snapshot.
        var early = DownstreamLink(now: 0)
        #expect(early.announced(.acknowledged(offset: 5, synced: 0), end: 10, now: 0) == [])
        _ = early.request(SyncRequest(position: nil), of: primary, backlog: nil, now: 0)
        #expect(early.announced(.acknowledged(offset: 0, synced: 0), end: 10, now: 0) == [.close(.unexpected)])
    }

    @Test func remembersWhatTheReplicaAnnounced() {
        var link = DownstreamLink(now: 0)
        _ = link.announced(.listeningPort(7001), end: 0, now: 1)
        _ = link.announced(.address("10.0.0.1"), end: 0, now: 2)
        _ = link.announced(.capability, end: 0, now: 3)
        #expect(link.listeningPort == 7001 && link.address == "10.0.0.1" && link.lastHeard == 3)
        _ = link.announced(.address(""), end: 0, now: 3)
        #expect(link.address == nil)
        #expect(link.lag(now: 5) == nil)
    }

    @Test func aSilentReplicaTimesOut() {
        let (backlog, _) = backlog()
        var link = streaming(backlog)
        #expect(link.tick(end: backlog.end, settings, now: .boot + settings.timeout) == [.wantTime])
        link.heard(now: 10)
        #expect(link.tick(end: backlog.end, settings, now: .boot + settings.timeout + 10) == [.wantTime])
        #expect(link.tick(end: backlog.end, settings, now: .boot + settings.timeout + 11) == [.close(.silence)])
        var idle = DownstreamLink(now: 0)
        #expect(idle.tick(end: 0, settings, now: SteadyInstant(nanoseconds: Int64.max / 2)) == [])
    }

    @Test func aReplicaTooFarBehindIsDropped() {
        let (backlog, _) = backlog()
        var link = streaming(backlog)
        _ = link.announced(.acknowledged(offset: backlog.end, synced: 0), end: backlog.end, now: 0)
        var settings = settings
        settings.raiseLimits(to: settings.hardLimit / 2)
        #expect(settings.softLimit == settings.hardLimit / 2)
        let hard = backlog.end + Int64(settings.hardLimit)
        #expect(link.tick(end: hard, settings, now: 1) == [])
        #expect(link.tick(end: hard + 1, settings, now: 1) == [.close(.outputLimit)])
        var slow = streaming(backlog)
        _ = slow.announced(.acknowledged(offset: backlog.end, synced: 0), end: backlog.end, now: 0)
        let soft = backlog.end + Int64(settings.softLimit) + 1
        #expect(slow.tick(end: soft, settings, now: 0) == [])
        #expect(slow.tick(end: soft - 1, settings, now: 30_000_000_000) == [])
        slow.heard(now: 40_000_000_000)
        #expect(slow.tick(end: soft, settings, now: 40_000_000_000) == [])
        #expect(slow.tick(end: soft, settings, now: 99_999_999_999) == [])
        slow.heard(now: 99_999_999_999)
        #expect(slow.tick(end: soft, settings, now: 100_000_000_000) == [.close(.outputLimit)])
    }

    @Test func closesWithItsConnectionAndWithTheHistory() {
        let (backlog, _) = backlog()
        var link = streaming(backlog)
        #expect(link.historyChanged() == [.close(.history)])
        #expect(link.historyChanged() == [])
        var lost = streaming(backlog)
        #expect(lost.connectionLost() == [.close(.connection)])
        #expect(lost.needed == nil)
        var idle = DownstreamLink(now: 0)
        #expect(idle.historyChanged() == [])
        #expect(idle.state == .announced)
    }

    @Test func takesOverOnlyFromItsOwnPrimary() {
        let (backlog, boundary) = backlog()
        let takeover = SyncRequest(position: StreamPosition(id: a, offset: boundary), takesOver: true)
        // The node's own link is down: the primary closed it before it sent the request.
        var link = DownstreamLink(now: 0)
        let replica = node(.withoutPrimary, isReplica: true)
        #expect(link.request(takeover, of: replica, backlog: backlog, now: 0) == [.takeOver])
        var promoted = primary
        promoted.identity.branch(to: b, at: boundary)
        let yes: [DownstreamLink.Action] = [.send("+CONTINUE \(b)\r\n"), .wantTime]
        #expect(link.request(takeover, of: promoted, backlog: backlog, now: 0) == yes)
        // The answer was lost, so the request is repeated.
        var again = DownstreamLink(now: 0)
        #expect(again.request(takeover, of: promoted, backlog: backlog, now: 0) == yes)

        func refusal(_ request: SyncRequest, _ node: ServingNode) -> String? {
            var link = DownstreamLink(now: 0)
            guard case .send(let line)? = link.request(request, of: node, backlog: backlog, now: 0).first else {
                return nil
            }
            return line
        }
        #expect(refusal(takeover, primary)?.hasPrefix("-ERR PSYNC FAILOVER can't be sent to a master") == true)
        let other = SyncRequest(position: StreamPosition(id: b, offset: boundary), takesOver: true)
        #expect(refusal(other, replica)?.hasPrefix("-ERR PSYNC FAILOVER replid must match") == true)
        #expect(refusal(takeover, node(.incomplete, isReplica: true))?.hasPrefix("-NOMASTERLINK") == true)
    }

    @Test func aNodeThatHasLostChangesTakesOverOnlyByForce() {
        let (backlog, boundary) = backlog()
        let takeover = SyncRequest(position: StreamPosition(id: a, offset: boundary), takesOver: true)
        let behind = node(.withoutPrimary, isReplica: true, end: boundary - 1)
        var link = DownstreamLink(now: 0)
        guard case .send(let line)? = link.request(takeover, of: behind, backlog: backlog, now: 0).first else {
            return #expect(Bool(false))
        }
        #expect(line.hasPrefix("-ERR PSYNC FAILOVER offset is beyond mine"))
        let level = node(.withoutPrimary, isReplica: true, end: boundary)
        var second = DownstreamLink(now: 0)
        #expect(second.request(takeover, of: level, backlog: backlog, now: 0) == [.takeOver])
        var forced = DownstreamLink(now: 0)
        for announcement in try! ReplicaAnnouncement.parse(["capa", "psync2", "capa", "takeover-behind"]) {
            _ = forced.announced(announcement, end: 0, now: 0)
        }
        #expect(forced.request(takeover, of: behind, backlog: backlog, now: 0) == [.takeOver])
    }
}
