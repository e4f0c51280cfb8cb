// Named limits, rules that say who gets which, and what can be wrong with them. Values; the tables are made elsewhere.

/// Where a policy or a rule came from. The raw value is journaled: never reuse one.
public enum PolicyOrigin: UInt8, Sendable {
    /// A command.
    case command = 0
    /// The rules file.
    case file = 1
}

/// A named limit.
public struct Policy: Equatable, Sendable {
    /// Longest name of a policy, and of a tenant, client or action in a rule, in bytes.
    public static let nameLengthMax = 512

    /// The name: any bytes, at least one.
    public var name: [UInt8]
    /// The limit, bound by the earlier ones.
    public private(set) var limit: Limit
    /// How seriously it is meant.
    public var mode: LimitCall.Mode
    /// Where it came from.
    public var origin: PolicyOrigin
    /// Limits it had before, the latest last.
    var earlier: [SupersededLimit] = [] {
        didSet { limit = limit.bound(by: earlier) }
    }

    /// A policy with these fields, and without a past.
    public init(
        name: [UInt8], limit: Limit, mode: LimitCall.Mode = .enforce, origin: PolicyOrigin = .command
    ) {
        self.name = name
        self.limit = limit
        self.mode = mode
        self.origin = origin
    }
}

/// Whom a rule is about: names, or nil for everybody (`*`).
public struct RuleSubject: Hashable, Sendable {
    /// The tenant; nil for all.
    public var tenant: [UInt8]?
    /// The client; nil for all.
    public var client: [UInt8]?
    /// The action; nil for all.
    public var action: [UInt8]?

    /// A subject with these names.
    public init(tenant: [UInt8]?, client: [UInt8]?, action: [UInt8]?) {
        self.tenant = tenant
        self.client = client
        self.action = action
    }

    /// Bit 0 for a named tenant, 1 for a named client, 2 for a named action.
    var pattern: Int { (tenant == nil ? 0 : 1) | (client == nil ? 0 : 2) | (action == nil ? 0 : 4) }
}

/// Who gets which policy.
public struct Rule: Equatable, Sendable {
    /// Whom it is about.
    public var subject: RuleSubject
    /// The name of the policy they get.
    public var policy: [UInt8]
    /// Where it came from.
    public var origin: PolicyOrigin

    /// A rule with these fields.
    public init(_ subject: RuleSubject, policy: [UInt8], origin: PolicyOrigin = .command) {
        self.subject = subject
        self.policy = policy
        self.origin = origin
    }
}

/// Why policies and rules were not changed.
public enum PolicyError: Error, Equatable, Sendable {
    /// A name has no bytes.
    case emptyName
    /// A name has more than `Policy.nameLengthMax` bytes.
    case nameTooLong
    /// There is no policy of this name.
    case unknownPolicy([UInt8])
    /// Rules use the policy: one of them, and how many there are.
    case policyInUse(by: RuleSubject, count: Int)
    /// There is no rule for this subject.
    case unknownRule(RuleSubject)
    /// There would be more than `PolicyTable.policiesMax` policies.
    case tooManyPolicies
    /// There would be more than `PolicyTable.rulesMax` rules.
    case tooManyRules
    /// A record is not what an encoder wrote.
    case damagedRecord
    /// A command names neither this argument nor a policy that has it.
    case incomplete(LimitError.Argument)
    /// What a command names makes no limit, together with what it keeps of the policy that there is.
    case invalidLimit(LimitError, keeping: Policy?)
}

/// Why a rule won: the most specific of those that match. Raw values are in order of specificity.
public enum RuleLevel: UInt8, Comparable, Sendable, CaseIterable {
    /// Neither tenant, client nor action are named.
    case globalDefault
    /// The action alone is.
    case globalAction
    /// The tenant alone is.
    case tenant
    /// Tenant and action are.
    case tenantAction
    /// The client is, and perhaps the tenant.
    case client
    /// Client and action are, and perhaps the tenant.
    case clientAction

    /// Which of two levels is less specific.
    public static func < (left: RuleLevel, right: RuleLevel) -> Bool { left.rawValue < right.rawValue }

    /// The level of a pattern of names (`RuleSubject.pattern`).
    init(pattern: Int) {
        self =
            switch pattern & 7 {
            case 6, 7: .clientAction
            case 2, 3: .client
            case 5: .tenantAction
            case 1: .tenant
            case 4: .globalAction
            default: .globalDefault
            }
    }
}
