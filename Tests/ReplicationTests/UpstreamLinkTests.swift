// Every state transition of a replica's link to its primary.

import LimiterEngine
import Persistence
import System
import TestSupport
import Testing

@testable import Replication

@Suite struct UpstreamLinkTests {
    /// A link, and its actions as text.
    private final class Driver {
        let link: UpstreamLink
        var log: [String] = []
        var now = SteadyInstant.boot + .seconds(1)

        init(_ change: (inout UpstreamLink.Settings) -> Void = { _ in }) {
            var settings = UpstreamLink.Settings(listeningPort: 7001)
            change(&settings)
            link = UpstreamLink(settings: settings)
        }

        func perform(_ action: UpstreamLink.Action) {
            switch action {
            case .connect: log.append("connect")
            case .send(let bytes):
                let words = bytes.text.split(separator: "\r\n").filter { !"*$".contains($0.first!) }
                log.append(bytes.text == "\n" ? "sign" : words.joined(separator: " "))
            case .disconnect(let failure): log.append("disconnect \(failure.map { "\($0)" } ?? "")")
            case .tookOver(let result): log.append("took over \(result)")
            case .follow(let id): log.append("follow \(id.text.prefix(1))")
            case .beginSnapshot(let id, let header): log.append("begin \(id.text.prefix(1)) \(header.journalOffset)")
            case .snapshotBatch: log.append("part")
            case .endSnapshot(let keys): log.append("end \(keys)")
            case .batch(let batch, _): log.append("batch \(batch.offset)")
            case .becameWhole: log.append("whole")
            case .online: log.append("online")
            }
        }

        func drain() -> [String] {
            defer { log = [] }
            return log
        }

        func start(_ position: StreamPosition?, horizon: Int64? = nil, takesOver: Bool = false) {
            link.start(
                position: position, horizon: horizon.map { EngineTime(nanoseconds: $0) }, takesOver: takesOver,
                now: now, perform)
        }

        func receive(_ text: String) { receive(Array(text.utf8)) }

        func receive(_ bytes: [UInt8]) {
            bytes.withUnsafeBytes { link.received($0, now: now, synced: -1, perform) }
        }

        func tick(after length: Nanoseconds = .zero) {
            now += length
            link.tick(now: now, synced: 5, perform)
        }

        /// Runs the handshake up to the point where PSYNC has been sent.
        func shakeHands() {
            link.connected(now: now, perform)
            for _ in 0..<3 { receive("+OK\r\n") }
            _ = drain()
        }
    }

    private let a = TestStream.id("a")
    private let b = TestStream.id("b")
    private var somewhere: StreamPosition { StreamPosition(id: a, offset: 0) }

    // MARK: Handshake

