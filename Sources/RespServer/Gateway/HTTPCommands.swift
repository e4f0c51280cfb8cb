// Commands of RESP that are run for requests over HTTP: they change policies, rules and keys.
//
// Such a request runs the command itself, with its admission, its locks, its statistics and its log lines, and turns
// the reply into a response. So both protocols change the same things in the same way. A command may leave work for
// the files thread; its reply then arrives later, and the session keeps what the answer needs.

import HTTP
import LimiterEngine
import RESP

/// What became of a command.
enum HTTPCommandOutcome {
    case replied(ReplyValue)
    /// The reply comes later, for `HTTPSession.pending`.
    case waits
    case refused(HTTPProblem)
}

/// An answer that waits for the reply to its command.
struct PendingHTTPAnswer {
    let action: AdminCommand
    let words: [[UInt8]]
    let note: HTTPNote
    let correlation: [UInt8]
}

extension EventLoop {
    /// Runs a command whose route has been admitted.
    ///
    /// - Precondition: The batch is empty.
    func runCommand(_ words: [[UInt8]], for connection: Connection) -> HTTPCommandOutcome {
        precondition(batch.count == 0)
        arguments.load(words)
        defer { arguments.removeAll() }
        guard let number = lookup.find(arguments[0]), case .success(let command) = commands.resolve(number, arguments)
        else { preconditionFailure("a route runs a command that does not exist") }
        reply.version = .resp3
        let start = reply.count
        let changes = keyspace.changesMade
        if let plan = exclusivePlan(for: command, connection) {
            let refusal = holding(plan) { () -> HTTPProblem? in
                // Acquiring the locks may have taken long: see `admitAndRun`. If the connection has been killed
                // meanwhile, no answer is sent, and nothing may happen.
                guard !connection.flags.contains(.closeSoon) else {
                    return HTTPProblem(.unavailable, "the connection was closed")
                }
                readClocks()
                if let problem = self.refusal(of: command) { return problem }
                run(command, for: connection)
                return nil
            }
            if let refusal { return .refused(refusal) }
        } else {
            run(command, for: connection)
        }
        let hasChanged = keyspace.changesMade != changes
        if hasChanged {
            durability.noteChanges()
            buffers.changes[buffers.servedCount - 1] = true
        }
        if !followUp.isEmpty { finishFollowUp(for: connection, replyStart: start, hasChanged: hasChanged) }
        if connection.flags.contains(.blocked) { return .waits }
        let value = ReplyValue(reading: Array(reply.bytes[start...]))
        reply.truncate(to: start)
        return .replied(value)
    }

    /// The response to a request that has waited for the reply to its command; nil if the connection is another kind.
    func responseBytes(to connection: Connection, _ bytes: [UInt8]) -> [UInt8]? {
        guard case .http(let session) = connection.session, let pending = session.pending else { return nil }
        session.pending = nil
        return pending.correlation.withUnsafeBufferPointer { correlation in
            var note = pending.note
            if let base = correlation.baseAddress { note.correlation = ByteView(base: base, count: correlation.count) }
            http.response.begin(.noContent)
            AdminCommand.fill(pending.action, pending.words, ReplyValue(reading: bytes), note, on: self)
            if note.flags.contains(.closes) { connection.flags.insert(.closeAfterReply) }
            let start = reply.count
            append(http.response, note)
            defer { reply.truncate(to: start) }
            return Array(reply.bytes[start...])
        }
    }
}

extension ReplyValue {
    /// The value of a complete reply that this server has written.
    fileprivate init(reading bytes: [UInt8]) {
        guard let (value, _) = try? ReplyValue.decode(bytes) else {
            preconditionFailure("a reply that does not decode")
        }
        self = value
    }
}
