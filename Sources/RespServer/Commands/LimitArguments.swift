// Parses the arguments of RL.*: a limit given in numbers or as a policy's name, and the demand. The commands and the
// rules file share one grammar.
//
//   LIMIT n PER period [BURST b] [ALGO a] [OFFSET period]  |  POLICY name       then  [COST c] [ATMOST] [ID token]
//   LIMIT n PER day|week|month|year ALGO calendar [ZONE offset|name] [START n]
//
// Options may be given in any order, each at most once. Anything else is an error that names the argument. Does not
// handle keys.

import LimiterEngine
import RESP

/// Invalid arguments: the text of the error reply. Nothing has been executed.
struct ArgumentProblem: Error, Equatable {
    let text: String

    init(_ text: String) { self.text = text }
}

/// A parsed limit and demand. Borrows the arguments.
struct LimitArguments {
    /// The longest idempotency token in bytes.
    static let tokenLengthMax = LimitCall.tokenLengthMax

    private var given: LimitWords = []
    private var units: Int64 = 0
    private var period: Int64 = 0
    private var burst: Int64?
    private var offset: Int64 = 0
    /// The calendar unit, if PER is one instead of a duration; `period` is then meaningless.
    private var unit: CalendarUnit?
    private var zone = ZoneNumber.utc
    private var start: Int64 = 0
    /// Whether ZONE may be a zone that this machine does not have, for limits that were accepted earlier.
    private var acceptsUnknownZones = false
    private var algorithm = Limit.Algorithm.gcra
    private(set) var policyName: Argument?
    /// Units requested.
    private(set) var cost: Int64 = 1
    private var isPartial = false
    private var token: Argument?
    private(set) var mode = LimitCall.Mode.enforce
    /// The cached limit of an earlier call; the numbers above are then meaningless.
    private var known: UnsafePointer<LimitCache.Entry>?
    /// Range of the words of a limit in numbers. The end is -1 if they are not contiguous.
    private var numbersStart = 0
    private var numbersEnd = 0

    /// Whether the word was given.
    @inline(__always)
    func has(_ word: LimitWord) -> Bool { given.contains(LimitWords(word)) }

    /// Nothing given: for requests that are not lists of words, with `set`.
    init() {}

    /// Reads words from `index` on, up to the end or an AND that is not in `accepted`, and moves `index` there. If
    /// `known` is given, the words begin with that limit, and `accepted` must contain numbers.
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
                    // A different limit with the known one as its prefix: start over.
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

    /// As above, but an AND is an error.
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

    /// Sets a word that is given once. The value must stay in memory as long as this does.
    mutating func set(_ word: LimitWord, _ value: Argument) throws(ArgumentProblem) {
        given.insert(LimitWords(word))
        try read(word, value)
    }

    /// Sets a word to an integer, in seconds for durations.
    mutating func set(_ word: LimitWord, _ value: Int64) throws(ArgumentProblem) {
        given.insert(LimitWords(word))
        switch word {
        case .limit: units = value
        case .burst: burst = value
        case .cost: cost = value
        case .start: start = value
        case .per: period = try LimitArguments.seconds(value, word)
        case .offset: offset = try LimitArguments.seconds(value, word)
        case .algo, .policy, .id, .and, .mode, .nx, .zone, .atMost: preconditionFailure("not an integer")
        }
    }

    /// Sets ATMOST.
    mutating func setPartial() { isPartial = true }

    /// Sets the algorithm.
    mutating func set(_ algorithm: Limit.Algorithm) {
        given.insert(LimitWords(.algo))
        self.algorithm = algorithm
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

    /// The error for an unexpected word. If the first word is not a keyword and the argument before it is one, the key
    /// or the name was probably forgotten.
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
        return ArgumentProblem("\(text): \(missing) to be missing before \(word.text)")
    }

    // MARK: Values

    private mutating func readPeriod(_ value: Argument) throws(ArgumentProblem) {
        if value.count > 0, value.base[0] > UInt8(ascii: "9"),
            let unit = CalendarUnit.allCases.first(where: { value.matches($0.word) })
        {
            self.unit = unit
        } else {
            period = try LimitArguments.period(value, .per)
        }
    }

    // MARK: Meaning

    /// The limit in numbers.
    @inline(__always)
    func limit() throws(ArgumentProblem) -> Limit {
        guard has(.limit) else { throw ArgumentProblem("ERR LIMIT is missing") }
        guard has(.per) else { throw ArgumentProblem("ERR PER is missing") }
        do throws(LimitError) {
            // Checked here because `Limit` has to allow it: policies in existing journals may have it.
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

    /// START, or nil if not given; -1, which no unit accepts, if it does not fit in an Int.
    private var givenStart: Int? { has(.start) ? Int(exactly: start) ?? -1 : nil }

    /// The change of the policy of this name.
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

    /// The cost and ATMOST.
    @inline(__always)
    func demand() throws(ArgumentProblem) -> Demand {
        do throws(LimitError) {
            return try Demand(cost, isPartial: isPartial)
        } catch {
            throw ArgumentProblem("ERR " + error.text)
        }
    }

    /// Fills `call` for `operation` and looks up its policy. Tokens are remembered for `tokenWindow` nanoseconds.
    /// Writes in place, since copying a call takes longer than parsing it.
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
                    "ERR POLICY cannot be combined with LIMIT, PER, BURST, ALGO, OFFSET, ZONE or START")
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

    /// Initializes a call with everything but the limit: the demand and the token.
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

    /// Reads the single limit that begins at argument 2, and fills `call`.
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
    /// The name used in commands.
    var name: StaticString {
        switch self {
        case .enforce: "enforce"
        case .shadow: "shadow"
        case .off: "off"
        }
    }
}

extension LimitError {
    /// An error text without `ERR`. Names the argument by its keyword.
    var text: String {
        switch self {
        case .negative(let argument): "\(argument.word) must not be negative"
        case .zero(.limit): "LIMIT must be above zero if BURST is"
        case .zero(.burst):
            "BURST must be 1 or more: 1 lets units pass one at a time, as max_burst 0 of CL.THROTTLE does; "
                + "use LIMIT 0 to let nothing pass"
        case .zero(let argument): "\(argument.word) must be above zero"
        case .tooLarge(.offset, _): "OFFSET must be at most a day either way"
        case .tooLarge(let argument, let maximum): "\(argument.word) must be at most \(maximum) with this ALGO"
        case .unsupported(let argument, let algorithm): "\(argument.word) has no meaning with ALGO \(algorithm.name)"
        case .wrongPeriod(let algorithm) where algorithm.facts.usesCalendar:
            "PER must be day, week, month or year with ALGO \(algorithm.name)"
        case .wrongPeriod(let algorithm):
            "PER must be a duration with ALGO \(algorithm.name), such as 1d; calendar units need ALGO calendar"
        case .badStart(let unit):
            "START must be \(unit.starts.lowerBound) to \(unit.starts.upperBound) with PER \(unit.name)"
        case .rateTooHigh: "LIMIT is more than one per nanosecond of PER"
        case .outOfRange(let argument): "\(argument.word) is out of range"
        }
    }
}

extension LimitError.Argument {
    /// The keyword that introduces it.
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
    /// Its name, for comparison with an argument.
    fileprivate var word: StaticString {
        switch self {
        case .day: "day"
        case .week: "week"
        case .month: "month"
        case .year: "year"
        }
    }
}
