// From a RESP request to calls of the batch: together with those of other connections, or as a batch of one.

import LimiterEngine
import RESP
import System

extension EventLoop {
    /// Adds the request in `arguments` to the batch, or replies with the error in it. False if it is not one for the
    /// batch.
    @inline(__always)
    func enqueue(
        _ connection: Connection, _ session: RESPSession, _ command: Int, _ batched: BatchedCommand,
        inDatabase: Bool = false
    ) -> Bool {
        session.lastCommand = Int16(truncatingIfNeeded: command)
        session.lastSubcommand = -1
        if batch.room == 0 { decideBatch() }
        buffers.handled &+= 1
        do throws(ArgumentProblem) {
            let added = try batched.read(self)
            if inDatabase { numberKeys(added) }
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

    /// As `enqueue`, for a session that has selected another database than 0: the batch gets copies of the keys, each
    /// with the number of the database before it.
    @inline(never)
    func enqueueInDatabase(
        _ connection: Connection, _ session: RESPSession, _ command: Int, _ batched: BatchedCommand
    ) -> Bool {
        batch.database = session.database
        defer { batch.database = 0 }
        if !batch.hasKeyMemory(nameBytesMax(batched)) { decideBatch() }
        return enqueue(connection, session, command, batched, inDatabase: true)
    }

    /// Upper bound on the bytes of the names of the request in `arguments`.
    @inline(__always)
    private func nameBytesMax(_ batched: BatchedCommand) -> Int {
        switch batched {
        // Their keys follow other arguments.
        case .takeAll, .scriptBySHA1, .scriptByText:
            (1..<arguments.count).reduce(0) { $0 + arguments[$1].count + 1 }
        default: arguments[1].count &+ 1
        }
    }

    /// Moves the keys of calls that have been read but not yet added into the database of the batch, which is not 0.
    ///
    /// - Precondition: The batch has memory for the names.
    @inline(__always)
    private func numberKeys(_ added: Int) {
        let calls = batch.next
        guard added > 1 else {
            // RL.CHECK has written its key with the number already.
            if !calls.pointee.isNumbered { number(calls, in: batch.keyMemory(calls.pointee.keyLength &+ 1)) }
            return
        }
        var name = batch.keyMemory((0..<added).reduce(0) { $0 + calls[$1].keyLength + 1 })
        for position in 0..<added {
            number(calls + position, in: name)
            name += calls[position].keyLength
        }
    }

    @inline(__always)
    private func number(_ call: UnsafeMutablePointer<LimitCall>, in name: UnsafeMutablePointer<UInt8>) {
        let count = call.pointee.keyLength
        name.pointee = UInt8(truncatingIfNeeded: batch.database)
        UnsafeMutableRawPointer(name + 1).copyName(from: call.pointee.key, count: count)
        call.pointee.setNumberedKey(name, count: count &+ 1)
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
            let added = try batched.read(self)
            if batch.database != 0 { numberKeys(added) }
            add(added, connection.resp, command.index, batched)
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

extension UnsafeMutableRawPointer {
    /// Copies a key. Two overlapping words cover the usual lengths, for which a call of memcpy takes longer.
    @inline(__always)
    fileprivate func copyName(from source: UnsafeRawPointer, count: Int) {
        guard count >= 8, count <= 16 else { return copyMemory(from: source, byteCount: count) }
        let (head, tail) = (
            source.loadUnaligned(as: UInt64.self), (source + (count &- 8)).loadUnaligned(as: UInt64.self)
        )
        storeBytes(of: head, as: UInt64.self)
        (self + (count &- 8)).storeBytes(of: tail, as: UInt64.self)
    }
}
