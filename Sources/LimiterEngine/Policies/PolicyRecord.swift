// Policies and rules as bytes: the control records that the journal and the snapshot contain.
//
//   kind             key                         value, all numbers little-endian
//   1 policy         name                        0 version 1   1 algorithm   2 mode   3 origin   4 units 8
//                                                12 period 8   20 capacity 8   28 offset 8
//                                                36… superseded limits, 0 to 4, the latest last:
//                                                    0 emission interval 8   8 tolerance 8   16 end 8
//   1 policy         name                        0 version 2   1 … 28 as above, for calendar windows
//                                                36 unit 1   37 start 1   38 length of the zone's name 1   39 the name
//                                                … superseded limits, as above
//   2 no policy      name                        none
//   3 rule           subject                     0 version 1   1 origin   2… name of the policy
//   4 no rule        subject                     none
//
//   subject          for tenant, client and action in turn: 0 for all, or 1, length 4, name
//
// A record is valid when its numbers form a limit, every name has 1 … 512 bytes, and there are no trailing bytes.
// Records are absolute: applying one twice changes nothing.

/// One policy or rule, or the removal of one, as a control record.
public struct PolicyRecord: Equatable, Sendable {
    /// The record's kind. The raw value is journaled: never reuse one.
    public enum Kind: UInt8, Sendable, CaseIterable {
        /// This policy exists.
        case policy = 1
        /// This policy does not exist.
        case policyRemoval = 2
        /// This rule exists.
        case rule = 3
        /// This rule does not exist.
        case ruleRemoval = 4
    }

    /// The record's kind.
    public var kind: Kind
    /// A policy's name or a rule's subject.
    public var key: [UInt8]
    /// The rest.
    public var value: [UInt8]

    private static let version: UInt8 = 1
    /// For policies with calendar windows, which programs that only know version 1 cannot read.
    private static let calendarVersion: UInt8 = 2
    private static let policySize = 36
    private static let earlierSize = 24

    /// A record with these bytes, valid or not: `PolicyDraft.apply` validates it.
    public init(kind: Kind, key: [UInt8], value: [UInt8]) {
        self.kind = kind
        self.key = key
        self.value = value
    }

    /// The record of a policy.
    public init(_ policy: Policy) {
        let limit = policy.limit
        let version = limit.calendar == nil ? PolicyRecord.version : PolicyRecord.calendarVersion
        var value = [version, limit.algorithm.rawValue, policy.mode.rawValue, policy.origin.rawValue]
        func append(_ numbers: [Int64]) {
            for number in numbers { withUnsafeBytes(of: number.littleEndian) { value += $0 } }
        }
        append([limit.units, limit.period, limit.capacity, limit.offset])
        if let calendar = limit.calendar {
            // The zone's number is local to this process.
            let zone = Array(limit.zoneName.text.utf8)
            value += [calendar.unit.rawValue, UInt8(calendar.start), UInt8(zone.count)] + zone
        }
        for old in policy.earlier { append([old.emissionInterval, old.tolerance, old.end]) }
        self.init(kind: .policy, key: policy.name, value: value)
    }

    /// The record of a rule.
    public init(_ rule: Rule) {
        self.init(
            kind: .rule, key: PolicyRecord.key(rule.subject),
            value: [PolicyRecord.version, rule.origin.rawValue] + rule.policy)
    }

    /// The removal of a policy.
    public init(removingPolicy name: [UInt8]) { self.init(kind: .policyRemoval, key: name, value: []) }

    /// The removal of a rule.
    public init(removingRule subject: RuleSubject) {
        self.init(kind: .ruleRemoval, key: PolicyRecord.key(subject), value: [])
    }

    // MARK: Decoding

    /// Whether the bytes are as an encoder writes them: `PolicyDraft.apply` then succeeds. O(bytes).
    public var isValid: Bool {
        switch kind {
        case .policy: policy != nil
        case .rule: rule != nil
        case .policyRemoval: PolicyRecord.isName(key) && value.isEmpty
        case .ruleRemoval: subject != nil && value.isEmpty
        }
    }

    /// Whether the record states a version unknown to this program, so that it may be valid all the same.
    public var isOfOtherVersion: Bool {
        switch kind {
        case .policy: isPolicyOfOtherVersion
        case .rule: value.first.map { $0 != PolicyRecord.version } ?? false
        case .policyRemoval, .ruleRemoval: false
        }
    }

    private var isPolicyOfOtherVersion: Bool {
        switch value.first {
        case nil, PolicyRecord.version: false
        // A future algorithm with calendar windows may also use this version.
        case PolicyRecord.calendarVersion: value.count > 1 && Limit.Algorithm(rawValue: value[1]) == nil
        default: true
        }
    }

    static func isName(_ name: [UInt8]) -> Bool { !name.isEmpty && name.count <= Policy.nameLengthMax }

