// The only way in which calls of limits and counters are decided: many connections' in one batch, in the order in which
// requests came, or one by itself (inside EXEC, on a monitored server, on a replica) as a batch of one.
//
// A call of the batch has passed the same gate as any command: either nothing keeps such calls off the fast path, or
// `admit` has let it run.

import LimiterEngine
import RESP
import System

extension EventLoop {
    /// Adds the request in `arguments` to the batch, or answers what is wrong with it.
    @inline(__always)
    func enqueue(_ connection: Connection, _ command: Int, _ batched: BatchedCommand) {
        connection.lastCommand = Int16(truncatingIfNeeded: command)
        connection.lastSubcommand = -1
        if batch.room == 0 { decideBatch() }
        buffers.handled &+= 1
        do throws(ArgumentProblem) {
            let added = try batched.read(self)
            add(added, connection, command, batched.form)
        } catch {
            decideBatch()
            refuse(commands.flat[command], connection, error.text)
        }
    }

    @inline(__always)
    private func add(_ added: Int, _ connection: Connection, _ command: Int, _ form: Batch.ReplyForm) {
        batch.add(
            added,
            Batch.Note(
                owner: Int32(truncatingIfNeeded: buffers.servedCount &- 1), command: Int16(truncatingIfNeeded: command),
                form: form, version: connection.version))
    }

    /// Decides the calls waiting, in order, and writes their replies.
    @inline(__always)
    func decideBatch() {
        if batch.count > 0 { decideCalls() }
    }

    @inline(never)
    private func decideCalls() {
        if decideAndAnswer() { durability.noteChanges() }
        noteDecidedBatch()
        batch.removeAll()
    }

    /// Decides and answers the request in `arguments` by itself, as a batch of one.
    ///
    /// - Precondition: Nothing waits in the batch, and the command has been admitted.
    func decideAlone(_ command: CommandReference, _ batched: BatchedCommand, for connection: Connection) {
        precondition(batch.count == 0)
        if !isTimestampFresh { lastTimestamp = SteadyInstant.now() }
        do throws(ArgumentProblem) {
            add(try batched.read(self), connection, command.index, batched.form)
            // Dispatch, which looks for changes after each command, tells the journal.
            if decideAndAnswer() { keyspace.noteChange() }
            noteDecidedAlone(command, for: connection)
            batch.removeAll()
        } catch {
            refuse(command, connection, error.text)
        }
    }

    /// Decides the calls and writes their replies. Returns whether any has changed something.
    @inline(__always)
    private func decideAndAnswer() -> Bool {
        let count = batch.count
        let calls = batch.calls
        let notes = batch.notes
        let groups = batch.groups
        keyspace.decide(calls, count: count, groups: groups, now: now)
        var hasChanges = false
        var group = 0
        var position = 0
        var owner: Int32 = -1
        while position < count {
            let note = notes[position]
            let call = calls + position
            if note.owner != owner {
                owner = note.owner
                reply.version = note.version
            }
            let problem: String?
            var end = position &+ 1
            switch note.form {
            case .throttle: problem = ThrottleArguments.write(call, to: reply)
            case .limit: problem = LimitReply.write(call, to: reply)
            case .group:
                end = position &+ groups[group].count
                problem = LimitReply.write(groups[group], call, to: reply)
                group &+= 1
            case .sum: problem = LimitReply.sum(call, to: reply)
            case .value: problem = answerValue(call)
            }
            if let problem { noteFailure(Int(note.command), problem) }
            buffers.replyEnds[Int(owner)] = reply.count
            while position < end {
                if calls[position].hasChangedState {
                    hasChanges = true
                    buffers.changes[Int(owner)] = true
                }
                position &+= 1
            }
        }
        return hasChanges
    }

    @inline(never)
    private func answerValue(_ call: UnsafeMutablePointer<LimitCall>) -> String? {
        let problem = LimitReply.value(call, to: reply)
        if problem == nil { _ = context.noteLookup(call.pointee.decision.outcome == .allowed) }
        return problem
    }

    /// Answers the request in `arguments`, which is malformed.
    @inline(never)
    private func refuse(_ command: CommandReference, _ connection: Connection, _ text: String) {
        reply.version = connection.version
        reply.error(text)
        noteFailure(command.index, text)
        noteRefused(command, for: connection)
        endReply()
    }
}
