// From a parsed RESP request to its handler: the fast path of limiter calls, which go into the batch, and for
// everything else whether it exists, whether it may run (Execution/Admission), and what exclusive access it needs
// (Execution/ExclusivePlan).

import CLinux
import Glibc
import LimiterEngine
import RESP
import System

extension EventLoop {
    /// What became of a request.
    enum Dispatched {
        /// It is in the batch.
        case batched
        /// It was answered or queued, and may have changed anything, or the client waits for its reply.
        case handled
        /// The connection was suspended; the request is handled again later.
        case suspended
    }

    /// Runs, queues or batches the request in `arguments`.
    @inline(__always)
    func dispatch(_ connection: Connection, _ session: RESPSession) -> Dispatched {
        let number = lookup.find(arguments[0])
        if let number, let command = batched[number].command(arguments.count) {
            if Admission.isOnFastPath(connection.word, state) {
                if enqueue(connection, session, number, command) { return .batched }
            } else if Admission.isOnFastPathInDatabase(connection.word, state) {
                // Only the selected database keeps it off: `otherDatabase` is set.
                if enqueueInDatabase(connection, session, number, command) { return .batched }
            }
        }
        return dispatchSlowly(connection, session, number) ? .handled : .suspended
    }

    @inline(never)
    private func dispatchSlowly(_ connection: Connection, _ session: RESPSession, _ number: Int?) -> Bool {
        if session.flags.contains(.otherDatabase) { select(session.database) }
        // Between requests, and on the fast path, database 0 is selected. A command that selects it does so itself.
        defer { if session.flags.contains(.otherDatabase) { select(0) } }
        guard !isTurnSpent else {
            deferCommands(of: connection)
            return false
        }
        decideBatch()
        buffers.handled &+= 1
        reply.version = session.version
        let start = reply.count
        session.flags.remove(.replySkip)
        let isSkipped = session.flags.contains(.replySkipNext)
        if isSkipped {
            session.flags.remove(.replySkipNext)
            session.flags.insert(.replySkip)
        }
        let changes = keyspace.changesMade
        // Confirmations of subscriptions are messages, which CLIENT REPLY does not suppress.
        var isMessage = false
        switch admitAndRun(connection, number) {
        case .run(let command):
            // It may have changed the state that admits the next one: MONITOR, CLIENT PAUSE, an EXEC with one of these.
            if !command.flags.isDisjoint(with: [.admin, .transactionControl]) { refreshState() }
            isMessage = command.flags.isSuperset(of: [.pubsub, .whileSubscribed])
        case .queue(let command): queue(command, for: connection)
        case .refuse(let problem):
            let text = noteRefusal(problem, connection)
            reply.error(text)
            noteRejection(text)
            if let number { commandStatistics.reject(number) }
        case .suspend:
            // Runs later, and CLIENT REPLY SKIP still applies to it then.
            if isSkipped { session.flags.insert(.replySkipNext) }
            suspend(connection)
            return false
        case .hangUp:
            connection.flags.insert(.closeAfterReply)
        }
        // A command that was denied, or changed nothing, does not wait for the disk and is not collected.
        let hasChanged = keyspace.changesMade != changes
        if hasChanged { noteChange() }
        if !followUp.isEmpty { finishFollowUp(for: connection, replyStart: start, hasChanged: hasChanged) }
        if !isMessage, !session.flags.isDisjoint(with: [.replyOff, .replySkip]) { reply.truncate(to: start) }
        if !ownMessages.isEmpty { appendOwnMessages(to: connection) }
        endReply()
        flushReplies()
        return true
    }

    /// Makes the keys of commands, and of calls that are read, those of a database.
    func select(_ database: Int) {
        keyspace.database = database
        batch.database = database
    }

    private func appendOwnMessages(to connection: Connection) {
        for message in ownMessages { reply.append(connection.resp.version == .resp3 ? message.resp3 : message.resp2) }
        ownMessages.removeAll()
    }

    /// The outcome of admitting a request.
    enum Outcome {
        case run(CommandReference)
        case queue(CommandReference)
        case refuse(String)
        case suspend
        /// No reply; the connection is closed.
        case hangUp
    }

