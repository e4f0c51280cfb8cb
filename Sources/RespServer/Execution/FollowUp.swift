// What a command leaves to be done once nothing is held but the loop's turn: settings taking effect, which takes locks
// and every stripe, lines of the log, and work on files, which no loop may wait for.
//
// A command adds to the loop's `followUp` while it runs, also inside EXEC; the loop sees to it when everything that the
// command or the transaction held has been released, and before its reply is sent.

import RESP
import System

/// What is left to be done after a command.
struct FollowUp {
    /// Settings have changed and are to take effect.
    var appliesSettings = false
    /// Work on files, and where in the reply buffer each one's answer belongs.
    private(set) var jobs: [(job: FileJobs.Job, replyOffset: Int)] = []
    /// Lines for the log.
    var notes: [LogNote] = []

    var isEmpty: Bool { !appliesSettings && jobs.isEmpty && notes.isEmpty }

    /// Leaves work on a file to the thread for that; its answer will stand at this place of the replies.
    mutating func add(_ job: FileJobs.Job, replyOffset: Int) { jobs.append((job, replyOffset)) }
}

extension EventLoop {
    /// Sees to what the command just run has left.
    ///
    /// - Parameters:
    ///   - start: Where the command's reply begins in the reply buffer.
    ///   - hasChanged: The command has changed keys, so that its answer may have to wait for the disk.
    func finishFollowUp(for connection: Connection, replyStart start: Int, hasChanged: Bool) {
        let work = followUp
        followUp = FollowUp()
        if work.appliesSettings {
            server.applyCurrent()
            refreshSettings()
            for loop in server.loops where loop !== self { loop.mailbox.post(.settingsChanged) }
        }
        for note in work.notes { server.log.notice(note.message, note.fields) }
        guard !work.jobs.isEmpty else { return }
        // The replies around each answer; the connection waits for the whole.
        var pieces: [[UInt8]] = []
        var piece = start
        for (_, offset) in work.jobs {
            pieces.append(Array(reply.bytes[piece..<offset]))
            piece = offset
        }
        pieces.append(Array(reply.bytes[piece..<reply.count]))
        reply.truncate(to: start)
        block(connection)
        server.fileJobs.submit(
            FileJobs.Request(
                jobs: work.jobs.map(\.job), pieces: pieces, version: connection.resp.version, hasChanged: hasChanged,
                connection: connection))
    }
}
