// Work that a command leaves for when only the loop's turn is held: applying settings, which takes locks and every
// stripe, writing log lines, and file operations, which no loop may wait for.
//
// A command adds to the loop's `followUp` while it runs, also inside EXEC. The loop performs the work when everything
// that the command or the transaction held has been released, before sending its reply.

import RESP
import System

/// Work left to do after a command.
struct FollowUp {
    /// Settings have changed and must be applied.
    var appliesSettings = false
    /// File operations, and the offset in the reply buffer where each one's reply belongs.
    private(set) var jobs: [(job: FileJobs.Job, replyOffset: Int)] = []
    /// Lines for the log.
    var notes: [LogNote] = []

    var isEmpty: Bool { !appliesSettings && jobs.isEmpty && notes.isEmpty }

    /// Adds a file operation for the files thread; its reply is inserted at this offset of the replies.
    mutating func add(_ job: FileJobs.Job, replyOffset: Int) { jobs.append((job, replyOffset)) }
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
        if work.appliesSettings {
            server.applyCurrent()
            refreshSettings()
            for loop in server.loops where loop !== self { loop.mailbox.post(.settingsChanged) }
        }
        for note in work.notes { server.log.notice(note.message, note.fields) }
        guard !work.jobs.isEmpty else { return }
        // The replies around each inserted one; the connection waits for the whole.
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
                jobs: work.jobs.map(\.job), pieces: pieces, version: connection.respIfAny?.version ?? .resp3,
                hasChanged: hasChanged, connection: connection))
    }
}
