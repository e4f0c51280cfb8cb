// MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//
// EXEC is isolated although several loops run: it locks the stripes of all its commands' keys (or all stripes, if a
// command may access any key) before the first command runs. ExclusivePlan acquires these and other locks.

import LimiterEngine
import Persistence
import RESP

/// A connection's state between MULTI and EXEC, or between WATCH and MULTI.
final class Transaction {
    struct WatchedKey: Hashable {
        let database: Int
        let key: [UInt8]
    }

    struct Queued {
        let command: CommandReference
        let arguments: [[UInt8]]
    }

    var queue: [Queued] = []
    /// Bytes of the queued arguments: bounded by the input limit.
    var queuedBytes = 0
    /// A queued command may change keys.
    var hasWrite = false
    /// The server states in which all queued commands may run.
    var tolerates = ToleratedStates.all
    /// A command could not be queued, so EXEC will refuse.
    var isAborted = false
    /// A queued command has options that may name another database.
    var namesDatabases = false
    var watchedKeys: Set<WatchedKey> = []
    /// Bytes of the watched keys and of the engine's data about them: bounded by the input limit, with the queue.
    var watchedBytes = 0
    let token = WatchToken()

    /// Bytes that the transaction uses on the server.
    var memory: Int { queuedBytes + watchedBytes }
    /// Overhead of a queued argument in bytes.
    static let argumentOverhead = 64
    /// Overhead of a watched key in bytes: entries in two tables, and the key's own set of tokens.
    static let watchOverhead = 256
}

extension EventLoop {
    /// Queues the request for EXEC.
    func queue(_ command: CommandReference, for connection: Connection) {
        let transaction = connection.resp.transaction!
        let copies = (0..<arguments.count).map { arguments[$0].bytes }
        transaction.queuedBytes += copies.reduce(0) { $0 + $1.count + Transaction.argumentOverhead }
        countMemory(of: connection)
        guard transaction.memory <= settings.clientQueryBufferLimitBytes else {
            transaction.isAborted = true
            reply.error("ERR transaction is larger than client-query-buffer-limit")
            return
        }
        transaction.hasWrite = transaction.hasWrite || isWrite(command, connection)
        transaction.tolerates.formIntersection(ToleratedStates(command.flags))
        if command.flags.contains(.namesDatabase), copies.count > 3 { transaction.namesDatabases = true }
        transaction.queue.append(Transaction.Queued(command: command, arguments: copies))
        reply.simple("QUEUED")
    }

    /// Drops the connection's transaction and its watches.
    func endTransaction(of connection: Connection) {
        guard let transaction = connection.resp.transaction else { return }
        connection.resp.transaction = nil
        connection.resp.flags.remove(.inTransaction)
        countMemory(of: connection)
        for watched in transaction.watchedKeys {
            keyspace.inDatabase(watched.database) { keyspace.unwatch(watched.key, token: transaction.token) }
        }
    }

    /// Runs the queued commands.
    ///
    /// - Precondition: The locks of the transaction's plan are held.
    fileprivate func execute(_ transaction: Transaction, for connection: Connection) {
        for watched in transaction.watchedKeys {
            watched.key.withUnsafeBytes { key in
                keyspace.inDatabase(watched.database) { keyspace.noticeExpiry(of: key, now: now) }
            }
        }
        // The transaction's own changes must not abort it, so the watches end here.
        let isTouched = transaction.token.isTouched
        endTransaction(of: connection)
        guard !isTouched else { return reply.nullArray() }
        reply.array(transaction.queue.count)
        isExecuting = true
        transactionSteps = StepBudget.transactionSteps
        for queued in transaction.queue {
            arguments.load(queued.arguments)
            reply.version = connection.resp.version
            run(queued.command, for: connection)
        }
        isExecuting = false
    }
}

extension Handlers {
    static func multi(_ context: CommandContext) {
        let client = context.client!
        guard !client.resp.flags.contains(.inTransaction) else {
            return context.reply.error("ERR MULTI calls can not be nested")
        }
        if client.resp.transaction == nil { client.resp.transaction = Transaction() }
        client.resp.flags.insert(.inTransaction)
        context.loop.countMemory(of: client)
        context.reply.ok()
    }

    static func discard(_ context: CommandContext) {
        guard context.client.resp.flags.contains(.inTransaction) else {
            return context.reply.error("ERR DISCARD without MULTI")
        }
        context.loop.endTransaction(of: context.client)
        context.reply.ok()
    }

    static func exec(_ context: CommandContext) {
        let client = context.client!
        guard client.resp.flags.contains(.inTransaction), let transaction = client.resp.transaction else {
            return context.reply.error("ERR EXEC without MULTI")
        }
        guard !transaction.isAborted else {
            context.loop.endTransaction(of: client)
            return context.reply.error("EXECABORT Transaction discarded because of previous errors.")
        }
        context.loop.execute(transaction, for: client)
        context.client = client
        // `arguments` now holds those of the last command, but the slow log will show them as EXEC's.
        context.arguments.load([Array("exec".utf8)])
    }

    static func watch(_ context: CommandContext) {
        let client = context.client!
        guard !client.resp.flags.contains(.inTransaction) else {
            return context.reply.error("ERR WATCH inside MULTI is not allowed")
        }
        let transaction = client.resp.transaction ?? Transaction()
        // All or nothing, so that after an error the client knows which keys are watched.
        var keys: Set<Transaction.WatchedKey> = []
        var bytes = transaction.memory
        for index in 1..<context.arguments.count {
            let watched = Transaction.WatchedKey(
                database: context.keyspace.database, key: context.arguments[index].bytes)
            guard !transaction.watchedKeys.contains(watched), keys.insert(watched).inserted else { continue }
            bytes += watched.key.count + Transaction.watchOverhead
        }
        guard bytes <= context.loop.settings.clientQueryBufferLimitBytes else {
            return context.reply.error("ERR watched keys are larger than client-query-buffer-limit, none were added")
        }
        for watched in keys { context.keyspace.watch(watched.key, token: transaction.token, now: context.now) }
        transaction.watchedKeys.formUnion(keys)
        transaction.watchedBytes = bytes - transaction.queuedBytes
        client.resp.transaction = transaction
        context.loop.countMemory(of: client)
        context.reply.ok()
    }

    static func unwatch(_ context: CommandContext) {
        // Inside EXEC the watches have already ended.
        if !context.client.resp.flags.contains(.inTransaction) { context.loop.endTransaction(of: context.client) }
        context.reply.ok()
    }
}
