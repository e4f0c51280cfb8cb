// SET, GETDEL, GETEX, INCREX, for limiters built from counters and expiry. Values are always 64-bit integers; replies
// and errors are Redis's wherever it has the same case. INCR and GET are batched: see Execution/Batch. SETEX, MSET and
// the other commands without options are in Handlers+Strings.

import LimiterEngine
import RESP

extension Handlers {
    static func getdel(_ context: CommandContext) {
        answering(context) { () throws(CounterError) in
            let value = try context.keyspace.takeCounter(context.arguments[1].raw, now: context.now)
            _ = context.noteLookup(value != nil)
            context.replyCounter(value)
        }
    }

    /// `SET key integer [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`
    static func set(_ context: CommandContext) {
        do throws(ArgumentProblem) {
            let options = try CounterOptions(context, from: 3, command: "set")
            guard let value = context.valueOrReply(2) else { return }
            answering(context) { () throws(CounterError) in
                let setting = try context.keyspace.setCounter(
                    context.arguments[1].raw, to: value, if: options.condition,
                    deadline: options.deadline ?? .remove, wantsPrevious: options.wantsPrevious, now: context.now)
                if options.wantsPrevious { return context.replyCounter(setting.previous) }
                setting.isSet ? context.reply.ok() : context.reply.null()
            }
        } catch {
            context.reply.error(error.text)
        }
    }

    /// `GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]`
    static func getex(_ context: CommandContext) {
        do throws(ArgumentProblem) {
            let options = try CounterOptions(context, from: 2, command: "getex")
            let key = context.arguments[1].raw
            // As in Redis: the value of a time is checked only if there is a counter.
            if options.hasTime, !holdsCounter(context, key) { return replyAfterReading(context, setting: .keep) }
            replyAfterReading(context, setting: try options.deadlineChecked(context, command: "getex") ?? .keep)
        } catch {
            context.reply.error(error.text)
        }
    }

    private static func holdsCounter(_ context: CommandContext, _ key: UnsafeRawBufferPointer) -> Bool {
        context.keyspace.state(of: key, now: context.now)?.kind == .counter
    }

    private static func replyAfterReading(_ context: CommandContext, setting deadline: CounterDeadline) {
        answering(context) { () throws(CounterError) in
            let value = try context.keyspace.counter(context.arguments[1].raw, setting: deadline, now: context.now)
            _ = context.noteLookup(value != nil)
            context.replyCounter(value)
        }
    }

    /// `INCREX key [BYINT n] [LBOUND n] [UBOUND n] [SATURATE] [EX … | PERSIST] [ENX]`
    static func increx(_ context: CommandContext) {
        do throws(ArgumentProblem) {
            let step = try CounterOptions(context, from: 2, command: "increx").step
            answering(context) { () throws(CounterError) in
                let (value, applied) = try context.keyspace.step(
                    step, counter: context.arguments[1].raw, now: context.now)
                context.reply.array(2)
                context.reply.integer(value)
                context.reply.integer(applied)
            }
        } catch {
            context.reply.error(error.text)
        }
    }

    /// Runs `body`, which replies, or replies with its error.
    static func answering(_ context: CommandContext, _ body: () throws(CounterError) -> Void) {
        do throws(CounterError) {
            try body()
        } catch {
            context.reply.error(LimitReply.text(error))
        }
    }
}

extension CommandContext {
    /// The argument as a counter's value; otherwise replies with an error and returns nil.
    func valueOrReply(_ index: Int) -> Int64? {
        if let value = arguments[index].integer { return value }
        refuseValue()
        return nil
    }

    /// Replies that a value is one that Redis would store and this server does not, and counts the call: some callers
    /// treat the error as permission.
    func refuseValue(_ detail: String = "") {
        loop.noteUnsupported(.value(arguments[0]), from: client)
        reply.error(CommandContext.invalidValue + detail)
    }

    /// The error for a value that Redis would store and this server does not.
    static let invalidValue =
        "ERR value is not an integer or out of range: this server stores only 64-bit integers"

    func replyCounter(_ value: Int64?) {
        guard let value else { return reply.null() }
        reply.bulk(value)
    }
}

/// The options of SET, GETEX and INCREX.
private struct CounterOptions {
    private(set) var condition = CounterCondition.always
    private(set) var wantsPrevious = false
    /// Nil: not specified.
    private(set) var deadline: CounterDeadline?
    /// EX, PX, EXAT or PXAT with its value. As in Redis, the same word may be repeated: the last value is used, and
    /// only that one must be valid.
    private var time: (unit: TimeUnit, value: Argument)?
    private(set) var step = CounterStep(1)
    private var hasIncrement = false
    private var setsOnlyWhereNone = false

