// The handshake messages between two nodes.

import Testing

@testable import Replication

@Suite struct SyncMessagesTests {
    private let a = TestStream.id("a")

    @Test func requestsRoundTrip() {
        for request in [
            SyncRequest(position: nil), SyncRequest(position: StreamPosition(id: a, offset: 0)),
            SyncRequest(position: StreamPosition(id: a, offset: 41), takesOver: true),
        ] {
            #expect(SyncRequest(arguments: Array(request.words.dropFirst())) == request)
        }
        #expect(SyncRequest(position: StreamPosition(id: a, offset: 41)).words[2] == "42")
        #expect(encodedCommand(["PING", "a b"]).text == "*2\r\n$4\r\nPING\r\n$3\r\na b\r\n")
    }

    @Test func anInvalidPositionRequestsAFullSync() {
        for words in [["?", "-1"], ["xyz", "5"], [a.text, "0"], [a.text, "-7"]] {
            #expect(SyncRequest(arguments: words) == SyncRequest(position: nil))
        }
        for words in [[], [a.text], [a.text, "x"], [a.text, "1", "now"], [a.text, "1", "failover", "x"]] {
            #expect(SyncRequest(arguments: words) == nil)
        }
        #expect(SyncRequest(arguments: [a.text, "9223372036854775807"])?.position?.offset == Int64.max - 1)
    }

    @Test func answersRoundTrip() {
        for answer in [
            SyncAnswer.full(StreamPosition(id: a, offset: 7)), .partial(a), .refused("NOMASTERLINK no"),
        ] {
            // In Swift, CR LF is one character.
            #expect(answer.line.hasSuffix("\r\n"))
            #expect(SyncAnswer(String(answer.line.dropLast()), asked: StreamPosition(id: a, offset: 1)) == answer)
        }
        let asked = StreamPosition(id: a, offset: 1)
        #expect(SyncAnswer("+CONTINUE", asked: asked) == .partial(a))
        for line in ["+CONTINUE x", "+FULLRESYNC \(a)", "+FULLRESYNC \(a) -1", "+FULLRESYNC \(a) 1 2", "+OK", ""] {
            #expect(SyncAnswer(line, asked: asked) == nil)
        }
        #expect(SyncAnswer("+CONTINUE \(a)", asked: nil) == nil)
    }

    /// A replica's announced address appears in INFO, which is parsed by line.
    @Test func anAddressIsOneWordOfOneLine() throws {
        for host in ["h", "10.0.0.1", "fe80::1%eth0", "bücher.example", String(repeating: "x", count: 255)] {
            #expect(PeerAddress.isHost(host))
            #expect(try ReplicaAnnouncement.parse(["ip-address", host]) == [.address(host)])
        }
        var spoiled = ["", String(repeating: "x", count: 256), "x\r\nrole:slave", "a b"]
        for byte in Array(0...0x20) + [0x7F] as [UInt8] {
            spoiled += [String(decoding: [0x61, byte], as: UTF8.self), String(decoding: [byte, 0x61], as: UTF8.self)]
        }
        for host in spoiled {
            #expect(!PeerAddress.isHost(host))
            #expect(throws: ReplicaAnnouncementError.noAddress) {
                try ReplicaAnnouncement.parse(["listening-port", "1", "ip-address", host])
            }
        }
    }

    @Test func announcementsAreParsedOrRefused() throws {
        #expect(
            try ReplicaAnnouncement.parse(["listening-port", "7001", "IP-ADDRESS", "h", "capa", "eof"])
                == [.listeningPort(7001), .address("h"), .capability])
        #expect(try ReplicaAnnouncement.parse(["ACK", "9"]) == [.acknowledged(offset: 9, synced: -1)])
        #expect(try ReplicaAnnouncement.parse(["ack", "9", "fack", "4"]) == [.acknowledged(offset: 9, synced: 4)])
        // The synced offset cannot exceed the acknowledged one.
        #expect(try ReplicaAnnouncement.parse(["ack", "9", "fack", "40"]) == [.acknowledged(offset: 9, synced: 9)])
        for words in [
            [], ["ack"], ["ack", "x"], ["ack", "-1"], ["fack", "1"], ["ack", "1", "fack", "-2"],
            ["listening-port", "65536"], ["ip-address", String(repeating: "x", count: 256)], ["what", "1"],
        ] {
            #expect(throws: ReplicaAnnouncementError.self) { try ReplicaAnnouncement.parse(words) }
        }
        let many = Array(repeating: ["capa", "x"], count: 33).flatMap { $0 }
        #expect(throws: ReplicaAnnouncementError.self) { try ReplicaAnnouncement.parse(many) }
    }
}
