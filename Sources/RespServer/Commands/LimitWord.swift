// The words of limits, and which of them a command accepts. Meaning and order are LimitArguments' to know.

import RESP

/// The words that introduce a value or stand for themselves.
enum LimitWord: UInt8 {
    case limit, per, burst, algo, offset, policy, cost, atMost, id, and, mode, nx, zone, start

    /// Nil for any other word. Whatever its case.
    @inline(__always)
    init?(_ argument: Argument) {
        guard argument.count <= 6 else { return nil }
        // Compared as numbers, which are the words' letters from the last to the first; tests fileText them out.
        switch (argument.shortWord, argument.count) {
        case (0x6469, 2): self = .id
        case (0x72_6570, 3): self = .per
        case (0x64_6E61, 3): self = .and
        case (0x7473_6F63, 4): self = .cost
        case (0x6F67_6C61, 4): self = .algo
        case (0x6564_6F6D, 4): self = .mode
        case (0x656E_6F7A, 4): self = .zone
        case (0x74_696D_696C, 5): self = .limit
        case (0x74_7372_7562, 5): self = .burst
        case (0x74_7261_7473, 5): self = .start
        case (0x7963_696C_6F70, 6): self = .policy
        case (0x7473_6F6D_7461, 6): self = .atMost
        case (0x7465_7366_666F, 6): self = .offset
        case (0x786E, 2): self = .nx
        default: return nil
        }
    }

    /// The word as the documentation has it.
    var text: String {
        switch self {
        case .limit: "LIMIT"
        case .per: "PER"
        case .burst: "BURST"
        case .algo: "ALGO"
        case .offset: "OFFSET"
        case .policy: "POLICY"
        case .cost: "COST"
        case .atMost: "ATMOST"
        case .id: "ID"
        case .and: "AND"
        case .mode: "MODE"
        case .nx: "NX"
        case .zone: "ZONE"
        case .start: "START"
        }
    }

    /// Whether a value follows.
    var hasValue: Bool { self != .atMost && self != .and && self != .nx }
}

/// A set of words.
struct LimitWords: OptionSet {
    let rawValue: UInt16

    init(rawValue: UInt16) { self.rawValue = rawValue }
    init(_ word: LimitWord) { rawValue = 1 << UInt16(word.rawValue) }

    /// A limit in numbers.
    static let numbers: LimitWords = [
        .init(.limit), .init(.per), .init(.burst), .init(.algo), .init(.offset), .init(.zone), .init(.start),
    ]
    /// A limit, whichever way it is said.
    static let limit: LimitWords = numbers.union(.init(.policy))
    /// What RL.TAKE and RL.PEEK accept.
    static let take: LimitWords = limit.union([.init(.cost), .init(.atMost), .init(.id)])
    /// What RL.REFUND accepts.
    static let refund: LimitWords = limit.union(.init(.cost))
    /// What RL.CHECK accepts behind the names.
    static let check: LimitWords = [.init(.cost), .init(.atMost), .init(.id)]
    /// What the rules file accepts of a policy.
    static let policy: LimitWords = numbers.union(.init(.mode))
    /// What RL.POLICY SET accepts.
    static let policyChange: LimitWords = policy.union(.init(.nx))
}
