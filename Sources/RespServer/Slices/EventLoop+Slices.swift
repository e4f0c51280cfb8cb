// How an event loop yields: no turn lasts long, whatever clients request.
//
//   sliced    a long command is divided into slices; each turn runs one slice of one such command, in rotation; its
//             client waits (`block`)
//   deferred  a turn that has lasted `turnMax` runs no further commands except limiter calls in batches: connections
//             that have other commands wait, in order, and the next turn begins with them
//
// While there is either, the loop does not sleep between turns.

import LimiterEngine
import RESP
import System
import Transport

extension EventLoop {
    /// A turn that has lasted this long defers further commands.
    static let turnMax = Nanoseconds.milliseconds(2)

    /// Whether any work is left over for the next turn.
    var hasWorkLeft: Bool { !sliced.isEmpty || !deferred.isEmpty || !deliveries.isEmpty }

    /// Whether this turn has reached its time limit, as of the end of the last command or batch.
    @inline(__always)
    var isTurnSpent: Bool { lastTimestamp - steady > turnLimit }

    // MARK: Deferred

    /// Defers a connection's next command to the next turn. Its input is kept.
    func deferCommands(of connection: Connection) {
        connection.flags.insert(.deferred)
        deferred.append(connection)
    }

    /// Serves connections whose commands were deferred, in order, until the turn's time limit.
    func resumeDeferred() {
        guard !deferred.isEmpty else { return }
        let waiting = deferred
        deferred.removeAll(keepingCapacity: true)
        for (position, connection) in waiting.enumerated() {
            guard !isTurnSpent else {
                // Connections that were deferred again just now have had their turn.
                deferred.insert(contentsOf: waiting[position...], at: 0)
                break
            }
            guard !connection.flags.contains(.closed) else { continue }
            connection.flags.remove(.deferred)
            updateInterest(connection)
            if buffers.isFull { finishWave() }
            if let pending = connection.channel.input { processPending(connection, pending) }
        }
        finishWave()
    }

    // MARK: Sliced

    /// Runs a command's work: at once if it is done in one slice, else the client waits. Inside EXEC, all of it at
    /// once.
    func perform(_ work: any SlicedWork, _ context: CommandContext) {
        guard !isExecuting else { return performInTransaction(work, to: context.reply) }
        var budget = StepBudget.slice
        guard !work.advance(keyspace, now: now, &budget) else { return write(work, to: context.reply) }
        let copies = (0..<arguments.count).map { arguments[$0].bytes }
        let job = SlicedCommand(work, arguments: copies, for: context.client)
        block(context.client)
        sliced.append(job)
        begunSlices = job
    }

    private func performInTransaction(_ work: any SlicedWork, to reply: ReplyBuffer) {
        var budget = StepBudget.transaction(steps: transactionSteps)
        let isDone = work.advance(keyspace, now: now, &budget)
        transactionSteps = max(0, budget.steps)
        guard !isDone else { return write(work, to: reply) }
        work.cancel(keyspace)
        reply.error(work.refusalInTransaction)
    }

    private func write(_ work: any SlicedWork, to reply: ReplyBuffer) {
        work.writeReply(to: reply)
        ownMessages += work.ownMessages
        guard let elements = work.elements else { return }
        for piece in elements.pieces { reply.append(piece) }
        reply.append(elements.buffer.bytes)
    }

    /// Runs one slice of one command in progress.
    func advanceSliced() {
        guard !sliced.isEmpty else { return }
        let job = sliced.removeFirst()
        let began = SteadyInstant.now()
        defer { lastTimestamp = SteadyInstant.now() }
        // It was admitted before it waited, and is checked again now, unless it already has visible effects.
        if !job.work.mustFinish, case .refuse(let problem) = admit(job.command, job.connection) {
            job.work.cancel(keyspace)
            noteRejection(problem)
            return finish(job, failed: true) { $0.error(problem) }
        }
        var budget = StepBudget.slice
        let isDone = keyspace.inDatabase(job.connection.resp.database) {
            job.work.advance(keyspace, now: now, &budget)
        }
        job.busy += SteadyInstant.now() - began
        guard !isDone else { return finish(job, failed: false, job.work.writeReply) }
        sliced.append(job)
        checkSize(of: job)
    }

    /// Elements found so far count as unread output of the client.
    private func checkSize(of job: SlicedCommand) {
        guard !job.connection.flags.contains(.closed) else { return }
        let limit = outputLimit(for: job.connection).hardBytes
        guard limit > 0, let elements = job.work.elements, elements.count >= limit else { return }
        closeForOutput(job.connection, elements.count)
    }

    private func finish(_ job: SlicedCommand, failed: Bool, _ write: (ReplyBuffer) -> Void) {
        arguments.load(job.arguments)
        note(job, failed: failed)
        arguments.removeAll()
        let connection = job.connection
        guard !connection.flags.contains(.closed) else { return }
        defer {
            for message in job.work.ownMessages {
                deliver(connection.resp.version == .resp3 ? message.resp3 : message.resp2, to: connection)
            }
        }
        let head = ReplyBuffer(capacity: 64)
        head.version = connection.resp.version
        write(head)
        unblock(connection) {
            send(connection, head.bytes[...])
            guard !failed, let elements = job.work.elements else { return }
            for piece in elements.pieces { send(connection, piece: piece) }
            send(connection, elements.buffer.bytes[...])
        }
    }

    /// Cancels the sliced command of a connection that is closing. False if there is none.
    func endSliced(of connection: Connection) -> Bool {
        guard let position = sliced.firstIndex(where: { $0.connection === connection }) else { return false }
        if !sliced[position].work.mustFinish { sliced.remove(at: position).work.cancel(keyspace) }
        return true
    }
}
