// The arguments of RL.* between the wire and the engine: a limit said in numbers or by a policy's name, and what is
// asked of it. One grammar for commands and for the rules file.
//
//   LIMIT n PER period [BURST b] [ALGO a] [OFFSET period]  |  POLICY name       then  [COST c] [ATMOST] [ID token]
//   LIMIT n PER day|week|month|year ALGO calendar [ZONE offset|name] [START n]
//
// Options may stand in any order, each once. Refuses everything else, and names the argument. Knows no key.

import LimiterEngine
import RESP

/// Arguments that are no request: the text of the error reply. Nothing has been done.
struct ArgumentProblem: Error, Equatable {
    let text: String

    init(_ text: String) { self.text = text }
}

/// A limit and a demand as they are written down. Borrows the arguments.
struct LimitArguments {
    /// The longest idempotency token in bytes.
    static let tokenLengthMax = LimitCall.tokenLengthMax

    private var given: LimitWords = []
    private var units: Int64 = 0
    private var period: Int64 = 0
    private var burst: Int64?
    private var offset: Int64 = 0
    /// What PER named, where that was no time but a unit of the calendar; then `period` means nothing.
    private var unit: CalendarUnit?
    private var zone = ZoneNumber.utc
    private var start: Int64 = 0
    /// ZONE may name one that this machine does not have: for what was accepted once.
    private var acceptsUnknownZones = false
    private var algorithm = Limit.Algorithm.gcra
    /// The policy's name.
    private(set) var policyName: Argument?
    /// Units asked for.
    private(set) var cost: Int64 = 1
    private var isPartial = false
    private var token: Argument?
    /// What MODE said.
    private(set) var mode = LimitCall.Mode.enforce
    /// The limit as it is known from an earlier call; the numbers above mean nothing then.
    private var known: UnsafePointer<LimitCache.Entry>?
    /// Where the words of a limit in numbers begin, and end while nothing else stands between them; else -1.
    private var numbersStart = 0
    private var numbersEnd = 0

    /// Whether the word was there.
    @inline(__always)
    func has(_ word: LimitWord) -> Bool { given.contains(LimitWords(word)) }

    private init() {}

    /// Reads words from `index` on, up to the end or a word outside of `accepted` that is AND, and moves `index` there.
    /// They begin with the limit `known`, where that is given; then `accepted` has to contain numbers.
    @inline(__always)
    init(
        _ arguments: ArgumentList, from index: inout Int, accepting accepted: LimitWords,
        _ known: UnsafePointer<LimitCache.Entry>? = nil, acceptsUnknownZones: Bool = false
    ) throws(ArgumentProblem) {
        let count = arguments.count
        self.acceptsUnknownZones = acceptsUnknownZones
        let start = index
        numbersStart = start
        numbersEnd = start
        if let known {
            self.known = known
            given = known.pointee.given
            index += known.pointee.arguments
        }
        while index < count {
            let found = LimitWord(arguments[index])
            guard let word = found, accepted.contains(LimitWords(word)) else {
                if found == .and { return }
                throw LimitArguments.unexpected(arguments, at: index, start: start, accepting: accepted)
            }
            if LimitWords.numbers.contains(LimitWords(word)) {
                if self.known != nil, !has(word) {
                    // It is another limit, which begins like the known one.
                    self = LimitArguments()
                    (numbersStart, numbersEnd, index) = (start, start, start)
                    continue
                }
                numbersEnd = numbersEnd == index ? index + 2 : -1
            }
            guard given.insert(LimitWords(word)).inserted else {
                throw ArgumentProblem("ERR \(word.text) is given twice")
            }
            guard word.hasValue else {
                if word == .atMost { isPartial = true }
                index += 1
                continue
            }
            guard index + 1 < count else { throw ArgumentProblem("ERR \(word.text) needs a value") }
            try read(word, arguments[index + 1])
            index += 2
        }
    }

    /// As above, for arguments that have to end here.
    @inline(__always)
    init(
        _ arguments: ArgumentList, from start: Int, accepting accepted: LimitWords,
        _ known: UnsafePointer<LimitCache.Entry>? = nil, acceptsUnknownZones: Bool = false
    ) throws(ArgumentProblem) {
        var index = start
        try self.init(
            arguments, from: &index, accepting: accepted, known, acceptsUnknownZones: acceptsUnknownZones)
        guard index == arguments.count else {
            throw ArgumentProblem("ERR syntax error near '\(LimitArguments.shown(arguments[index]))'")
        }
    }

