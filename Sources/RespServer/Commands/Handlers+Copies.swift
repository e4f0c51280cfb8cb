// COPY, RENAME, RENAMENX, MOVE: a key's whole state, of any kind, under another name or in another database.

import LimiterEngine
import Persistence
import RESP

extension Handlers {
    private static let sameObject = "ERR source and destination objects are the same"

    /// `COPY source destination [DB number] [REPLACE]`
    static func copy(_ context: CommandContext) {
        let (arguments, keyspace) = (context.arguments, context.keyspace)
        guard let (replaces, database) = copyOptions(context) else { return }
        guard database != keyspace.database || !hasSameKeys(arguments) else {
            return context.reply.error(sameObject)
        }
        let outcome = context.holdingStripes(ofKeyAt: 1, andKeyAt: 2, inDatabase: database) {
            keyspace.copy(
                arguments[1].raw, to: arguments[2].raw, inDatabase: database, replaces: replaces, moves: false,
                now: context.now)
        }
        _ = context.noteLookup(outcome != .missing)
        switch outcome {
        case .done: context.reply.integer(1)
        case .missing, .exists: context.reply.integer(0)
        case .outOfMemory: context.reply.error(LimitReply.outOfMemory)
        }
    }

    /// Whether REPLACE is among the options, and the destination's database; nil after an error reply. As in Redis,
    /// options may be repeated.
    private static func copyOptions(_ context: CommandContext) -> (replaces: Bool, database: Int)? {
        let arguments = context.arguments
        var replaces = false
        var database = context.keyspace.database
        var index = 3
        while index < arguments.count {
            if arguments[index].matches("REPLACE") {
                replaces = true
                index += 1
            } else if arguments[index].matches("DB"), index + 1 < arguments.count {
                guard let number = context.databaseOrReply(index + 1) else { return nil }
                database = number
                index += 2
            } else {
                context.syntaxError()
                return nil
            }
        }
        return (replaces, database)
    }

    /// `MOVE key db`
    static func move(_ context: CommandContext) {
        let (key, keyspace) = (context.arguments[1].raw, context.keyspace)
        guard let database = context.databaseOrReply(2) else { return }
        guard database != keyspace.database else { return context.reply.error(sameObject) }
        let outcome = context.holdingStripes(ofKeyAt: 1, andKeyAt: 1, inDatabase: database) {
            recordingMove(context, to: key, inDatabase: database) {
                keyspace.copy(key, to: key, inDatabase: database, replaces: false, moves: true, now: context.now)
            }
        }
        // As in Redis, both a missing key and an existing one in the other database are 0.
        context.reply.integer(outcome == .done ? 1 : 0)
    }

    static func swapdb(_ context: CommandContext) {
        context.reply.error(
            "ERR SWAPDB is not supported: the number of its database is part of each stored key, so every key of both "
                + "databases would have to be rewritten")
    }

    static func rename(_ context: CommandContext) {
        guard move(context, replaces: true) != nil else { return }
        context.reply.ok()
    }

    static func renamenx(_ context: CommandContext) {
        guard let isMoved = move(context, replaces: false) else { return }
        context.reply.integer(isMoved ? 1 : 0)
    }

    /// Returns whether the key has been moved; nil after an error reply.
    private static func move(_ context: CommandContext, replaces: Bool) -> Bool? {
        let (arguments, keyspace) = (context.arguments, context.keyspace)
        let (old, new) = (arguments[1].raw, arguments[2].raw)
        let outcome = context.holdingStripes(ofKeysAt: 1...2) { () -> KeyCopy in
            guard !hasSameKeys(arguments) else { return keyspace.exists(old, now: context.now) ? .exists : .missing }
            return recordingMove(context, to: new, inDatabase: keyspace.database) {
                keyspace.copy(old, to: new, replaces: replaces, moves: true, now: context.now)
            }
        }
        switch outcome {
        case .done: return true
        case .exists: return false
        case .missing: context.reply.error("ERR no such key")
        case .outOfMemory: context.reply.error(LimitReply.outOfMemory)
        }
        return nil
    }

    /// Runs `move` and adds the new key to the journal now, so that it precedes the old key's removal, which is
    /// collected later: a crash in between keeps both rather than neither. No earlier removal of the new key may
    /// follow, so the changes of its shard are collected first.
    static func recordingMove(
        _ context: CommandContext, to key: UnsafeRawBufferPointer, inDatabase database: Int, _ move: () -> KeyCopy
    ) -> KeyCopy {
        let (durability, keyspace) = (context.server.durability, context.keyspace)
        precondition(context.loop.excludesCollections, "a record of its own needs the journal's lock")
        guard durability.isJournaling else { return move() }
        keyspace.inDatabase(database) {
            durability.journal.collectExcluding(shardOf: key, keyspace, time: context.now)
        }
        let outcome = move()
        guard outcome == .done else { return outcome }
        keyspace.inDatabase(database) {
            _ = keyspace.withState(of: key, now: context.now) { state in
                keyspace.withName(key) { durability.journal.recordExcluding(state, $0, time: context.now) }
            }
        }
        return outcome
    }

    private static func hasSameKeys(_ arguments: ArgumentList) -> Bool {
        arguments[1].buffer.elementsEqual(arguments[2].buffer)
    }
}

extension CommandContext {
    /// The argument as the number of a database; otherwise replies with an error and returns nil.
    func databaseOrReply(_ index: Int) -> Int? {
        guard let number = integerOrReply(index) else { return nil }
        guard Int32(exactly: number) != nil else {
            reply.error("ERR value is out of range, value must between \(Int32.min) and \(Int32.max)")
            return nil
        }
        guard let database = loop.settings.database(number) else {
            reply.error("ERR DB index is out of range")
            return nil
        }
        return database
    }

    /// Runs `body` while holding the stripes of two keys, the second of them in this database.
    fileprivate func holdingStripes<Result>(
        ofKeyAt first: Int, andKeyAt second: Int, inDatabase database: Int, _ body: () -> Result
    ) -> Result {
        // Inside EXEC, they are held already.
        guard !keyspace.isHolding else { return body() }
        var stripes = keyspace.stripes()
        keyspace.insertStripe(of: arguments[first].raw, into: &stripes)
        keyspace.inDatabase(database) { keyspace.insertStripe(of: arguments[second].raw, into: &stripes) }
        return keyspace.holding(stripes, body)
    }
}

extension Settings {
    /// A number from a client as that of a database; nil if there is no such database.
    func database(_ number: Int64?) -> Int? {
        guard let number, number >= 0, number < Int64(databases) else { return nil }
        return Int(number)
    }
}