    @Test func theHandshakeIsRediss() {
        let driver = Driver {
            $0.password = "p"
            $0.user = "u"
            $0.address = "10.0.0.1"
        }
        driver.start(StreamPosition(id: a, offset: 41))
        #expect(driver.drain() == ["connect"])
        #expect(driver.link.state == .connecting)
        var sent: [String] = []
        driver.link.connected(now: 0, driver.perform)
        for reply in ["+PONG\r\n", "+OK\r\n", "+OK\r\n", "-ERR what?\r\n", "+OK\r\n"] {
            sent += driver.drain()
            // One byte at a time.
            for byte in reply.utf8 { driver.receive([byte]) }
        }
        sent += driver.drain()
        #expect(
            sent == [
                "PING", "AUTH u p", "REPLCONF listening-port 7001", "REPLCONF ip-address 10.0.0.1",
                "REPLCONF capa psync2 capa escapement1", "PSYNC \(a) 42",
            ])
        #expect(driver.link.state == .requesting)
    }

    /// A node's answer to AUTH is logged, and a server that does not know the command echoes its arguments.
    @Test(arguments: [
        ("WRONGPASS invalid username-password pair", "WRONGPASS invalid username-password pair"),
        ("ERR unknown command 'AUTH', with args beginning with: 'us' 'secr' ", "ERR in answer to AUTH"),
        ("ERR secret is not welcome", "ERR in answer to AUTH"),
    ])
    func failuresContainNoSecret(_ answer: String, _ expected: String) {
        let driver = Driver {
            $0.password = "secret"
            $0.user = "user1"
        }
        driver.start(nil)
        driver.link.connected(now: 0, driver.perform)
        driver.receive("+PONG\r\n")
        _ = driver.drain()
        driver.receive("-\(answer)\r\n")
        #expect(driver.drain() == ["disconnect refused(\"\(expected)\")"])
    }

    @Test func withoutPasswordAndAddressTheirStepsAreSkipped() {
        let driver = Driver()
        driver.start(nil)
        driver.link.connected(now: 0, driver.perform)
        _ = driver.drain()
        driver.receive("-NOAUTH Authentication required.\r\n")
        #expect(driver.drain() == ["REPLCONF listening-port 7001"])
        driver.receive("+OK\r\n")
        #expect(driver.drain() == ["REPLCONF capa psync2 capa escapement1"])
        driver.receive("+OK\r\n")
        #expect(driver.drain() == ["PSYNC ? -1"])
    }

    @Test(arguments: ["-LOADING soon", "hello", "-ERR no"])
    func aPrimaryThatDoesNotAnswerPingIsRetried(reply: String) {
        let driver = Driver()
        driver.start(somewhere)
        driver.link.connected(now: 0, driver.perform)
        _ = driver.drain()
        driver.receive(reply + "\r\n")
        #expect(driver.drain().count == 1)
        #expect(driver.link.state == .waiting(until: driver.now + 100_000_000))
    }

    @Test(arguments: ["-MASTERDOWN no", "-MISCONF no", "-NOPERM no"])
    func errorsUnrelatedToTheLinkAreIgnored(reply: String) {
        let driver = Driver()
        driver.start(somewhere)
        driver.link.connected(now: 0, driver.perform)
        _ = driver.drain()
        driver.receive(reply + "\r\n")
        #expect(driver.drain() == ["REPLCONF listening-port 7001"])
    }

    @Test func aWrongPasswordIsRetriedLater() {
        let driver = Driver { $0.password = "p" }
        driver.start(somewhere)
        driver.link.connected(now: 0, driver.perform)
        driver.receive("+PONG\r\n-WRONGPASS no\r\n")
        #expect(driver.link.failure == .refused("WRONGPASS no"))
    }

    @Test func anUnterminatedLineIsRefused() {
        let driver = Driver()
        driver.start(somewhere)
        driver.link.connected(now: 0, driver.perform)
        driver.receive([UInt8](repeating: 65, count: UpstreamLink.lineMax))
        #expect(driver.link.state == .pinging)
        driver.receive("A")
        #expect(driver.link.failure == .unexpected("an unterminated line"))
    }

    // MARK: Retry delays and timeouts

    @Test func retryDelaysGrowAndResetOnceTheLinkIsUp() {
        let driver = Driver()
        driver.start(somewhere)
        var pauses: [Int64] = []
        for _ in 0..<7 {
            driver.link.failed(now: driver.now, driver.perform)
            guard case .waiting(let until) = driver.link.state else { return #expect(Bool(false)) }
            pauses.append((until - driver.now).millisecondsRoundedDown)
            driver.tick(after: until - driver.now - 1)
            #expect(driver.link.state == .waiting(until: until))
            driver.tick(after: 1)
            #expect(driver.link.state == .connecting)
        }
        #expect(pauses == [100, 200, 400, 800, 1600, 3000, 3000])
        driver.shakeHands()
        driver.receive("+CONTINUE\r\n")
        driver.receive(TestStream().emptyBatch())
        #expect(driver.link.isUp)
        driver.link.failed(now: driver.now, driver.perform)
        #expect(driver.link.state == .waiting(until: driver.now + 100_000_000))
    }

    @Test func aSilentPrimaryTimesOut() {
        let driver = Driver()
        driver.start(somewhere)
        driver.tick(after: 60_000_000_000)
        #expect(driver.link.state == .connecting)
        driver.tick(after: 1)
        #expect(driver.link.failure == .silence)
        driver.tick(after: 100_000_000)
        driver.shakeHands()
        driver.now += 59_000_000_000
        driver.receive("\n")
        driver.tick(after: 59_000_000_000)
        #expect(driver.link.state == .requesting)
        driver.tick(after: 2_000_000_000)
        #expect(driver.link.failure == .silence)
    }

    @Test func stoppingClosesTheLinkForGood() {
        let driver = Driver()
        driver.start(somewhere)
        driver.shakeHands()
        driver.link.stop(driver.perform)
        #expect(driver.drain() == ["disconnect "])
        driver.receive("+CONTINUE\r\n")
        driver.tick(after: 100_000_000_000)
        driver.link.failed(now: 0, driver.perform)
        driver.link.connected(now: 0, driver.perform)
        #expect(driver.drain() == [] && driver.link.state == .off)
        driver.link.stop(driver.perform)
        #expect(driver.drain() == [])
    }

    // MARK: Partial

    @Test func continuesAndAcknowledges() {
        let driver = Driver()
        let stream = TestStream()
        let first = stream.batch(0..<3)
        driver.start(StreamPosition(id: a, offset: Int64(first.count)))
        driver.shakeHands()
        driver.receive("+CONTINUE \(a)\r\n")
        #expect(driver.drain() == ["online"])
        let second = stream.batch(2..<4)
        driver.receive(second)
        #expect(driver.drain() == ["batch \(first.count)"])
        let end = first.count + second.count
        #expect(driver.link.position == StreamPosition(id: a, offset: Int64(end)))
        driver.tick()
        #expect(driver.drain() == ["REPLCONF ACK \(end) FACK 5"])
        driver.tick(after: 999_999_999)
        #expect(driver.drain() == [])
        driver.tick(after: 1)
        #expect(driver.drain() == ["REPLCONF ACK \(end) FACK 5"])
        // An empty batch requests an immediate acknowledgement; two in one piece get a single one.
        driver.receive(stream.emptyBatch() + stream.emptyBatch())
        #expect(driver.drain() == ["batch \(end)", "batch \(end + 24)", "REPLCONF ACK \(end + 48) FACK -1"])
    }

    @Test func followsAnotherHistory() {
        let driver = Driver()
        driver.start(somewhere)
        driver.shakeHands()
        driver.receive("+CONTINUE \(b)\r\n")
        #expect(driver.drain() == ["follow b", "online"])
        #expect(driver.link.position == StreamPosition(id: b, offset: 0))
    }

    @Test func aFormerPrimaryWaitsForTheStreamToReachItsTime() {
        let stream = TestStream()
        let driver = Driver()
        driver.start(somewhere, horizon: TestStream.start + 10)
        driver.shakeHands()
        driver.receive("+CONTINUE \(b)\r\n")
        driver.receive(stream.batch(0..<1))
        #expect(driver.link.state == .completing)
        driver.tick(after: 1_000_000_000)
        #expect(driver.drain().last == "sign")
        stream.time.nanoseconds += 10
        driver.receive(stream.emptyBatch())
        #expect(driver.drain().contains("online") && driver.link.isUp && driver.link.horizon == nil)
    }

    @Test func aPrimaryWhoseClockStaysBehindCausesAFullSync() {
        let driver = Driver()
        driver.start(somewhere, horizon: TestStream.start + 10)
        driver.shakeHands()
        driver.receive("+CONTINUE \(b)\r\n")
        driver.receive(TestStream().batch(0..<1))
        driver.tick(after: 5_000_000_001)
        #expect(driver.link.position == nil)
        driver.tick(after: 100_000_000)
        driver.link.connected(now: driver.now, driver.perform)
        for _ in 0..<3 { driver.receive("+OK\r\n") }
        #expect(driver.drain().last == "PSYNC ? -1")
    }

    @Test func aPositionThatFailsTwiceIsDiscarded() {
        let driver = Driver()
        driver.start(StreamPosition(id: a, offset: 7))
        for round in 0..<2 {
            driver.shakeHands()
            driver.receive("+CONTINUE\r\n")
            driver.receive(TestStream().batch(0..<1))
            guard case .stream = driver.link.failure else { return #expect(Bool(false)) }
            #expect(driver.link.position == (round == 0 ? StreamPosition(id: a, offset: 7) : nil))
            driver.tick(after: 3_000_000_000)
        }
    }

    @Test(arguments: ["NOMASTERLINK no", "LOADING soon", "ERR what"])
    func aRefusedRequestIsRetriedLater(words: String) {
        let driver = Driver()
        driver.start(somewhere)
        driver.shakeHands()
        driver.receive("-\(words)\r\n")
        #expect(driver.link.failure == .refused(words))
        #expect(driver.link.position == somewhere)
    }

    @Test(arguments: ["+CONTINUE xyz", "+FULLRESYNC", "+FULLRESYNC xyz 0", "+HELLO", "$5"])
    func anUnknownAnswerIsAFailure(answer: String) {
        let driver = Driver()
        driver.start(somewhere)
        driver.shakeHands()
        driver.receive("\(answer)\r\n")
        guard case .unexpected = driver.link.failure else { return #expect(Bool(false)) }
    }

    // MARK: Full

    @Test func aFullSyncIsCompleteOnlyAtItsEnd() {
        let stream = TestStream()
        let driver = Driver()
        _ = stream.batch(0..<3)
        let offset = stream.journal.offset
        driver.start(nil, horizon: TestStream.start + 1_000_000)
        driver.shakeHands()
        driver.receive("\r\n+FULLRESYNC \(a) \(offset)\r\n\n\n")
        #expect(driver.link.state == .receiving && driver.link.isSyncing)
        driver.tick(after: 1_000_000_000)
        #expect(driver.drain() == ["sign"])
        let snapshot = stream.snapshot { stream.write(1..<2) }
        let behind = stream.drain()
        driver.receive(snapshot)
        #expect(driver.drain() == ["begin a \(offset)", "part", "part", "end 3"])
        #expect(driver.link.state == .completing && driver.link.wholeAt == stream.journal.offset)
        driver.tick(after: 1_000_000_000)
        #expect(driver.drain() == ["sign"])
        driver.receive(behind)
        #expect(driver.drain() == ["batch \(offset)", "whole", "online"])
        #expect(driver.link.isUp && driver.link.wholeAt == nil)
    }

    @Test func aTruncatedSnapshotYieldsNoPosition() {
        let stream = TestStream()
        _ = stream.batch(0..<3)
        let snapshot = stream.snapshot()
        let driver = Driver()
        driver.start(somewhere)
        driver.shakeHands()
        driver.receive("+FULLRESYNC \(b) \(stream.journal.offset)\r\n")
        driver.link.failed(now: driver.now, driver.perform)
        // No part of the snapshot has arrived, so the previous state is intact.
        #expect(driver.link.position == somewhere)
        driver.tick(after: 100_000_000)
        driver.shakeHands()
        driver.receive("+FULLRESYNC \(b) \(stream.journal.offset)\r\n")
        driver.receive(Array(snapshot.dropLast()))
        driver.link.failed(now: driver.now, driver.perform)
        #expect(driver.link.position == nil)
    }

    @Test func anUnfinishedSyncContinuesOnlyInItsHistory() {
        let stream = TestStream()
        _ = stream.batch(0..<3)
        let offset = stream.journal.offset
        let snapshot = stream.snapshot { stream.write(1..<2) }
        for (answer, isContinued) in [("+CONTINUE \(a)", true), ("+CONTINUE \(b)", false)] {
            let driver = Driver()
            driver.start(nil)
            driver.shakeHands()
            driver.receive("+FULLRESYNC \(a) \(offset)\r\n")
            driver.receive(snapshot)
            driver.link.failed(now: driver.now, driver.perform)
            #expect(driver.link.position == StreamPosition(id: a, offset: offset))
            driver.tick(after: 100_000_000)
            driver.shakeHands()
            driver.receive(answer + "\r\n")
            #expect(driver.link.state == (isContinued ? .completing : .waiting(until: driver.now + 200_000_000)))
            #expect(driver.link.position == (isContinued ? StreamPosition(id: a, offset: offset) : nil))
        }
    }

    @Test func aSnapshotOfAnotherOffsetIsRefused() {
        let stream = TestStream()
        _ = stream.batch(0..<3)
        let driver = Driver()
        driver.start(nil)
        driver.shakeHands()
        driver.receive("+FULLRESYNC \(a) 5\r\n")
        driver.receive(stream.snapshot())
        guard case .unexpected = driver.link.failure else { return #expect(Bool(false)) }
        #expect(driver.drain() == ["disconnect unexpected(\"a snapshot at offset \(stream.journal.offset)\")"])
    }

    // MARK: Taking over

    @Test func aTakeoverRequestIsAnsweredOnce() {
        let driver = Driver()
        driver.start(somewhere, takesOver: true)
        driver.link.connected(now: 0, driver.perform)
        for _ in 0..<3 { driver.receive("+OK\r\n") }
        #expect(driver.drain().last == "PSYNC \(a) 1 FAILOVER")
        driver.link.failed(now: driver.now, driver.perform)
        driver.tick(after: 100_000_000)
        driver.link.connected(now: 0, driver.perform)
        for _ in 0..<3 { driver.receive("+OK\r\n") }
        #expect(driver.drain().last == "PSYNC \(a) 1 FAILOVER")
        driver.receive("+CONTINUE \(b)\r\n")
        #expect(driver.drain() == ["took over success()", "follow b", "online"])
        driver.link.failed(now: driver.now, driver.perform)
        driver.tick(after: 100_000_000)
        driver.link.connected(now: 0, driver.perform)
        for _ in 0..<3 { driver.receive("+OK\r\n") }
        #expect(driver.drain().last == "PSYNC \(b) 1")
    }

    @Test func aTargetsRefusalIsReported() {
        let driver = Driver()
        driver.start(somewhere, takesOver: true)
        driver.shakeHands()
        driver.receive("-ERR no\r\n")
        #expect(driver.drain().last?.hasPrefix("took over failure") == true)
        // If the node is told to follow it anyway, it must not repeat the takeover request forever.
        driver.tick(after: 100_000_000)
        driver.link.connected(now: driver.now, driver.perform)
        for _ in 0..<3 { driver.receive("+OK\r\n") }
        #expect(driver.drain().last == "PSYNC \(a) 1")
    }

    @Test(arguments: ["-MISCONF no", "-LOADING soon", "what"])
    func aTargetThatWasNeverAskedHasNotTakenOver(reply: String) {
        let driver = Driver()
        driver.start(somewhere, takesOver: true)
        driver.link.connected(now: 0, driver.perform)
        _ = driver.drain()
        driver.receive(reply + "\r\n")
        #expect(driver.drain().last?.hasPrefix("took over failure") == true)
    }

    @Test func aTargetThatMayHaveTakenOverIsAskedAgain() {
        let driver = Driver()
        driver.start(somewhere, takesOver: true)
        driver.shakeHands()
        driver.link.failed(now: driver.now, driver.perform)
        for reply in ["-LOADING soon", "-MISCONF no"] {
            driver.tick(after: 1_000_000_000)
            driver.link.connected(now: driver.now, driver.perform)
            _ = driver.drain()
            driver.receive(reply + "\r\n")
            #expect(!driver.drain().contains { $0.hasPrefix("took over") })
        }
        // Whatever the state of its disk, the outcome of the takeover is needed.
        for _ in 0..<2 { driver.receive("+OK\r\n") }
        #expect(driver.drain().last == "PSYNC \(a) 1 FAILOVER")
    }
}