    /// Runs the request if it is admitted, with all exclusive access that it needs; returns `run` if it ran.
    private func admitAndRun(_ connection: Connection, _ number: Int?) -> Outcome {
        let outcome = resolveAndAdmit(connection, number)
        guard case .run(let command) = outcome else { return outcome }
        guard let plan = exclusivePlan(for: command, connection) else {
            run(command, for: connection)
            return outcome
        }
        return holding(plan) {
            // Acquiring the locks may have taken long, with this turn lent: meanwhile this connection may have been
            // killed, writes paused or the node demoted, and other clients may have been told so.
            if connection.flags.contains(.closeSoon) { return .hangUp }
            readClocks()
            let outcome = resolveAndAdmit(connection, number)
            if case .run(let command) = outcome { run(command, for: connection) }
            return outcome
        }
    }

    private func resolveAndAdmit(_ connection: Connection, _ number: Int?) -> Outcome {
        guard let number else {
            // A browser tricked into talking to this server begins like this.
            if arguments[0].matches("POST") || arguments[0].matches("HOST:") {
                noteHTTP(from: connection)
                return .hangUp
            }
            noteUnsupported(.command(arguments[0]), from: connection)
            return .refuse(unknownCommand(from: connection))
        }
        let command: CommandReference
        switch commands.resolve(number, arguments) {
        case .success(let found): command = found
        case .failure(let problem):
            if problem.isUnknownSubcommand {
                noteUnsupported(.subcommand(arguments[1], of: arguments[0]), from: connection)
            }
            return .refuse(problem.text)
        }
        connection.resp.lastCommand = Int16(truncatingIfNeeded: number)
        connection.resp.lastSubcommand = Int16(truncatingIfNeeded: command.subcommand ?? -1)
        return admit(command, connection)
    }

    /// The outcome of a well-formed request, given the current state of the connection and the server.
    func admit(_ command: CommandReference, _ connection: Connection) -> Outcome {
        assert(connection.flags.isDisjoint(with: [.suspended, .handedOver]), "input that has to wait")
        refreshState()
        switch Admission.decide(facts(of: command, connection), connection.resp.facts, state) {
        case .run: return .run(command)
        case .queue: return .queue(command)
        case .suspend: return .suspend
        case .refuse(let refusal): return .refuse(text(of: refusal, command))
        }
    }

    private func facts(of command: CommandReference, _ connection: Connection) -> RequestFacts {
        var facts = RequestFacts(command.flags, isWrite: isWrite(command, connection))
        if command.index == commands.exec, let transaction = connection.resp.transaction {
            facts.tolerates.formIntersection(transaction.tolerates)
        }
        return facts
    }

    func text(of refusal: Refusal, _ command: CommandReference) -> String {
        switch refusal {
        case .unauthenticated: "NOAUTH Authentication required."
        case .inTransaction: "ERR Command not allowed inside a transaction"
        case .diskFailed: durability.refusalText
        case .lacksReplicas: "NOREPLICAS Not enough good replicas to write."
        case .readOnly: "READONLY You can't write against a read only replica."
        case .subscribed:
            "ERR Can't execute '\(command.fullName)': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                + "RESET are allowed in this context"
        case .stale: "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
        case .loading: "LOADING Redis is loading the dataset in memory"
        case .lacksState: "MASTERDOWN Link with MASTER is down and this replica has not received its dataset yet."
        }
    }

    /// Records that a request in a transaction was refused: EXEC will be refused, too. If EXEC itself was refused, the
    /// transaction ends. Returns the error text.
    private func noteRefusal(_ text: String, _ connection: Connection) -> String {
        guard arguments[0].matches("EXEC") else {
            if connection.resp.flags.contains(.inTransaction) { connection.resp.transaction?.isAborted = true }
            return text
        }
        endTransaction(of: connection)
        let reason = text.hasPrefix("ERR ") ? String(text.dropFirst(4)) : text
        return "EXECABORT Transaction discarded because of: \(reason)"
    }

    /// Whether the request in `arguments` may change keys, now or, as EXEC, on behalf of others.
    func isWrite(_ command: CommandReference, _ connection: Connection) -> Bool {
        if command.flags.contains(.write) {
            // A call for 0 units is a query, which is allowed anywhere at any time.
            return !(command.batched == .throttle && arguments.count == 6 && arguments[5].equals("0"))
        }
        if command.flags.contains(.script) { return isWritingScript(command) }
        guard command.flags.contains(.transactionControl), command.index == commands.exec else { return false }
        return connection.resp.transaction?.hasWrite ?? false
    }

    /// Records that the request just run has changed data: its reply may have to wait, and the change has to be
    /// collected.
    private func noteChange() {
        durability.noteChanges()
        buffers.changes[buffers.servedCount - 1] = true
    }