    @inline(__always)
    private mutating func read(_ word: LimitWord, _ value: Argument) throws(ArgumentProblem) {
        switch word {
        case .limit: units = try LimitArguments.integer(value, word)
        case .burst: burst = try LimitArguments.integer(value, word)
        case .cost: cost = try LimitArguments.integer(value, word)
        case .per: try readPeriod(value)
        case .zone: zone = try LimitArguments.zone(value, acceptsUnknown: acceptsUnknownZones)
        case .start: start = try LimitArguments.integer(value, word)
        case .offset: offset = try LimitArguments.period(value, word)
        case .algo: algorithm = try LimitArguments.algorithm(value)
        case .mode: mode = try LimitArguments.mode(value)
        case .policy: policyName = value
        case .id:
            guard value.count >= 1, value.count <= LimitArguments.tokenLengthMax else {
                throw ArgumentProblem("ERR ID must have 1 to \(LimitArguments.tokenLengthMax) bytes")
            }
            token = value
        case .atMost, .and, .nx: break
        }
    }

    /// The problem of a word that has no place here. If the first word is not a word of limits and the argument before
    /// it is one, the key or the name was forgotten.
    private static func unexpected(
        _ arguments: ArgumentList, at index: Int, start: Int, accepting accepted: LimitWords
    ) -> ArgumentProblem {
        let text = "ERR syntax error near '\(shown(arguments[index]))'"
        guard index == start, start > 0, let word = LimitWord(arguments[start - 1]) else {
            return ArgumentProblem(text)
        }
        let missing =
            if accepted == .check {
                "one of tenant, client and action seems"
            } else if accepted.contains(LimitWords(.mode)) {
                "the policy's name seems"
            } else {
                "the key seems"
            }
        return ArgumentProblem("\(text): \(missing) to be missing in front of \(word.text)")
    }

    // MARK: Values

    @inline(__always)
    private static func integer(_ value: Argument, _ word: LimitWord) throws(ArgumentProblem) -> Int64 {
        guard let integer = value.integer else {
            throw ArgumentProblem("ERR \(word.text) is not an integer or out of range")
        }
        return integer
    }

    private mutating func readPeriod(_ value: Argument) throws(ArgumentProblem) {
        if value.count > 0, value.base[0] > UInt8(ascii: "9"),
            let unit = CalendarUnit.allCases.first(where: { value.matches($0.word) })
        {
            self.unit = unit
        } else {
            period = try LimitArguments.period(value, .per)
        }
    }

    /// A zone that this machine has, or had when it was accepted.
    @inline(never)
    private static func zone(_ value: Argument, acceptsUnknown: Bool) throws(ArgumentProblem) -> ZoneNumber {
        let name: ZoneName
        do throws(ZoneNameError) {
            name = try ZoneName(value.buffer)
        } catch {
            throw ArgumentProblem("ERR ZONE: \(error)")
        }
        if acceptsUnknown, let zone = try? ZoneRegistry.shared.intern(name) { return zone }
        let table = ZoneRegistry.shared.table
        guard let zone = table.number(of: name), table.failure(of: zone) == nil else {
            throw ArgumentProblem("ERR ZONE: this server has no time zone '\(name)'")
        }
        return zone
    }

    /// A time in nanoseconds: a whole number, of seconds or with one of the units ms, s, m, h, d.
    private static func period(_ value: Argument, _ word: LimitWord) throws(ArgumentProblem) -> Int64 {
        var digits = value.count
        while digits > 0, value.base[digits - 1] > UInt8(ascii: "9") { digits -= 1 }
        let unit = Argument(base: value.base + digits, count: value.count - digits)
        guard let count = Argument(base: value.base, count: digits).integer, let length = nanoseconds(of: unit) else {
            throw ArgumentProblem(
                "ERR \(word.text) must be a whole number of seconds, or one with the unit ms, s, m, h or d in lower "
                    + "case, not '\(shown(value))'")
        }
        let (product, overflows) = count.multipliedReportingOverflow(by: length)
        guard !overflows else { throw ArgumentProblem("ERR \(word.text) is out of range") }
        return product
    }

