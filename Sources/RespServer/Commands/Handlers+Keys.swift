// Commands on keys of any kind.

import LimiterEngine
import Persistence
import RESP

extension Handlers {
    private static let millisecond: Int64 = 1_000_000
    private static let second: Int64 = 1_000_000_000

    /// Replies with the number of keys for which `body` is true. Atomic: holds the stripes of all keys.
    private static func countKeys(_ context: CommandContext, _ body: (UnsafeRawBufferPointer) -> Bool) {
        let keys = 1..<context.arguments.count
        func count() -> Int { keys.reduce(0) { $0 + (body(context.arguments[$1].raw) ? 1 : 0) } }
        guard keys.count > 1 else { return context.reply.integer(count()) }
        var stripes = context.keyspace.stripes()
        for index in keys { context.keyspace.insertStripe(of: context.arguments[index].raw, into: &stripes) }
        context.reply.integer(context.keyspace.holding(stripes, count))
    }

    static func del(_ context: CommandContext) {
        countKeys(context) { context.keyspace.remove($0, now: context.now) }
    }

    static func unlink(_ context: CommandContext) { del(context) }

    static func exists(_ context: CommandContext) {
        countKeys(context) { context.noteLookup(context.keyspace.exists($0, now: context.now)) }
    }

    static func touch(_ context: CommandContext) { exists(context) }

    static func type(_ context: CommandContext) {
        let state = context.keyspace.state(of: context.arguments[1].raw, now: context.now)
        _ = context.noteLookup(state != nil)
        context.reply.simple(state?.kind.name ?? "none")
    }

    // MARK: Expiry

    static func ttl(_ context: CommandContext) { replyTimeToLive(context, unit: second) }
    static func pttl(_ context: CommandContext) { replyTimeToLive(context, unit: millisecond) }

    private static func replyTimeToLive(_ context: CommandContext, unit: Int64) {
        let key = context.arguments[1].raw
        switch context.keyspace.timeToLive(key, now: context.now) {
        case .missing: context.reply.integer(-2)
        case .forever: context.reply.integer(-1)
        case .nanoseconds(let left): context.reply.integer(ceilingUnits(left, unit: unit))
        }
    }

    static func expiretime(_ context: CommandContext) { replyExpiryTime(context, milliseconds: 1000) }
    static func pexpiretime(_ context: CommandContext) { replyExpiryTime(context, milliseconds: 1) }

    private static func replyExpiryTime(_ context: CommandContext, milliseconds: Int64) {
        switch context.keyspace.expiry(of: context.arguments[1].raw, now: context.now) {
        case nil: context.reply.integer(-2)
        case .some(nil): context.reply.integer(-1)
        case .some(let expiry?): context.reply.integer(context.shown(expiry, milliseconds: milliseconds))
        }
    }

    static func expire(_ context: CommandContext) { setExpiry(context, milliseconds: 1000, relative: true) }
    static func pexpire(_ context: CommandContext) { setExpiry(context, milliseconds: 1, relative: true) }
    static func expireat(_ context: CommandContext) { setExpiry(context, milliseconds: 1000, relative: false) }
    static func pexpireat(_ context: CommandContext) { setExpiry(context, milliseconds: 1, relative: false) }

    private static func setExpiry(_ context: CommandContext, milliseconds: Int64, relative: Bool) {
        let arguments = context.arguments
        // As in Redis: an invalid option is reported before an invalid time.
        guard let condition = ExpiryCondition(arguments, reply: context.reply) else { return }
        guard let amount = context.integerOrReply(2) else { return }
        guard let deadline = context.expiry(amount, milliseconds: milliseconds, isRelative: relative) else {
            return context.reply.error(CommandContext.invalidExpiry(command: arguments[0].string.lowercased()))
        }
        let key = arguments[1].raw
        guard condition.allows(deadline, current: context.keyspace.deadline(of: key, now: context.now)) else {
            return context.reply.integer(0)
        }
        let isSet = context.keyspace.setDeadline(key, to: deadline, now: context.now)
        context.reply.integer(isSet ? 1 : 0)
    }

    static func persist(_ context: CommandContext) {
        let removed = context.keyspace.removeDeadline(context.arguments[1].raw, now: context.now)
        context.reply.integer(removed ? 1 : 0)
    }

    // MARK: Iteration

    static func dbsize(_ context: CommandContext) { context.reply.integer(context.keyspace.count()) }

    static func keys(_ context: CommandContext) {
        guard let pattern = context.patternOrReply(1) else { return }
        context.loop.perform(KeysWork(pattern), context)
    }

    static func randomkey(_ context: CommandContext) {
        var generator = SystemRandomNumberGenerator()
        let found: Void? = context.keyspace.randomKey(random: { generator.next() }, now: context.now) {
            context.reply.bulk($0)
        }
        if found == nil { context.loop.perform(FirstKeyWork(), context) }
    }

