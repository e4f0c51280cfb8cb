// RL.POLICY LIST and RL.RULE LIST as sliced work: there may be a million rules, and the reply is sorted.

import LimiterEngine
import RESP

/// RL.POLICY LIST: the policies, which the table keeps sorted by name.
final class PolicyListWork: SlicedWork {
    private let policies: [Policy]
    private let found: ReplyPieces
    private var next = 0

    private static let stepsPerPolicy = 1_000

    init(_ table: PolicyTable, version: ProtocolVersion) {
        policies = table.policies
        found = ReplyPieces(version: version)
    }

    func advance(_ keyspace: KeyspaceSession, now: EngineTime, _ budget: inout StepBudget) -> Bool {
        while next < policies.count, budget.isFinal || !budget.isSpent {
            PolicyReply.policy(policies[next], now: now, to: found.buffer)
            found.endElement()
            next += 1
            if !budget.isFinal { budget.steps -= PolicyListWork.stepsPerPolicy }
        }
        return next == policies.count
    }

    func writeReply(to reply: ReplyBuffer) { reply.array(policies.count) }

    var elements: ReplyPieces? { found }
}

/// RL.RULE LIST: the rules, which the table does not keep sorted. Sorts short runs, and merges the runs.
final class RuleListWork: SlicedWork {
    /// Rules in a run.
    private static let runLength = 128
    /// Steps to read and sort a run, and to merge and write a rule.
    private static let stepsPerRun = 70_000
    private static let stepsPerRule = 2_000

    private let table: PolicyTable
    private var cursor = PolicyTable.RuleCursor()
    private var hasRead = false
    private var runs = RunHeap()
    private let found: ReplyPieces
    private var count = 0

    init(_ table: PolicyTable, version: ProtocolVersion) {
        self.table = table
        found = ReplyPieces(version: version)
    }

    func advance(_ keyspace: KeyspaceSession, now: EngineTime, _ budget: inout StepBudget) -> Bool {
        while budget.isFinal || !budget.isSpent {
            guard hasRead else {
                readRun()
                if !budget.isFinal { budget.steps -= RuleListWork.stepsPerRun }
                continue
            }
            guard let rule = runs.removeFirst() else { return true }
            PolicyReply.rule(rule, to: found.buffer)
            found.endElement()
            count += 1
            if !budget.isFinal { budget.steps -= RuleListWork.stepsPerRule }
        }
        return false
    }

    private func readRun() {
        var run: [Rule] = []
        while run.count < RuleListWork.runLength, let rule = table.nextRule(&cursor) { run.append(rule) }
        hasRead = run.count < RuleListWork.runLength
        // In descending order, so that the first rule can be removed from the end.
        runs.insert(run.sorted { $1.subject.precedes($0.subject) })
    }

    func writeReply(to reply: ReplyBuffer) { reply.array(count) }

    var elements: ReplyPieces? { found }
}

/// A heap of sorted runs of rules, with the first rule in the run at the root.
private struct RunHeap {
    /// Each run is in descending order and not empty.
    private var runs: [[Rule]] = []

    mutating func insert(_ run: [Rule]) {
        guard !run.isEmpty else { return }
        runs.append(run)
        var child = runs.count - 1
        while child > 0, isBefore(child, (child - 1) / 2) {
            runs.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func removeFirst() -> Rule? {
        guard !runs.isEmpty else { return nil }
        let rule = runs[0].removeLast()
        if runs[0].isEmpty {
            runs.swapAt(0, runs.count - 1)
            runs.removeLast()
        }
        var parent = 0
        while true {
            var first = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < runs.count && isBefore(child, first) {
                first = child
            }
            guard first != parent else { return rule }
            runs.swapAt(first, parent)
            parent = first
        }
    }

    private func isBefore(_ left: Int, _ right: Int) -> Bool {
        runs[left].last!.subject.precedes(runs[right].last!.subject)
    }
}

extension RuleSubject {
    /// The order of lists: `*` before names, names by their bytes.
    fileprivate func precedes(_ other: RuleSubject) -> Bool {
        for (left, right) in [(tenant, other.tenant), (client, other.client), (action, other.action)]
        where left != right {
            guard let right else { return false }
            return left?.lexicographicallyPrecedes(right) ?? true
        }
        return false
    }
}