    /// What a unit stands for: no unit is seconds; nil for no unit's name. `M` is none, since elsewhere it is months.
    @inline(__always)
    private static func nanoseconds(of unit: Argument) -> Int64? {
        guard unit.count <= 2, unit.buffer.allSatisfy({ $0 >= UInt8(ascii: "a") }) else { return nil }
        switch (unit.shortWord, unit.count) {
        case (0, 0), (0x73, 1): return 1_000_000_000
        case (0x736D, 2): return 1_000_000
        case (0x6D, 1): return 60_000_000_000
        case (0x68, 1): return 3_600_000_000_000
        case (0x64, 1): return 86_400_000_000_000
        default: return nil
        }
    }

    private static func algorithm(_ value: Argument) throws(ArgumentProblem) -> Limit.Algorithm {
        for algorithm in Limit.Algorithm.allCases where value.matches(algorithm.name) { return algorithm }
        throw ArgumentProblem("ERR ALGO must be one of \(Limit.Algorithm.names)")
    }

    private static func mode(_ value: Argument) throws(ArgumentProblem) -> LimitCall.Mode {
        for mode in LimitCall.Mode.allCases where value.matches(mode.name) { return mode }
        throw ArgumentProblem("ERR MODE must be one of enforce, shadow, off")
    }

    /// A word of the client's as an error shows it: short.
    static func shown(_ argument: Argument) -> String {
        SettingError.printable(Argument(base: argument.base, count: min(argument.count, 64)).string)
    }

    // MARK: Meaning

    /// The limit in numbers.
    @inline(__always)
    func limit() throws(ArgumentProblem) -> Limit {
        guard has(.limit) else { throw ArgumentProblem("ERR LIMIT is missing") }
        guard has(.per) else { throw ArgumentProblem("ERR PER is missing") }
        do throws(LimitError) {
            // `Limit` allows it, since policies in existing journals may have it.
            if burst == 0, units > 0, algorithm.hasBurst { throw .zero(.burst) }
            if algorithm.facts.usesCalendar || unit != nil { return try calendarLimit() }
            if has(.zone) { throw .unsupported(.zone, algorithm) }
            if has(.start) { throw .unsupported(.start, algorithm) }
            return try Limit(algorithm, units: units, period: period, burst: burst, offset: offset)
        } catch {
            throw ArgumentProblem("ERR " + error.text)
        }
    }

    private func calendarLimit() throws(LimitError) -> Limit {
        guard algorithm.facts.usesCalendar, let unit else { throw .wrongPeriod(algorithm) }
        if has(.burst) { throw .unsupported(.burst, algorithm) }
        if has(.offset) { throw .unsupported(.offset, algorithm) }
        guard let calendar = CalendarPeriod(unit, start: givenStart) else { throw .badStart(unit) }
        return try Limit(units: units, per: calendar, zone: zone)
    }

    /// What START specifies; what no unit has where that is too long for one.
    private var givenStart: Int? { has(.start) ? Int(exactly: start) ?? -1 : nil }

    /// What a command says about the policy of this name.
    func change(of name: [UInt8]) -> PolicyChange {
        var change = PolicyChange(name: name)
        if has(.limit) { change.units = units }
        if has(.per), unit == nil { change.period = period }
        change.unit = unit
        if has(.zone) { change.zone = zone }
        change.start = givenStart
        change.burst = burst
        if has(.algo) { change.algorithm = algorithm }
        if has(.offset) { change.offset = offset }
        if has(.mode) { change.mode = mode }
        return change
    }

    /// What is wanted of the limit.
    @inline(__always)
    func demand() throws(ArgumentProblem) -> Demand {
        do throws(LimitError) {
            return try Demand(cost, isPartial: isPartial)
        } catch {
            throw ArgumentProblem("ERR " + error.text)
        }
    }

