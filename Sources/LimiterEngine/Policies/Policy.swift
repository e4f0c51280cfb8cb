// Named limits, the rules that assign them, and errors about both. Values; the tables are built elsewhere.

/// The origin of a policy or rule. The raw value is journaled: never reuse one.
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
    /// The enforcement mode.
    public var mode: LimitCall.Mode
    /// Its origin.
    public var origin: PolicyOrigin
    /// Superseded limits, the latest last.
    var earlier: [SupersededLimit] = [] {
        didSet { limit = limit.bound(by: earlier) }
    }

    /// A policy with these fields and no superseded limits.
    public init(
        name: [UInt8], limit: Limit, mode: LimitCall.Mode = .enforce, origin: PolicyOrigin = .command
    ) {
        self.name = name
        self.limit = limit
        self.mode = mode
        self.origin = origin
    }
}

/// The subject of a rule: names, or nil for all (`*`).
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

/// Assigns a policy to a subject.
public struct Rule: Equatable, Sendable {
    /// The subject it applies to.
    public var subject: RuleSubject
    /// The name of the assigned policy.
    public var policy: [UInt8]
    /// Its origin.
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
    /// Rules use the policy: one of them, and their number.
    case policyInUse(by: RuleSubject, count: Int)
    /// There is no rule for this subject.
    case unknownRule(RuleSubject)
    /// There would be more than `PolicyTable.policiesMax` policies.
    case tooManyPolicies
    /// There would be more than `PolicyTable.rulesMax` rules.
    case tooManyRules
    /// A record was not written by an encoder.
    case damagedRecord
    /// A command specifies neither this argument nor a policy that has it.
    case incomplete(LimitError.Argument)
    /// The command's values do not form a limit together with those kept from the existing policy.
    case invalidLimit(LimitError, keeping: Policy?)
}

/// Why a rule won: the most specific match. Raw values are in order of specificity.
public enum RuleLevel: UInt8, Comparable, Sendable, CaseIterable {
    /// Neither tenant, client nor action is named.
    case globalDefault
    /// Only the action is named.
    case globalAction
    /// Only the tenant is named.
    case tenant
    /// Tenant and action are named.
    case tenantAction
    /// The client is named, and perhaps the tenant.
    case client
    /// Client and action are named, and perhaps the tenant.
    case clientAction

    /// Orders levels from less to more specific.
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
