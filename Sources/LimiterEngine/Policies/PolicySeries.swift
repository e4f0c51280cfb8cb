// The numbers under which decisions are counted by policy.
//
// A policy gets a number when it first exists, and keeps it while the process runs: a series that has begun never
// disappears, and a policy that is removed and created again continues its own. Names come from operators, but nothing
// bounds how many they use in a year, so all policies after the first 200 names share the last number. So do policies
// whose names cannot be a label: one that is not UTF-8, and `other`, which is what the shared number is called.

import System

/// Assigns numbers to names of policies. Thread-safe.
public final class PolicySeries: Sendable {
    /// Names with a number of their own.
    public static let namesMax = 200
    /// How many numbers there are: one for each name, and one shared by all other policies.
    public static let count = namesMax + 1

    private struct State {
        var numbers: [[UInt8]: UInt16] = [:]
        var names: [String] = []
        var hasOthers = false
    }

    private let state = Locked(State())

    /// No names.
    public init() {}

    /// The names that have numbers, each with its number; `other` if some policies share the last one. A copy.
    public var names: [(name: String, number: Int)] {
        state.withLock { state in
            state.names.enumerated().map { ($1, $0) } + (state.hasOthers ? [("other", PolicySeries.namesMax)] : [])
        }
    }

    /// The number of a name, from now on.
    func number(of name: [UInt8]) -> UInt16 {
        state.withLock { state in
            if let known = state.numbers[name] { return known }
            guard state.names.count < PolicySeries.namesMax, let text = String(validating: name, as: UTF8.self),
                text != "other"
            else {
                state.hasOthers = true
                return UInt16(PolicySeries.namesMax)
            }
            let number = UInt16(state.names.count)
            state.names.append(text)
            state.numbers[name] = number
            return number
        }
    }
}
