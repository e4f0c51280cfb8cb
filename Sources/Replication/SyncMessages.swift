// The messages that two nodes exchange before the stream: PSYNC, its answers, REPLCONF. They are spelled as in Redis,
// so that tools which inspect a link recognize them.
//
//   replica                                          primary
//   PING                                        ──▶  +PONG
//   AUTH [user] password                        ──▶  +OK             where configured
//   REPLCONF listening-port P                   ──▶  +OK
//   REPLCONF ip-address A                       ──▶  +OK             where configured
//   REPLCONF capa psync2 capa escapement1       ──▶  +OK
//   PSYNC ID OFFSET+1 [FAILOVER], or PSYNC ? -1 ──▶  +FULLRESYNC ID OFFSET, then a snapshot and the journal after it
//                                                    +CONTINUE ID, then the journal from OFFSET on
//                                                    -NOMASTERLINK …, -LOADING …, -ERR …: the replica tries again later
//   REPLCONF ACK OFFSET FACK SYNCED             ──▶  no answer       while it streams, each second and when asked
//   \n                                          ◀─▶  no answer       keep-alive where nothing else may be sent
//
// Owns: the syntax. Decides nothing.

/// A node's address.
package struct PeerAddress: Hashable, Sendable {
    /// A host name or an IP address, as the operator gave it.
    package var host: String
    /// 1 … 65535.
    package var port: Int

    /// The address `host`:`port`.
    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Upper bound on the bytes of a host.
    package static let hostMax = 255

    /// Whether the text can be used as a host in INFO, in the role file and in commands, where words and lines are
    /// separated: it contains neither spaces nor control characters. It is not checked whether the host exists.
    package static func isHost(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= hostMax && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F }
    }
}

/// A PSYNC request.
package struct SyncRequest: Equatable, Sendable {
    /// The position of the replica's state; nil requests a full sync.
    package var position: StreamPosition?
    /// The replica was this node's primary until now and wants it to take over first.
    package var takesOver: Bool

    /// A request for what follows `position`.
    package init(position: StreamPosition?, takesOver: Bool = false) {
        self.position = position
        self.takesOver = takesOver
    }

    /// Parses PSYNC's arguments; nil when they are invalid. Anything that is not a position requests a full sync.
    package init?(arguments: [String]) {
        guard arguments.count == 2 || arguments.count == 3 else { return nil }
        takesOver = false
        if arguments.count == 3 {
            guard arguments[2].lowercased() == "failover" else { return nil }
            takesOver = true
        }
        guard let next = Int64(arguments[1]) else { return nil }
        if let id = ReplicationID(arguments[0]), next >= 1 {
            position = StreamPosition(id: id, offset: next - 1)
        }
    }

    var words: [String] {
        var words = ["PSYNC", position?.id.text ?? "?", position.map { "\($0.offset &+ 1)" } ?? "-1"]
        if takesOver { words.append("FAILOVER") }
        return words
    }
}

/// The answer to PSYNC.
package enum SyncAnswer: Equatable, Sendable {
    /// A snapshot follows that contains everything up to the position, and then the journal from there on.
    case full(StreamPosition)
    /// The journal follows from the replica's position, in this history.
    case partial(ReplicationID)
    /// Refused for now: an error reply without its `-`.
    case refused(String)

    /// The answer's line.
    package var line: String {
        switch self {
        case .full(let position): "+FULLRESYNC \(position.id) \(position.offset)\r\n"
        case .partial(let id): "+CONTINUE \(id)\r\n"
        case .refused(let text): "-\(text)\r\n"
        }
    }

    /// Parses a line without its terminator. A bare +CONTINUE keeps the history of `asked`. Nil when it is not an
    /// answer.
    init?(_ line: String, asked: StreamPosition?) {
        if line.hasPrefix("-") {
            self = .refused(String(line.dropFirst()))
            return
        }
        let words = line.split(separator: " ")
        switch words.first {
        case "+FULLRESYNC":
            guard words.count == 3, let id = ReplicationID(String(words[1])), let offset = Int64(words[2]), offset >= 0
            else { return nil }
            self = .full(StreamPosition(id: id, offset: offset))
        case "+CONTINUE":
            guard let asked, words.count <= 2 else { return nil }
            guard words.count == 2 else {
                self = .partial(asked.id)
                return
            }
            guard let id = ReplicationID(String(words[1])) else { return nil }
            self = .partial(id)
        default: return nil
        }
    }
}

/// A REPLCONF announcement.
package enum ReplicaAnnouncement: Equatable, Sendable {
    /// The port on which the replica serves clients.
    case listeningPort(Int)
    /// The address to report for the replica.
    case address(String)
    /// A capability on which nothing depends.
    case capability
    /// A forced takeover: the node may take over even if it lacks the end of the requester's journal.
    case permitsLoss
    /// It has the journal up to `offset`, and up to `synced` on disk; -1 without a log. Gets no answer.
    case acknowledged(offset: Int64, synced: Int64)

    /// The capability that announces `permitsLoss`; earlier versions ignore it.
    static let permitsLossWord = "takeover-behind"

    /// Parses REPLCONF's arguments, pairs of a name and a value; the error is an error reply without its `-`.
    package static func parse(_ arguments: [String]) throws(ReplicaAnnouncementError) -> [ReplicaAnnouncement] {
        guard arguments.count % 2 == 0, !arguments.isEmpty, arguments.count <= 64 else {
            throw ReplicaAnnouncementError(text: "ERR syntax error")
        }
        var result: [ReplicaAnnouncement] = []
        for index in stride(from: 0, to: arguments.count, by: 2) {
            let value = arguments[index + 1]
            switch arguments[index].lowercased() {
            case "listening-port":
                guard let port = Int(value), (0...65535).contains(port) else { throw .outOfRange }
                result.append(.listeningPort(port))
            case "ip-address":
                guard PeerAddress.isHost(value) else { throw .noAddress }
                result.append(.address(value))
            case "capa": result.append(value == permitsLossWord ? .permitsLoss : .capability)
            case "ack":
                guard let offset = Int64(value), offset >= 0 else { throw .outOfRange }
                result.append(.acknowledged(offset: offset, synced: -1))
            case "fack":
                guard let synced = Int64(value), synced >= -1, case .acknowledged(let offset, _)? = result.last else {
                    throw .outOfRange
                }
                result[result.count - 1] = .acknowledged(offset: offset, synced: min(synced, offset))
            default:
                let name = String(arguments[index].prefix(128))
                throw ReplicaAnnouncementError(text: "ERR Unrecognized REPLCONF option: \(name)")
            }
        }
        return result
    }
}

/// A REPLCONF command that cannot be parsed.
package struct ReplicaAnnouncementError: Error, Equatable, Sendable {
    /// An error reply without its `-`.
    package let text: String

    static let noAddress = ReplicaAnnouncementError(text: "ERR ip-address is neither a name nor an address")
    static let outOfRange = ReplicaAnnouncementError(text: "ERR value is not an integer or out of range")
}

/// Encodes a command as a RESP array.
func encodedCommand(_ words: [String]) -> [UInt8] {
    var bytes = Array("*\(words.count)\r\n".utf8)
    for word in words {
        bytes += Array("$\(word.utf8.count)\r\n".utf8) + Array(word.utf8) + [13, 10]
    }
    return bytes
}
