// Work that a command leaves for when only the loop's turn is held: switching the log, which takes every stripe,
// writing log lines, and jobs of other threads, which no loop may wait for: file operations, and changes of the node's
// role.
//
// A command adds to the loop's `followUp` while it runs, also inside EXEC. The loop performs the work when everything
// that the command or the transaction held has been released, before sending its reply. The reply waits for the jobs,
// so whatever a command has changed is in force for every call that is sent after its reply.

import RESP
import System

/// Work left to do after a command.
struct FollowUp {
    /// A job of another thread.
    enum Job: Sendable {
        case files(FileJobs.Job)
        case replication(ReplicationHandle.Change)
    }

    /// Settings have changed: `appendonly` must be applied, and other loops may need another time-out.
    var switchesLog = false
    /// Jobs of other threads, and the offset in the reply buffer where each one's reply belongs.
    private(set) var jobs: [(job: Job, replyOffset: Int)] = []
    /// Lines for the log.
    var notes: [LogNote] = []

    var isEmpty: Bool { !switchesLog && jobs.isEmpty && notes.isEmpty }

    /// Adds a job; its reply is inserted at this offset of the replies.
    mutating func add(_ job: Job, replyOffset: Int) { jobs.append((job, replyOffset)) }
}

/// The reply of a command or a transaction that waits for jobs of other threads. The jobs are done one after the other,
/// in the order of the commands; then the connection gets the whole reply.
final class PendingReply: Sendable {
    private struct State {
        /// What is left to do, the next last, and the bytes of the reply after each job's own.
        var steps: [(job: FollowUp.Job, after: [UInt8])]
        var bytes: [UInt8]
        /// The command, or a job, has changed data.
        var hasChanged: Bool
    }

    private let connection: Connection
    /// The protocol version of the reply.
    let version: ProtocolVersion
    private let state: Locked<State>

    /// - Parameters:
    ///   - bytes: The reply before the first job's.
    ///   - steps: The jobs, each with the bytes of the reply between its own reply and that of the next.
    ///   - hasChanged: The command has changed data in memory.
    init(
        to connection: Connection, version: ProtocolVersion, bytes: [UInt8],
        steps: [(job: FollowUp.Job, after: [UInt8])], hasChanged: Bool
    ) {
        self.connection = connection
        self.version = version
        state = Locked(State(steps: steps.reversed(), bytes: bytes, hasChanged: hasChanged))
    }

    /// Starts the next job, or sends the reply after the last. Returns at once.
    func proceed() {
        let server = connection.loop.server
        let (next, bytes, hasChanged) = state.withLock { ($0.steps.last?.job, $0.bytes, $0.hasChanged) }
        switch next {
        case .files(let job): server.fileJobs.submit(job, for: self, server)
        case .replication(let change): server.replication.ask(.change(change, self))
        case nil: connection.loop.mailbox.post(.replyDone(connection, bytes, hasChanged: hasChanged))
        }
    }

    /// The job in progress is done: its reply, and whether it has changed data.
    func answer(_ reply: [UInt8], hasChanged: Bool = false) {
        state.withLock { state in
            state.bytes += reply + state.steps.removeLast().after
            state.hasChanged = state.hasChanged || hasChanged
        }
        proceed()
    }
}

extension EventLoop {
    /// Performs the work left by the command just run.
    ///
    /// - Parameters:
    ///   - start: Where the command's reply begins in the reply buffer.
    ///   - hasChanged: The command has changed keys, so its reply may have to wait for the disk.
    func finishFollowUp(for connection: Connection, replyStart start: Int, hasChanged: Bool) {
        let work = followUp
        followUp = FollowUp()
        if work.switchesLog {
            server.switchLog()
            for loop in server.loops where loop !== self { loop.mailbox.post(.settingsChanged) }
        }
        for note in work.notes { server.log.notice(note.message, note.fields) }
        guard let first = work.jobs.first else { return }
        let ends = work.jobs.dropFirst().map(\.replyOffset) + [reply.count]
        let pending = PendingReply(
            to: connection, version: connection.respIfAny?.version ?? .resp3,
            bytes: Array(reply.bytes[start..<first.replyOffset]),
            steps: zip(work.jobs, ends).map { ($0.job, Array(reply.bytes[$0.replyOffset..<$1])) },
            hasChanged: hasChanged)
        reply.truncate(to: start)
        block(connection)
        pending.proceed()
    }
}
