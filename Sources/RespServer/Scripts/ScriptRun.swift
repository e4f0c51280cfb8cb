// One run of a known script: its keys and arguments, and the commands that it calls, with the effects and the errors
// that redis-server 7.0 has for them. The scripts themselves, in the other files of this folder, are written in terms
// of these. Values are 64-bit integers, as everywhere in this server.
//
// A script that fails in the middle keeps what it has done, as in Redis. The caller holds the stripes of all keys.

import LimiterEngine
import RESP

/// Why a script ended early.
struct ScriptError: Error {
    let text: String
    init(_ text: String) { self.text = text }

    static let notInteger = ScriptError("ERR value is not an integer or out of range")
    /// A script passed nil to a command.
    static let missingArgument = ScriptError("ERR Lua redis lib command arguments must be strings or integers")
    /// A script compared something that is not a number with one.
    static let badComparison = ScriptError("ERR user_script: attempt to compare nil with number")
    /// A script calculated with something that is not a number.
    static let badArithmetic = ScriptError(
        "ERR user_script: attempt to perform arithmetic on a value that is not a number")
}

/// A run of a script. Valid while the command runs.
struct ScriptRun {
    let context: CommandContext
    let keyCount: Int

    private static let firstKey = 3

    var reply: ReplyBuffer { context.reply }
    private var keyspace: KeyspaceSession { context.keyspace }

    /// KEYS[n]: counted from 1.
    func key(_ number: Int) -> Argument { context.arguments[ScriptRun.firstKey + number - 1] }

    /// ARGV[n]: counted from 1.
    func argument(_ number: Int) -> Argument { context.arguments[ScriptRun.firstKey + keyCount + number - 1] }

    /// tonumber(ARGV[n]).
    func number(_ number: Int) -> Double? { LuaNumber.read(argument(number)) }

    /// ARGV[n] in an arithmetic expression.
    func operand(_ position: Int) throws(ScriptError) -> Double {
        guard let value = number(position) else { throw .badArithmetic }
        return value
    }

    // MARK: Arguments of commands

    /// The integer of a command's argument that is text.
    static func integer(_ text: Argument) throws(ScriptError) -> Int64 {
        guard let value = text.integer else { throw .notInteger }
        return value
    }

    /// The integer of a command's argument that is a number, or nil.
    static func integer(_ number: Double?) throws(ScriptError) -> Int64 {
        guard let number else { throw .missingArgument }
        guard let value = LuaNumber.commandArgument(number) else { throw .notInteger }
        return value
    }

    /// A value to store.
    func value(_ text: Argument) throws(ScriptError) -> Int64 {
        guard let value = text.integer else { throw refusedValue() }
        return value
    }

    /// A value to store that is a number, or nil.
    func value(_ number: Double?) throws(ScriptError) -> Int64 {
        guard let number else { throw .missingArgument }
        guard let value = LuaNumber.commandArgument(number) else { throw refusedValue() }
        return value
    }

    private func refusedValue() -> ScriptError {
        context.loop.noteUnsupported(.value(context.arguments[0]), from: context.client)
        return ScriptError(CommandContext.invalidValue)
    }

    // MARK: Commands

    /// GET
    func get(_ key: Argument) throws(ScriptError) -> Int64? {
        let value = try counting { () throws(CounterError) in try keyspace.counter(key.raw, now: context.now) }
        _ = context.noteLookup(value != nil)
        return value
    }

    /// EXISTS
    func exists(_ key: Argument) -> Bool { keyspace.exists(key.raw, now: context.now) }

    /// INCRBY
    func add(_ amount: Int64, to key: Argument) throws(ScriptError) -> Int64 {
        try counting { () throws(CounterError) in try keyspace.add(amount, toCounter: key.raw, now: context.now) }
    }

    /// PTTL: milliseconds, -1 for a key that does not expire, -2 for none.
    func timeToLive(_ key: Argument) -> Int64 {
        switch keyspace.timeToLive(key.raw, now: context.now) {
        case .missing: -2
        case .forever: -1
        case .nanoseconds(let left): ceilingUnits(left, unit: 1_000_000)
        }
    }

    /// EXPIRE and PEXPIRE, whose unit has this many milliseconds.
    func expire(_ key: Argument, _ amount: Int64, milliseconds: Int64) throws(ScriptError) {
        guard let deadline = context.expiry(amount, milliseconds: milliseconds, isRelative: true) else {
            throw ScriptError(CommandContext.invalidExpiry(command: milliseconds == 1 ? "pexpire" : "expire"))
        }
        _ = keyspace.setDeadline(key.raw, to: deadline, now: context.now)
    }

    /// SET with EX or PX, whose unit has this many milliseconds, and SETEX. Returns whether the key was set.
    @discardableResult
    func set(
        _ key: Argument, _ value: Int64, expiring amount: Int64, milliseconds: Int64, ifAbsent: Bool = false,
        command: String = "set"
    ) throws(ScriptError) -> Bool {
        guard amount > 0, let deadline = context.expiry(amount, milliseconds: milliseconds, isRelative: true) else {
            throw ScriptError(CommandContext.invalidExpiry(command: command))
        }
        let setting = try counting { () throws(CounterError) in
            try keyspace.setCounter(
                key.raw, to: value, if: ifAbsent ? .ifAbsent : .always, deadline: .at(deadline), now: context.now)
        }
        return setting.isSet
    }

    /// RENAME of a key that exists.
    func rename(_ old: Argument, to new: Argument) throws(ScriptError) {
        guard !old.buffer.elementsEqual(new.buffer) else { return }
        let durability = context.server.durability
        // The plan of the script takes the journal's lock well before it is needed.
        guard context.loop.excludesCollections || !durability.isJournaling else {
            throw ScriptError("ERR acquiring the server's locks took too long, nothing was moved: try again")
        }
        func move() -> KeyCopy { keyspace.copy(old.raw, to: new.raw, replaces: true, moves: true, now: context.now) }
        if context.loop.excludesCollections {
            _ = Handlers.recordingMove(context, to: new.raw, inDatabase: keyspace.database, move)
        } else {
            _ = move()
        }
    }

    private func counting<Value>(_ body: () throws(CounterError) -> Value) throws(ScriptError) -> Value {
        do throws(CounterError) {
            return try body()
        } catch {
            throw ScriptError(LimitReply.text(error))
        }
    }
}
