// From a RESP request to calls of the batch: together with those of other connections, or as a batch of one.

import LimiterEngine
import RESP
import System

extension EventLoop {
    /// Adds the request in `arguments` to the batch, or replies with the error in it. False if it is not one for the
    /// batch.
    @inline(__always)
    func enqueue(
        _ connection: Connection, _ session: RESPSession, _ command: Int, _ batched: BatchedCommand
    ) -> Bool {
        session.lastCommand = Int16(truncatingIfNeeded: command)
        session.lastSubcommand = -1
        if batch.room == 0 { decideBatch() }
        buffers.handled &+= 1
        do throws(ArgumentProblem) {
            let added = try batched.read(self)
            add(added, session, command, batched)
        } catch {
            guard error != .notBatched else {
                // Counted when it runs.
                buffers.handled &-= 1
                return false
            }
            decideBatch()
            refuse(commands.flat[command], connection, error.text)
        }
        return true
    }

    @inline(__always)
    private func add(_ added: Int, _ session: RESPSession, _ command: Int, _ batched: BatchedCommand) {
        var note = Batch.Note(
            owner: Int32(truncatingIfNeeded: buffers.servedCount &- 1), command: Int16(truncatingIfNeeded: command),
            form: batched.form, version: session.version)
        if batched == .scriptBySHA1 || batched == .scriptByText {
            note.form = batchedScript.form
            note.script = batchedScript.number
        }
        batch.add(added, note)
    }

    /// Decides and answers the request in `arguments` on its own, as a batch of one. False if it is not one for the
    /// batch.
    ///
    /// - Precondition: The batch is empty, and the command has been admitted.
    func decideAlone(
        _ command: CommandReference, _ batched: BatchedCommand, for connection: Connection
    ) -> Bool {
        precondition(batch.count == 0)
        if !isTimestampFresh { lastTimestamp = SteadyInstant.now() }
        do throws(ArgumentProblem) {
            add(try batched.read(self), connection.resp, command.index, batched)
            // Dispatch notifies the journal: it checks for changes after each command.
            if decideAndAnswer() { keyspace.noteChange() }
            noteDecidedAlone(command, for: connection)
            batch.removeAll()
        } catch {
            guard error != .notBatched else { return false }
            refuse(command, connection, error.text)
        }
        return true
    }

    /// Answers the request in `arguments`, which is malformed.
    @inline(never)
    private func refuse(_ command: CommandReference, _ connection: Connection, _ text: String) {
        reply.version = connection.resp.version
        reply.error(text)
        noteFailure(command.index, text)
        noteRefused(command, for: connection)
        endReply()
    }
}