    /// The policy of a policy record; nil when the record is damaged.
    var policy: Policy? {
        guard kind == .policy, PolicyRecord.isName(key), value.count >= PolicyRecord.policySize,
            let algorithm = Limit.Algorithm(rawValue: value[1]),
            value[0] == (algorithm.facts.usesCalendar ? PolicyRecord.calendarVersion : PolicyRecord.version),
            let mode = LimitCall.Mode(rawValue: value[2]), let origin = PolicyOrigin(rawValue: value[3])
        else { return nil }
        let numbers = (0..<4).map { number(at: 4 + 8 * $0) }
        let limit =
            algorithm.facts.usesCalendar
            ? calendarLimit(units: numbers[0], period: numbers[1])
            : try? Limit(
                algorithm, units: numbers[0], period: numbers[1], burst: algorithm.hasBurst ? numbers[2] : nil,
                offset: numbers[3])
        guard let limit, limit.capacity == numbers[2], limit.offset == numbers[3], let earlier else { return nil }
        var policy = Policy(name: key, limit: limit, mode: mode, origin: origin)
        policy.earlier = earlier
        return policy
    }

    /// The limit of a policy with calendar windows; nil when it is damaged. This machine need not have its zone.
    private func calendarLimit(units: Int64, period: Int64) -> Limit? {
        let start = PolicyRecord.policySize
        guard value.count >= start + 3, let unit = CalendarUnit(rawValue: value[start]),
            let calendar = CalendarPeriod(unit, start: Int(value[start + 1])), unit.shortest == period
        else { return nil }
        let end = start + 3 + Int(value[start + 2])
        guard end <= value.count, let name = try? ZoneName(value[start + 3..<end]),
            name.text.utf8.elementsEqual(value[start + 3..<end]), let zone = try? ZoneRegistry.shared.intern(name)
        else { return nil }
        return try? Limit(units: units, per: calendar, zone: zone)
    }

    /// Offset of the superseded limits.
    private static func earlierStart(_ value: some RandomAccessCollection<UInt8>) -> Int {
        let lengthAt = value.index(value.startIndex, offsetBy: policySize + 2, limitedBy: value.endIndex)
        guard value.first == calendarVersion, let lengthAt, lengthAt < value.endIndex else { return policySize }
        return policySize + 3 + Int(value[lengthAt])
    }

    /// The superseded limits; nil when they are damaged.
    private var earlier: [SupersededLimit]? {
        let first = PolicyRecord.earlierStart(value)
        let (count, rest) = (value.count - first).quotientAndRemainder(dividingBy: PolicyRecord.earlierSize)
        guard rest == 0, count >= 0, count <= SupersededLimit.countMax else { return nil }
        var earlier: [SupersededLimit] = []
        for position in 0..<count {
            let start = first + position * PolicyRecord.earlierSize
            let old = SupersededLimit(
                emissionInterval: number(at: start), tolerance: number(at: start + 8), end: number(at: start + 16))
            guard old.emissionInterval > 0, old.tolerance > 0, old.end >= 0 else { return nil }
            earlier.append(old)
        }
        return earlier
    }

    /// Offsets of the end times of the superseded limits.
    static func earlierEnds(_ value: some RandomAccessCollection<UInt8>) -> StrideTo<Int> {
        stride(from: earlierStart(value) + 16, to: value.count, by: earlierSize)
    }

    private func number(at offset: Int) -> Int64 {
        value.withUnsafeBytes { Int64(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Int64.self)) }
    }

    /// The rule of a rule record; nil when the record is damaged.
    var rule: Rule? {
        guard kind == .rule, let subject, value.count >= 2, value[0] == PolicyRecord.version,
            let origin = PolicyOrigin(rawValue: value[1])
        else { return nil }
        let name = Array(value.dropFirst(2))
        return PolicyRecord.isName(name) ? Rule(subject, policy: name, origin: origin) : nil
    }

    /// The subject of a rule record or of its removal; nil when the record is damaged.
    var subject: RuleSubject? {
        var rest = key[...]
        var names: [[UInt8]?] = []
        for _ in 0..<3 {
            guard let flag = rest.popFirst() else { return nil }
            guard flag != 0 else {
                names.append(nil)
                continue
            }
            guard flag == 1, rest.count >= 4 else { return nil }
            let length = rest.prefix(4).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
            rest = rest.dropFirst(4)
            guard length <= rest.count else { return nil }
            let name = Array(rest.prefix(length))
            guard PolicyRecord.isName(name) else { return nil }
            names.append(name)
            rest = rest.dropFirst(length)
        }
        guard rest.isEmpty else { return nil }
        return RuleSubject(tenant: names[0], client: names[1], action: names[2])
    }

    private static func key(_ subject: RuleSubject) -> [UInt8] {
        var key: [UInt8] = []
        for name in [subject.tenant, subject.client, subject.action] {
            guard let name else {
                key.append(0)
                continue
            }
            key.append(1)
            withUnsafeBytes(of: UInt32(truncatingIfNeeded: name.count).littleEndian) { key += $0 }
            key += name
        }
        return key
    }
}
