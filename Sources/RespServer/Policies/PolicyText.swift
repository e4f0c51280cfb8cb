// Formats policies and rules in the syntax of commands and of the rules file, from which they can be parsed again.

import LimiterEngine

enum PolicyText {
    /// `LIMIT 6 PER 1d ALGO fixed-window OFFSET 2h MODE shadow`: everything but the name.
    static func terms(_ policy: Policy) -> String {
        let limit = policy.limit
        var text = "LIMIT \(limit.units) PER \(limit.calendar.map(\.unit.name) ?? period(limit.period))"
        // A limit of 0 has no burst.
        if limit.algorithm.hasBurst, limit.units > 0 { text += " BURST \(limit.capacity)" }
        text += " ALGO \(limit.algorithm.name)"
        if limit.offset != 0 { text += " OFFSET \(period(limit.offset))" }
        if let calendar = limit.calendar { text += " ZONE \(limit.zoneName) START \(calendar.start)" }
        return text + " MODE \(policy.mode.name)"
    }

    /// The policy as a line of the rules file.
    static func line(_ policy: Policy) -> String { "policy \(quoted(policy.name)) \(terms(policy))" }

    /// The rule as a line of the rules file.
    static func line(_ rule: Rule) -> String { "rule \(subject(rule.subject)) POLICY \(quoted(rule.policy))" }

    /// Tenant, client and action, `*` for any.
    static func subject(_ subject: RuleSubject) -> String {
        [subject.tenant, subject.client, subject.action].map { $0.map(quoted) ?? "*" }.joined(separator: " ")
    }

    /// The title of an entry: `policy free`, `rule acme * search`.
    static func title(_ entry: PolicyEntry) -> String {
        switch entry {
        case .policy(let policy): "policy \(quoted(policy.name))"
        case .rule(let rule): "rule \(subject(rule.subject))"
        }
    }

    /// The value of an entry: the limit, or the name of the policy.
    static func meaning(_ entry: PolicyEntry) -> String {
        switch entry {
        case .policy(let policy): terms(policy)
        case .rule(let rule): quoted(rule.policy)
        }
    }

    /// Units of a period, the largest first.
    private static let units: [(name: String, milliseconds: Int64)] = [
        ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000),
    ]

    /// A duration in the largest unit that divides it. Commands allow only multiples of a millisecond.
    static func period(_ nanoseconds: Int64) -> String {
        let isWhole = { (length: Int64) in nanoseconds != 0 && nanoseconds % (length * 1_000_000) == 0 }
        guard let unit = units.first(where: { isWhole($0.milliseconds) }) else {
            return "\(nanoseconds / 1_000_000)ms"
        }
        return "\(nanoseconds / (unit.milliseconds * 1_000_000))\(unit.name)"
    }

    /// A name as one word: verbatim if possible, otherwise in double quotes with escapes.
    static func quoted(_ name: [UInt8]) -> String {
        let special: [UInt8] = [UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "\\"), UInt8(ascii: "#")]
        if !name.isEmpty, name.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !special.contains($0) }) {
            return String(decoding: name, as: UTF8.self)
        }
        var text = "\""
        for byte in name {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += "\\" + String(UnicodeScalar(byte))
            case 0x20..<0x7F: text += String(UnicodeScalar(byte))
            default: text += "\\x" + hexadecimal(byte)
            }
        }
        return text + "\""
    }
}
