// The only place where calls of limits and counters are decided: those of many connections in one batch, in the order
// in which requests arrived, or a single one (inside EXEC, on a monitored server, on a replica) as a batch of one.
// Sessions add calls, and format the decisions.
//
// A call of the batch has passed the same admission check as any command: either it was eligible for the fast path, or
// `admit` allowed it to run.

import LimiterEngine
import RESP
import System

extension EventLoop {
    /// Decides the queued calls, in order, and writes their replies.
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

    /// Decides the calls and writes their replies. Returns whether any has changed state.
    @inline(__always)
    func decideAndAnswer() -> Bool {
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
            let problem = Session.answer(note, call, groups[group], on: self)
            var end = position &+ 1
            if note.form.isGroup {
                end = position &+ groups[group].count
                group &+= 1
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
}