    init(_ context: CommandContext, from start: Int, command: String) throws(ArgumentProblem) {
        let arguments = context.arguments
        var index = start
        while index < arguments.count {
            let word = arguments[index]
            let value = index + 1 < arguments.count ? arguments[index + 1] : nil
            let hasValue =
                if try readTime(word, value) {
                    true
                } else if command == "set" {
                    try readSet(word)
                } else if command == "getex" {
                    try readPersist(word)
                } else {
                    try readStep(word, value)
                }
            index += hasValue ? 2 : 1
        }
        guard command != "getex" else { return }
        deadline = try deadlineChecked(context, command: command)
        guard command == "increx" else { return }
        if setsOnlyWhereNone {
            guard case .at(let instant) = deadline else {
                throw ArgumentProblem(
                    deadline == nil ? "ERR ENX flag requires an expiration" : "ERR syntax error")
            }
            deadline = .ifNone(at: instant)
        }
        guard step.lowerBound <= step.upperBound else {
            throw ArgumentProblem("ERR LBOUND must not be above UBOUND")
        }
        step.deadline = deadline ?? .keep
    }

    /// Whether EX, PX, EXAT or PXAT is specified.
    var hasTime: Bool { time != nil }

    /// The deadline that the words specify, once the value of a time is known to be valid; nil for none.
    func deadlineChecked(_ context: CommandContext, command: String) throws(ArgumentProblem) -> CounterDeadline? {
        guard let time else { return deadline }
        return .at(try instant(time.unit, time.value, context, command: command))
    }

    /// A word for a time to live or an absolute time, and its unit in milliseconds.
    private typealias TimeUnit = (word: StaticString, milliseconds: Int64, isRelative: Bool)
    private static let timeUnits: [TimeUnit] = [
        ("EX", 1000, true), ("PX", 1, true), ("EXAT", 1000, false), ("PXAT", 1, false),
    ]

    /// EX, PX, EXAT, PXAT with their value, which is parsed after all words have been read. False for any other word.
    private mutating func readTime(_ word: Argument, _ value: Argument?) throws(ArgumentProblem) -> Bool {
        guard let unit = CounterOptions.timeUnits.first(where: { word.matches($0.word) }) else { return false }
        guard deadline == nil, time.map({ word.matches($0.unit.word) }) ?? true, let value else {
            throw ArgumentProblem("ERR syntax error")
        }
        time = (unit, value)
        return true
    }

    private func instant(
        _ unit: TimeUnit, _ value: Argument, _ context: CommandContext, command: String
    ) throws(ArgumentProblem) -> EngineTime {
        guard let amount = value.integer else {
            throw ArgumentProblem("ERR value is not an integer or out of range")
        }
        guard amount > 0,
            let instant = context.expiry(amount, milliseconds: unit.milliseconds, isRelative: unit.isRelative)
        else { throw ArgumentProblem(CommandContext.invalidExpiry(command: command)) }
        return instant
    }

    /// A word of SET, which has no value.
    private mutating func readSet(_ word: Argument) throws(ArgumentProblem) -> Bool {
        // As in Redis, repeating a word is not an error.
        if word.matches("NX"), condition != .ifPresent {
            condition = .ifAbsent
        } else if word.matches("XX"), condition != .ifAbsent {
            condition = .ifPresent
        } else if word.matches("GET") {
            wantsPrevious = true
        } else if word.matches("KEEPTTL"), time == nil {
            deadline = .keep
        } else {
            throw ArgumentProblem("ERR syntax error")
        }
        return false
    }

    /// The word of GETEX that has no value; as in Redis, it may be repeated.
    private mutating func readPersist(_ word: Argument) throws(ArgumentProblem) -> Bool {
        guard word.matches("PERSIST"), time == nil else { throw ArgumentProblem("ERR syntax error") }
        deadline = .remove
        return false
    }

    /// A word of INCREX. Returns whether it has a value.
    private mutating func readStep(_ word: Argument, _ value: Argument?) throws(ArgumentProblem) -> Bool {
        if word.matches("SATURATE") {
            step.saturates = true
            return false
        }
        if word.matches("ENX") {
            setsOnlyWhereNone = true
            return false
        }
        if word.matches("PERSIST"), deadline == nil, time == nil {
            deadline = .remove
            return false
        }
        if word.matches("BYFLOAT") {
            throw ArgumentProblem("ERR BYFLOAT is not supported: this server stores only 64-bit integers")
        }
        let isIncrement = word.matches("BYINT")
        let isLower = word.matches("LBOUND")
        guard isIncrement || isLower || word.matches("UBOUND"), let value, !(isIncrement && hasIncrement) else {
            throw ArgumentProblem("ERR syntax error")
        }
        guard let number = value.integer else {
            throw ArgumentProblem("ERR \(word.string.uppercased()) is not an integer or out of range")
        }
        if isIncrement {
            hasIncrement = true
            step.increment = number
        } else if isLower {
            step.lowerBound = number
        } else {
            step.upperBound = number
        }
        return true
    }
}
