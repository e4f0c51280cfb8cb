// What the log says of the link to the primary while it is down: which node, and why, in words.
//
// A link is tried again every few seconds for as long as the primary is away. Each reason is said when it first comes,
// and then once a minute, with the number of attempts in between. Knows no clock and no socket.

import Replication
import System

struct LinkLog {
    /// From one line about a reason to the next.
    static let interval = Nanoseconds.seconds(60)
    /// Reasons kept apart; of further ones nothing is said before the minute is over.
    private static let reasonsMax = 8

    private var saidAt: [String: SteadyInstant] = [:]
    private var attempts = 0

    /// A link has failed, or an attempt to make one. Returns how many have, since the last line, if this is to be said.
    mutating func failed(_ reason: String, now: SteadyInstant) -> Int? {
        attempts += 1
        saidAt = saidAt.filter { now - $0.value < LinkLog.interval }
        guard saidAt[reason] == nil, saidAt.count < LinkLog.reasonsMax else { return nil }
        saidAt[reason] = now
        defer { attempts = 0 }
        return attempts
    }

    /// The link is up, or is to another node: what comes next is news.
    mutating func reset() { self = LinkLog() }
}

extension UpstreamLink.Failure {
    /// In words, for the log.
    ///
    /// - Parameters:
    ///   - connection: What became of the connection, where that is the reason.
    ///   - timeout: `repl-timeout`.
    func words(connection: String, timeout: Nanoseconds) -> String {
        switch self {
        case .connection: connection
        case .silence: "the primary has sent nothing for \(timeout.secondsRoundedDown) s (repl-timeout)"
        case .refused(let text): "the primary refuses: \(text)"
        case .unexpected(let text): "unexpected from the primary: \(text)"
        case .stream(let error): "the stream is damaged at \(error.offset): \(error.reason)"
        }
    }
}

extension DownstreamLink.Failure {
    /// In words, for the log.
    var words: String {
        switch self {
        case .connection: "the connection was lost"
        case .silence: "it has sent nothing for repl-timeout"
        case .outputLimit: "it reads too slowly: beyond client-output-buffer-limit replica"
        case .unexpected: "it has sent what no replica sends here"
        case .snapshot: "the snapshot for it could not be made"
        case .history: "this node's history has changed: it has to ask anew"
        case .refused: "it was refused, and told why"
        }
    }
}