    private func noteHTTP(from connection: Connection) {
        counters.add(.httpRequests, 1)
        server.warn(
            .http, "closing client: it sent HTTP; possibly a browser tricked into it, or a wrong port",
            address: connection.peerAddress, id: connection.id)
    }

    private func unknownCommand(from connection: Connection) -> String {
        var shown = ""
        // Client libraries put the text into exceptions and logs. Arguments sent before authentication, or to a name
        // similar to AUTH, may contain a password.
        if connection.resp.flags.contains(.unauthenticated) || isNearlyAuthentication(arguments[0]) {
            return "ERR unknown command '\(arguments[0].shown)', with args beginning with: "
        }
        var index = 1
        while index < arguments.count, shown.utf8.count < 128 {
            shown += "'\(arguments[index].shown)' "
            index += 1
        }
        return "ERR unknown command '\(arguments[0].shown)', with args beginning with: \(shown)"
    }

    private func isNearlyAuthentication(_ name: Argument) -> Bool {
        guard name.count <= 8 else { return false }
        let name = Array(name.string.lowercased().utf8)
        return ["auth", "hello"].contains { SettingsTable.editDistance(name, Array($0.utf8)) <= 1 }
    }

    // MARK: Running

    /// Runs a command and records its time, counters, slow log entry and MONITOR line.
    func run(_ command: CommandReference, for connection: Connection) {
        // Formatted now, since EXEC reuses the list, and shown afterwards: RESET may have ended the monitor itself.
        let isShown = !monitors.isEmpty && command.flags.isDisjoint(with: [.admin, .skipMonitor])
        let line = isShown ? Monitors.line(arguments, command.spec.hiddenArguments(arguments), from: connection) : nil
        context.client = connection
        if let batched = command.batched, decideAlone(command, batched, for: connection) {
            if let line { monitors.show(line) }
            return
        }
        let start = reply.count
        // In the middle of a pipeline the previous command's end is this one's beginning, except for the parsing time.
        let began = isTimestampFresh ? lastTimestamp : SteadyInstant.now()
        isTimestampFresh = false
        command.handler(context)
        if let line { monitors.show(line) }
        lastTimestamp = SteadyInstant.now()
        isTimestampFresh = true
        let took = lastTimestamp - began
        if connection.flags.contains(.blocked), let job = begunSlices {
            // Counted when the job is done.
            begunSlices = nil
            job.begin(command, took: took)
            return
        }
        let failed = reply.count > start && reply.base[start] == UInt8(ascii: "-")
        if failed {
            noteError(Argument(base: reply.base + start + 1, count: reply.count - start - 1))
        }
        note(command, count: 1, took: took, failed: failed)
        noteIfSlow(command, took: took, client: connection)
    }

    /// Counts a command that was answered in slices: one call, with the total time of all slices. Adds no LATENCY
    /// event: no other client waited that long.
    func note(_ job: SlicedCommand, failed: Bool) {
        counters.add(.commands, 1)
        commandStatistics.record(
            job.command.index, calls: 1, nanoseconds: job.busy.nanoseconds, failed: failed,
            latency: settings.latencyTracking)
        guard !job.connection.flags.contains(.closed) else { return }
        noteIfSlow(job.command, took: job.busy, client: job.connection)
    }

    private func note(_ command: CommandReference, count: Int, took: Nanoseconds, failed: Bool) {
        counters.add(.commands, UInt64(count))
        commandStatistics.record(
            command.index, calls: count, nanoseconds: took.nanoseconds, failed: failed,
            latency: settings.latencyTracking)
        latencyEvents.add(
            command.flags.contains(.fast) ? "fast-command" : "command", took: took, unixSeconds: unixSeconds)
    }

    func noteIfSlow(_ command: CommandReference, took: Nanoseconds, client: Connection) {
        guard slowLog.isSlow(took) else { return }
        slowLog.add(
            arguments, hidden: command.spec.hiddenArguments(arguments), took: took,
            unixSeconds: unixSeconds, clientAddress: client.peerAddress,
            clientName: String(decoding: client.name, as: UTF8.self))
    }

    /// Counts an error reply by its first word, for INFO errorstats.
    func noteRejection(_ text: String) {
        var text = text
        text.withUTF8 { noteError(Argument(base: $0.baseAddress!, count: $0.count)) }
    }

    private func noteError(_ text: Argument) {
        counters.add(.errorReplies, 1)
        server.errorStatistics.count(text)
    }
}
