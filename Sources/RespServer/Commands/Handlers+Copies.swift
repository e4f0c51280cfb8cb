// COPY, RENAME, RENAMENX: a key's whole state, of any kind, under another name.

import LimiterEngine
import Persistence
import RESP

extension Handlers {
    /// `COPY source destination [DB 0] [REPLACE]`
    static func copy(_ context: CommandContext) {
        let arguments = context.arguments
        guard let replaces = copyReplaces(context) else { return }
        guard !hasSameKeys(arguments) else {
            return context.reply.error("ERR source and destination objects are the same")
        }
        let outcome = context.holdingStripes(ofKeysAt: 1...2) {
            context.keyspace.copy(
                arguments[1].raw, to: arguments[2].raw, replaces: replaces, moves: false, now: context.now)
        }
        _ = context.noteLookup(outcome != .missing)
        switch outcome {
        case .done: context.reply.integer(1)
        case .missing, .exists: context.reply.integer(0)
        case .outOfMemory: context.reply.error(LimitReply.outOfMemory)
        }
    }

    /// Whether REPLACE is among the options; nil after an error reply. As in Redis, options may be repeated.
    private static func copyReplaces(_ context: CommandContext) -> Bool? {
        let arguments = context.arguments
        var replaces = false
        var index = 3
        while index < arguments.count {
            if arguments[index].matches("REPLACE") {
                replaces = true
                index += 1
            } else if arguments[index].matches("DB"), index + 1 < arguments.count {
                guard let database = context.integerOrReply(index + 1) else { return nil }
                guard let database = Int32(exactly: database) else {
                    context.reply.error(
                        "ERR value is out of range, value must between \(Int32.min) and \(Int32.max)")
                    return nil
                }
                guard database == 0 else {
                    context.reply.error("ERR DB index is out of range")
                    return nil
                }
                index += 2
            } else {
                context.syntaxError()
                return nil
            }
        }
        return replaces
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
            return recordingMove(context, to: new) {
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
        _ context: CommandContext, to key: UnsafeRawBufferPointer, _ move: () -> KeyCopy
    ) -> KeyCopy {
        let (durability, keyspace) = (context.server.durability, context.keyspace)
        precondition(context.loop.excludesCollections, "a record of its own needs the journal's lock")
        guard durability.isJournaling else { return move() }
        durability.journal.collectExcluding(shardOf: key, keyspace, time: context.now)
        let outcome = move()
        guard outcome == .done else { return outcome }
        _ = keyspace.withState(of: key, now: context.now) { state in
            durability.journal.recordExcluding(state, key: key, time: context.now)
        }
        return outcome
    }

    private static func hasSameKeys(_ arguments: ArgumentList) -> Bool {
        arguments[1].buffer.elementsEqual(arguments[2].buffer)
    }
}
