// Redis's string commands without options, on 64-bit integers: SETNX, SETEX, PSETEX, GETSET, STRLEN, MGET, MSET and
// MSETNX. Replies and errors are Redis's, except that any other value is an error.

import LimiterEngine
import RESP

extension Handlers {
    static func setnx(_ context: CommandContext) {
        guard let value = context.valueOrReply(2) else { return }
        answering(context) { () throws(CounterError) in
            let setting = try context.keyspace.setCounter(
                context.arguments[1].raw, to: value, if: .ifAbsent, now: context.now)
            context.reply.integer(setting.isSet ? 1 : 0)
        }
    }

    static func setex(_ context: CommandContext) { setExpiring(context, milliseconds: 1000, command: "setex") }
    static func psetex(_ context: CommandContext) { setExpiring(context, milliseconds: 1, command: "psetex") }

    private static func setExpiring(_ context: CommandContext, milliseconds: Int64, command: String) {
        guard let amount = context.integerOrReply(2) else { return }
        guard amount > 0, let deadline = context.expiry(amount, milliseconds: milliseconds, isRelative: true) else {
            return context.reply.error(CommandContext.invalidExpiry(command: command))
        }
        guard let value = context.valueOrReply(3) else { return }
        answering(context) { () throws(CounterError) in
            _ = try context.keyspace.setCounter(
                context.arguments[1].raw, to: value, deadline: .at(deadline), now: context.now)
            context.reply.ok()
        }
    }

    static func getset(_ context: CommandContext) {
        guard let value = context.valueOrReply(2) else { return }
        answering(context) { () throws(CounterError) in
            let setting = try context.keyspace.setCounter(
                context.arguments[1].raw, to: value, wantsPrevious: true, now: context.now)
            _ = context.noteLookup(setting.previous != nil)
            context.replyCounter(setting.previous)
        }
    }

    static func strlen(_ context: CommandContext) {
        answering(context) { () throws(CounterError) in
            let value = try context.keyspace.counter(context.arguments[1].raw, now: context.now)
            _ = context.noteLookup(value != nil)
            context.reply.integer(value.map { digits(of: $0) } ?? 0)
        }
    }

    /// The length of a number in decimal, with its sign.
    private static func digits(of value: Int64) -> Int {
        var (count, rest) = (value < 0 ? 2 : 1, value.magnitude)
        while rest >= 10 {
            count += 1
            rest /= 10
        }
        return count
    }

    // MARK: Several keys

    static func mget(_ context: CommandContext) {
        let keys = 1..<context.arguments.count
        context.holdingStripes(ofKeysAt: keys) {
            context.reply.array(keys.count)
            for index in keys {
                let state = context.keyspace.state(of: context.arguments[index].raw, now: context.now)
                // As in Redis, another kind of key is nil here, not an error.
                let value = state.flatMap { $0.kind == .counter ? $0.word : nil }
                _ = context.noteLookup(state != nil)
                context.replyCounter(value)
            }
        }
    }

    static func mset(_ context: CommandContext) {
        guard setAll(context, ifAbsent: false, command: "mset") != nil else { return }
        context.reply.ok()
    }

    static func msetnx(_ context: CommandContext) {
        guard let isSet = setAll(context, ifAbsent: true, command: "msetnx") else { return }
        context.reply.integer(isSet ? 1 : 0)
    }

    /// Sets all pairs of the arguments or none. Returns whether they were set; nil after an error reply.
    private static func setAll(_ context: CommandContext, ifAbsent: Bool, command: String) -> Bool? {
        let arguments = context.arguments
        guard arguments.count % 2 == 1 else {
            context.reply.error("ERR wrong number of arguments for '\(command)' command")
            return nil
        }
        for index in stride(from: 2, to: arguments.count, by: 2) where arguments[index].integer == nil {
            context.refuseValue(" (pair \(index / 2))")
            return nil
        }
        return context.holdingStripes(ofKeysAt: stride(from: 1, to: arguments.count, by: 2)) { () -> Bool? in
            do throws(CounterError) {
                return try context.keyspace.setCounters(
                    arguments.count / 2, ifAbsent: ifAbsent, now: context.now
                ) { (arguments[2 * $0 + 1].raw, arguments[2 * $0 + 2].integer!) }
            } catch {
                context.reply.error(LimitReply.text(error))
                return nil
            }
        }
    }
}

extension CommandContext {
    /// Runs `body` while holding the stripes of the keys at these positions, so that it is atomic.
    func holdingStripes<Result>(ofKeysAt positions: some Sequence<Int>, _ body: () -> Result) -> Result {
        // Inside EXEC, they are held already.
        guard !keyspace.isHolding else { return body() }
        var stripes = keyspace.stripes()
        for index in positions { keyspace.insertStripe(of: arguments[index].raw, into: &stripes) }
        return keyspace.holding(stripes, body)
    }
}