    /// Makes `call` one of `operation`, its policy looked up. Tokens are remembered for `tokenWindow` nanoseconds.
    /// Written in place, since copying a call takes longer than reading it.
    @inline(__always)
    func write(
        _ operation: LimitCall.Operation, to call: UnsafeMutablePointer<LimitCall>, _ keyspace: KeyspaceSession,
        tokenWindow: Int64, _ arguments: ArgumentList, _ cache: LimitCache
    ) throws(ArgumentProblem) {
        try begin(operation, call, tokenWindow)
        if let known, policyName == nil {
            call.pointee.limit = known.pointee.limit
        } else if let policyName {
            guard given.isDisjoint(with: .numbers) else {
                throw ArgumentProblem(
                    "ERR POLICY says the whole limit: LIMIT, PER, BURST, ALGO, OFFSET, ZONE, START do not go with it")
            }
            let policies = keyspace.policies
            guard let number = policies.policyNumber(named: policyName.raw) else {
                throw ArgumentProblem("ERR POLICY: there is no policy '\(LimitArguments.shown(policyName))'")
            }
            policies.writeTerms(ofPolicy: number, to: call)
        } else {
            guard !given.isDisjoint(with: .numbers) else {
                throw ArgumentProblem("ERR a limit is missing: LIMIT with PER, or POLICY")
            }
            call.pointee.limit = try limit()
            if numbersEnd > numbersStart {
                cache.keep(
                    call.pointee.limit, given.intersection(.numbers), arguments, from: numbersStart, to: numbersEnd)
            }
        }
    }

    /// Begins a call with what the words specify beside the limit: the demand and the token.
    @inline(__always)
    func begin(
        _ operation: LimitCall.Operation, _ call: UnsafeMutablePointer<LimitCall>, _ tokenWindow: Int64
    ) throws(ArgumentProblem) {
        let demand = try demand()
        call.pointee.begin(operation)
        call.pointee.demand = demand
        guard let token else { return }
        call.pointee.token = token.raw
        call.pointee.tokenWindow = tokenWindow
    }

    /// Reads the one limit that begins at argument 2, and makes `call` one of it.
    @inline(never)
    static func read(
        _ operation: LimitCall.Operation, _ arguments: ArgumentList, to call: UnsafeMutablePointer<LimitCall>,
        _ keyspace: KeyspaceSession, _ cache: LimitCache, tokenWindow: Int64
    ) throws(ArgumentProblem) {
        let known = cache.find(arguments, at: 2)
        if let known, 2 + known.pointee.arguments == arguments.count {
            return known.pointee.writeForOne(operation, to: call)
        }
        let words = try LimitArguments(arguments, from: 2, accepting: operation == .refund ? .refund : .take, known)
        try words.write(operation, to: call, keyspace, tokenWindow: tokenWindow, arguments, cache)
    }
}

extension LimitCall.Mode {
    /// The name that commands use.
    var name: StaticString {
        switch self {
        case .enforce: "enforce"
        case .shadow: "shadow"
        case .off: "off"
        }
    }
}

extension LimitError {
    /// A sentence without `ERR`, naming the argument as commands call it.
    var text: String {
        switch self {
        case .negative(let argument): "\(argument.word) must not be negative"
        case .zero(.limit): "LIMIT must be above zero where BURST is"
        case .zero(.burst):
            "BURST must be 1 or more: 1 lets units pass one at a time, as max_burst 0 of CL.THROTTLE does; "
                + "LIMIT 0 is what lets nothing pass"
        case .zero(let argument): "\(argument.word) must be above zero"
        case .tooLarge(.offset, _): "OFFSET must be at most a day either way"
        case .tooLarge(let argument, let maximum): "\(argument.word) must be at most \(maximum) with this ALGO"
        case .unsupported(let argument, let algorithm): "\(argument.word) has no meaning with ALGO \(algorithm.name)"
        case .wrongPeriod(let algorithm) where algorithm.facts.usesCalendar:
            "PER must be day, week, month or year with ALGO \(algorithm.name)"
        case .wrongPeriod(let algorithm):
            "PER must be a time with ALGO \(algorithm.name), such as 1d; units of the calendar are for ALGO calendar"
        case .badStart(let unit):
            "START must be \(unit.starts.lowerBound) to \(unit.starts.upperBound) with PER \(unit.name)"
        case .rateTooHigh: "LIMIT is more than one per nanosecond of PER"
        case .outOfRange(let argument): "\(argument.word) is out of range"
        }
    }
}

extension LimitError.Argument {
    /// The word that introduces it.
    var word: String {
        switch self {
        case .limit: "LIMIT"
        case .period: "PER"
        case .burst: "BURST"
        case .cost: "COST"
        case .offset: "OFFSET"
        case .zone: "ZONE"
        case .start: "START"
        }
    }
}

extension CalendarUnit {
    /// Its name, to be compared with an argument.
    fileprivate var word: StaticString {
        switch self {
        case .day: "day"
        case .week: "week"
        case .month: "month"
        case .year: "year"
        }
    }
}