    static func scan(_ context: CommandContext) {
        let arguments = context.arguments
        guard let cursor = ScanCursor.read(arguments[1]) else { return context.reply.error("ERR invalid cursor") }
        var pattern: GlobPattern?
        var type: [UInt8]?
        var effort = 10
        var index = 2
        while index < arguments.count {
            guard index + 1 < arguments.count else { return context.syntaxError() }
            if arguments[index].matches("MATCH") {
                guard let given = context.patternOrReply(index + 1) else { return }
                pattern = given
            } else if arguments[index].matches("COUNT") {
                guard let count = context.integerOrReply(index + 1) else { return }
                guard count >= 1 else { return context.syntaxError() }
                effort = Int(min(count, 1_000_000))
            } else if arguments[index].matches("TYPE") {
                type = arguments[index + 1].string.lowercased().utf8.map { $0 }
            } else {
                return context.syntaxError()
            }
            index += 2
        }
        let work = ScanWork(cursor: cursor, effort: effort, pattern: pattern, type: type)
        context.loop.perform(work, context)
    }

    static func flushall(_ context: CommandContext) {
        flush(context) {
            context.keyspace.removeAll()
            return .everything
        }
    }

    static func flushdb(_ context: CommandContext) { flush(context) { context.keyspace.removeDatabase() } }

    /// Removes keys by `remove`, and adds the control record.
    private static func flush(_ context: CommandContext, _ remove: () -> KeyspaceSession.Flush) {
        let arguments = context.arguments
        guard
            arguments.count == 1
                || arguments.count == 2 && (arguments[1].matches("ASYNC") || arguments[1].matches("SYNC"))
        else { return context.syntaxError() }
        let (durability, keyspace) = (context.server.durability, context.keyspace)
        precondition(context.loop.excludesCollections, "a control record needs the journal's lock")
        let flush = remove()
        // The journal's lock is held here. If journaling starts concurrently, whatever the first snapshot still sees of
        // the keys is corrected by this record, or the snapshot is taken after all of this.
        if durability.isJournaling {
            switch flush {
            case .nothing: break
            case .everything: durability.journal.recordExcluding(.flushAll, time: context.now)
            case .database:
                withUnsafeBytes(of: UInt8(keyspace.database)) { number in
                    durability.journal.recordExcluding(.flushDatabase, body: number, time: context.now)
                }
            }
        }
        if flush != .nothing { keyspace.noteChange() }
        context.reply.ok()
    }

    // MARK: OBJECT, MEMORY

    static func objectEncoding(_ context: CommandContext) {
        let state = context.keyspace.state(of: context.arguments[2].raw, now: context.now)
        guard let state else { return context.reply.null() }
        context.reply.bulk("\(state.kind.facts.encoding)")
    }

    static func objectRefcount(_ context: CommandContext) {
        guard context.keyspace.exists(context.arguments[2].raw, now: context.now) else {
            return context.reply.null()
        }
        context.reply.integer(1)
    }

    static func objectIdletime(_ context: CommandContext) {
        guard context.keyspace.exists(context.arguments[2].raw, now: context.now) else {
            return context.reply.null()
        }
        context.reply.error("ERR idle time is not tracked; use TTL")
    }

    static func objectFreq(_ context: CommandContext) {
        guard context.keyspace.exists(context.arguments[2].raw, now: context.now) else {
            return context.reply.null()
        }
        context.reply.error(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when "
                + "switching between policies at runtime LRU and LFU data will take some time to adjust.")
    }

    static func memoryUsage(_ context: CommandContext) {
        let arguments = context.arguments
        guard arguments.count == 3 || arguments.count == 5 && arguments[3].matches("SAMPLES") else {
            return context.syntaxError()
        }
        if arguments.count == 5 {
            guard let samples = context.integerOrReply(4) else { return }
            guard samples >= 0 else { return context.syntaxError() }
        }
        guard let bytes = context.keyspace.memoryUsage(of: arguments[2].raw, now: context.now) else {
            return context.reply.null()
        }
        context.reply.integer(bytes)
    }
}

extension CommandContext {
    /// Counts a lookup for INFO keyspace_hits and keyspace_misses.
    func noteLookup(_ found: Bool) -> Bool {
        loop.counters.add(found ? .keyHits : .keyMisses, 1)
        return found
    }
}

/// NX, XX, GT, LT of EXPIRE and its variants.
private struct ExpiryCondition {
    private var onlyNew = false
    private var onlyExisting = false
    private var onlyGreater = false
    private var onlyLess = false

    /// If invalid, replies with an error and returns nil.
    init?(_ arguments: ArgumentList, reply: ReplyBuffer) {
        for index in 3..<max(3, arguments.count) {
            let word = arguments[index]
            if word.matches("NX") {
                onlyNew = true
            } else if word.matches("XX") {
                onlyExisting = true
            } else if word.matches("GT") {
                onlyGreater = true
            } else if word.matches("LT") {
                onlyLess = true
            } else {
                reply.error("ERR Unsupported option \(word.string)")
                return nil
            }
        }
        if onlyNew, onlyExisting || onlyGreater || onlyLess {
            reply.error("ERR NX and XX, GT or LT options at the same time are not compatible")
            return nil
        }
        if onlyGreater, onlyLess {
            reply.error("ERR GT and LT options at the same time are not compatible")
            return nil
        }
    }

    /// `current`: outer nil if the key does not exist, inner nil if it has no deadline, which is treated as infinite.
    func allows(_ deadline: EngineTime, current: EngineTime??) -> Bool {
        guard let current else { return false }
        if onlyNew { return current == nil }
        if onlyExisting, current == nil { return false }
        if onlyGreater { return current.map { deadline > $0 } ?? false }
        if onlyLess { return current.map { deadline < $0 } ?? true }
        return true
    }
}
