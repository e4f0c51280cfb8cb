// From a parsed request to its handler: the straight path of limiter calls, and for everything else the gates in the
// order in which Redis asks: existence, arity, authentication, cluster, memory, subscribed mode, pause, transaction.

import CLinux
import Glibc
import LimiterEngine
import RESP

extension EventLoop {
    /// Runs, queues or batches the request in `arguments`. False when the connection was suspended instead.
    @inline(__always)
    func dispatch(_ connection: Connection) -> Bool {
        let number = lookup.find(arguments[0])
        if number == throttle, connection.isPlain, isPlain, arguments.count >= 5 {
            connection.lastCommand = Int16(truncatingIfNeeded: number!)
            connection.lastSubcommand = -1
            enqueueThrottle(connection)
            return true
        }
        return dispatchSlowly(connection, number)
    }

    @inline(never)
    private func dispatchSlowly(_ connection: Connection, _ number: Int?) -> Bool {
        decideBatch()
        wave.handled &+= 1
        reply.version = connection.version
        let start = reply.count
        connection.flags.remove(.replySkip)
        let isSkipped = connection.flags.contains(.replySkipNext)
        if isSkipped {
            connection.flags.remove(.replySkipNext)
            connection.flags.insert(.replySkip)
        }
        switch admit(connection, number) {
        case .run(let command): run(command, for: connection)
        case .queue(let command): queue(command, for: connection)
        case .refuse(let text):
            reply.error(text)
            noteRejection(text)
            if let number { commandStatistics.reject(number) }
            connection.transaction?.isAborted = connection.flags.contains(.inTransaction)
        case .suspend:
            // Runs later, and what CLIENT REPLY SKIP asked for then still holds.
            if isSkipped { connection.flags.insert(.replySkipNext) }
            suspend(connection)
            return false
        case .hangUp:
            connection.flags.insert(.closeAfterReply)
        }
        if connection.flags.contains(.replyOff) || connection.flags.contains(.replySkip) {
            reply.truncate(to: start)
        }
        endReply()
        flushReplies()
        return true
    }

    private enum Admission {
        case run(CommandReference)
        case queue(CommandReference)
        case refuse(String)
        case suspend
        case hangUp
    }

    private func admit(_ connection: Connection, _ number: Int?) -> Admission {
        guard let number else {
            // A browser tricked into talking to us begins like this.
            if arguments[0].matches("POST") || arguments[0].matches("HOST:") { return .hangUp }
            return .refuse(unknownCommand())
        }
        let command: CommandReference
        switch server.commands.resolve(number, arguments) {
        case .success(let found): command = found
        case .failure(let problem): return .refuse(problem.text)
        }
        connection.lastCommand = Int16(truncatingIfNeeded: number)
        connection.lastSubcommand = Int16(truncatingIfNeeded: command.subcommand ?? -1)
        let spec = command.spec
        let flags = spec.flags
        if connection.flags.contains(.unauthenticated), !flags.contains(.noAuth) {
            return .refuse("NOAUTH Authentication required.")
        }
        if connection.isInSubscribedMode, !flags.contains(.whileSubscribed) {
            return .refuse(
                "ERR Can't execute '\(command.fullName)': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                    + "RESET are allowed in this context")
        }
        if connection.flags.contains(.inTransaction) {
            if flags.contains(.noMulti) { return .refuse("ERR Command not allowed inside a transaction") }
            if !flags.contains(.transactionControl) { return .queue(command) }
        }
        if !isPlain, server.pause.holds(command, of: connection, now: now) { return .suspend }
        return .run(command)
    }

    private func unknownCommand() -> String {
        var shown = ""
        for index in 1..<max(1, arguments.count) where shown.utf8.count < 128 {
            shown += "'\(cut(arguments[index]))' "
        }
        return "ERR unknown command '\(cut(arguments[0]))', with args beginning with: \(shown)"
    }

    private func cut(_ argument: Argument) -> String {
        Argument(base: argument.base, count: min(128, argument.count)).string
    }

    // MARK: Running

    /// Runs a command with everything around it: time, counters, slow log, MONITOR.
    func run(_ command: CommandReference, for connection: Connection) {
        // Taken now, since EXEC reuses the list, and shown afterwards: RESET may have ended the monitor itself.
        let isShown = !server.monitors.isEmpty && command.spec.flags.isDisjoint(with: [.admin, .skipMonitor])
        let line = isShown ? Monitors.line(arguments, command.spec.flags, from: connection) : nil
        context.client = connection
        let start = reply.count
        let began = clock.now().nanoseconds
        command.spec.handler!(context)
        if let line { server.monitors.show(line) }
        lastMoment = clock.now().nanoseconds
        let took = lastMoment - began
        let failed = reply.count > start && reply.base[start] == UInt8(ascii: "-")
        if failed {
            noteError(Argument(base: reply.base + start + 1, count: reply.count - start - 1))
        }
        note(command, count: 1, nanoseconds: took, failed: failed)
        noteIfSlow(command, microseconds: took / 1000, client: connection)
    }

    private func note(_ command: CommandReference, count: Int, nanoseconds: Int64, failed: Bool) {
        counters.add(.commands, UInt64(count))
        commandStatistics.record(
            command.index, calls: count, nanoseconds: nanoseconds, failed: failed,
            latency: settings.latencyTracking)
        server.latencyEvents.add(
            command.spec.flags.contains(.fast) ? "fast-command" : "command", milliseconds: nanoseconds / 1_000_000,
            unixSeconds: seconds)
    }

    private func noteIfSlow(_ command: CommandReference, microseconds: Int64, client: Connection) {
        guard server.slowLog.isSlow(microseconds: microseconds) else { return }
        server.slowLog.add(
            arguments, redacted: command.spec.flags.contains(.redacted), microseconds: microseconds,
            unixSeconds: seconds, clientAddress: client.peerAddress,
            clientName: String(decoding: client.name, as: UTF8.self))
    }

    /// Counts a decided batch. Its calls took the same time each, as far as anybody can tell, and reading and parsing
    /// them is part of it: from the end of the last command or batch, or the beginning of the turn.
    func noteBatch(_ count: Int) {
        let end = clock.now().nanoseconds
        let took = max(0, end - lastMoment)
        lastMoment = end
        counters.add(.commands, UInt64(count))
        commandStatistics.record(
            server.commands.throttle, calls: count, nanoseconds: took, failed: false,
            latency: settings.latencyTracking)
        guard server.slowLog.isSlow(microseconds: took / Int64(count) / 1000) else { return }
        noteSlowBatch(count, microseconds: took / Int64(count) / 1000)
    }

    /// The requests' arguments are gone by now but for the keys: those are what is shown.
    private func noteSlowBatch(_ count: Int, microseconds: Int64) {
        for number in 0..<count {
            let request = wave.requests[number]
            let connection = wave.served[Int(wave.owners[number])]
            let list = ArgumentList()
            list.load([Array("cl.throttle".utf8), Argument(base: request.key, count: request.keyLength).bytes])
            server.slowLog.add(
                list, microseconds: microseconds, unixSeconds: seconds, clientAddress: connection.peerAddress,
                clientName: String(decoding: connection.name, as: UTF8.self))
        }
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
