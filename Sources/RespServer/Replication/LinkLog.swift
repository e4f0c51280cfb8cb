// What is logged about the link to the primary while it is down: which node, and the reason in words.
//
// The link is retried every few seconds for as long as the primary is away. Each reason is logged when it first occurs,
// and then once a minute, with the number of attempts in between. Knows neither clock nor socket.

import Replication
import System

struct LinkLog {
    /// Minimum interval between lines about the same reason.
    static let interval = Nanoseconds.seconds(60)
    /// Maximum number of reasons tracked; further ones are not logged before the minute is over.
    private static let reasonsMax = 8

    private var loggedAt: [String: SteadyInstant] = [:]
    private var attempts = 0

    /// Records a failed link, or a failed attempt to connect. Returns the number of failures since the last line, if a
    /// line is due.
    mutating func failed(_ reason: String, now: SteadyInstant) -> Int? {
        attempts += 1
        loggedAt = loggedAt.filter { now - $0.value < LinkLog.interval }
        guard loggedAt[reason] == nil, loggedAt.count < LinkLog.reasonsMax else { return nil }
        loggedAt[reason] = now
        defer { attempts = 0 }
        return attempts
    }

    /// Forgets all reasons: the link is up, or goes to another node, so the next failure is news.
    mutating func reset() { self = LinkLog() }
}

extension UpstreamLink.Failure {
    /// Text for the log.
    ///
    /// - Parameters:
    ///   - connection: Why the connection failed, if that is the reason.
    ///   - timeout: `repl-timeout`.
    func words(connection: String, timeout: Nanoseconds) -> String {
        switch self {
        case .connection: connection
        case .silence: "the primary has sent nothing for \(timeout.secondsRoundedDown) s (repl-timeout)"
        case .refused(let text): "the primary refuses: \(text)"
        case .unexpected(let text): "unexpected reply from the primary: \(text)"
        case .stream(let error): "the stream is damaged at \(error.offset): \(error.reason)"
        }
    }
}

extension DownstreamLink.Failure {
    /// Text for the log.
    var words: String {
        switch self {
        case .connection: "the connection was lost"
        case .silence: "no data received for repl-timeout"
        case .outputLimit: "its unread output exceeds client-output-buffer-limit replica"
        case .unexpected: "it sent an unexpected command"
        case .snapshot: "its snapshot failed"
        case .history: "this node's history has changed: it must resync"
        case .refused: "it was refused with an error"
        }
    }
}
