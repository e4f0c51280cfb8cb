// The rules file: policies and rules said once, one a line, in the words of the commands.
//
//   # comment
//   policy free LIMIT 100 PER 1m BURST 20
//   policy night LIMIT 10 PER 1d ALGO fixed-window OFFSET 2h MODE shadow
//   rule * * * POLICY free
//   rule acme "client 7" login POLICY night
//
// Words may stand in quotes, as in the configuration file. Owns reading and checking; takes no effect by itself. An
// error names the file and the line, and then nothing of the file counts.

import Glibc
import LimiterEngine
import Persistence
import RESP
import System

/// Why a rules file was not taken: one line that names the file, and the line where there is one.
struct RulesFileError: Error, Equatable, Sendable {
    var text: String
}

/// A rules file that was read whole. Each policy and each subject comes once, and every name is a name.
struct RulesFile {
    /// Larger files are refused.
    static let bytesMax = 256 << 20

    let path: String
    private(set) var policies: [Policy] = []
    private(set) var rules: [Rule] = []
    private var policyLines: [[UInt8]: Int] = [:]
    private var ruleLines: [RuleSubject: Int] = [:]

    init(path: String) throws(RulesFileError) {
        try self.init(try RulesFile.read(path), path: path)
    }

    /// A file of these bytes; `path` is for errors.
    init(_ bytes: [UInt8], path: String) throws(RulesFileError) {
        self.path = path
        let list = ArgumentList()
        for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            let problem = line.withUnsafeBufferPointer { line -> ArgumentProblem? in
                do throws(ArgumentProblem) {
                    switch try RulesFile.entry(line, list) {
                    case .policy(let policy): try add(policy, index + 1)
                    case .rule(let rule): try add(rule, index + 1)
                    case nil: break
                    }
                    return nil
                } catch {
                    return error
                }
            }
            if let problem { throw RulesFileError(text: "\(path):\(index + 1): \(RulesFile.sentence(problem))") }
        }
    }

    /// The reason without the error code that a client would see.
    private static func sentence(_ problem: ArgumentProblem) -> String {
        problem.text.hasPrefix("ERR ") ? String(problem.text.dropFirst(4)) : problem.text
    }

    /// What a line says; nil for a comment or nothing. `list` is where its words go. A line that was accepted once may
    /// name a zone that this machine does not have.
    static func entry(
        _ line: UnsafeBufferPointer<UInt8>, _ list: ArgumentList, acceptsUnknownZones: Bool = false
    ) throws(ArgumentProblem) -> PolicyEntry? {
        if line.first(where: { $0 != 0x20 && !($0 >= 0x09 && $0 <= 0x0D) }) == UInt8(ascii: "#") { return nil }
        guard let base = line.baseAddress else { return nil }
        // As of a file whose end was lost in a power cut. The splitter would take it for white space.
        guard !line.contains(0) else {
            throw ArgumentProblem("a zero byte; in a name it is written \"\\x00\"")
        }
        guard list.splitLine(Argument(base: base, count: line.count), argumentsMax: 64) else {
            throw ArgumentProblem("unbalanced quotes, or more than 64 words")
        }
        guard list.count > 0 else { return nil }
        if list[0].matches("policy") {
            guard list.count >= 2 else { throw ArgumentProblem("policy needs a name") }
            return .policy(
                try PolicyArguments.policy(list, nameAt: 1, acceptsUnknownZones: acceptsUnknownZones))
        } else if list[0].matches("rule") {
            return .rule(try PolicyArguments.rule(list, subjectAt: 1))
        }
        throw ArgumentProblem("a line begins with policy, rule or #, not with '\(LimitArguments.shown(list[0]))'")
    }

    private mutating func add(_ policy: Policy, _ number: Int) throws(ArgumentProblem) {
        if let earlier = policyLines.updateValue(number, forKey: policy.name) {
            throw ArgumentProblem("policy '\(PolicyError.shown(policy.name))' stands in line \(earlier) already")
        }
        policies.append(policy)
    }

    private mutating func add(_ rule: Rule, _ number: Int) throws(ArgumentProblem) {
        if let earlier = ruleLines.updateValue(number, forKey: rule.subject) {
            throw ArgumentProblem("a rule for '\(rule.subject.shown)' stands in line \(earlier) already")
        }
        rules.append(rule)
    }

    /// What the registry said to the file, with the line where one is to blame.
    func error(_ error: PolicyError) -> RulesFileError {
        var place = path
        if case .unknownPolicy(let name) = error, let rule = rules.first(where: { $0.policy == name }),
            let line = ruleLines[rule.subject]
        {
            place += ":\(line)"
        }
        if case .policyInUse = error {
            return RulesFileError(text: "\(place): a policy that the file no longer has is in use: \(error.text)")
        }
        return RulesFileError(text: "\(place): \(error.text)")
    }

    // MARK: Reading

    private static func read(_ path: String) throws(RulesFileError) -> [UInt8] {
        let bytes: [UInt8]?
        var isRegular = true
        do throws(SystemError) {
            // A pipe would be waited for until something is written to it.
            let file = try FileDescriptor.open(path, O_RDONLY | O_NONBLOCK)
            defer { file.close() }
            isRegular = file.isRegular
            bytes = isRegular ? try file.readAll(limit: bytesMax) : []
        } catch {
            throw RulesFileError(text: "\(path): cannot be read: \(SystemError.text(error.code))")
        }
        guard isRegular else { throw RulesFileError(text: "\(path): cannot be read: not a regular file") }
        guard let bytes else { throw RulesFileError(text: "\(path): larger than \(bytesMax) bytes") }
        return bytes
    }
}

/// Policies and rules in the words of commands and of the file.
enum PolicyArguments {
    /// `name [LIMIT n] [PER period] … [NX]`, the name at `nameAt`: a command's change, and whether it is only to make a
    /// policy that there is not.
    static func change(
        _ arguments: ArgumentList, nameAt index: Int
    ) throws(ArgumentProblem) -> (change: PolicyChange, isOnlyNew: Bool) {
        let name = try name(arguments[index], "name")
        let words = try LimitArguments(arguments, from: index + 1, accepting: .policyChange)
        return (words.change(of: name), words.has(.nx))
    }

    /// `tenant client action POLICY name [NX]`, the tenant at `subjectAt`.
    static func ruleChange(
        _ arguments: ArgumentList, subjectAt index: Int
    ) throws(ArgumentProblem) -> (rule: Rule, isOnlyNew: Bool) {
        guard arguments.count == index + 6 else { return (try rule(arguments, subjectAt: index), false) }
        guard arguments[index + 3].matches("POLICY"), arguments[index + 5].matches("NX") else {
            throw ArgumentProblem(ruleSyntax)
        }
        return (try rule(arguments, subjectAt: index, isFollowed: true), true)
    }

    private static let ruleSyntax = "ERR syntax error: tenant, client, action and POLICY with a name are expected"

    /// `name LIMIT n PER period …`, the name at `nameAt`: the whole policy, as the file says it.
    static func policy(
        _ arguments: ArgumentList, nameAt index: Int, acceptsUnknownZones: Bool = false
    ) throws(ArgumentProblem) -> Policy {
        let name = try name(arguments[index], "name")
        let words = try LimitArguments(
            arguments, from: index + 1, accepting: .policy, acceptsUnknownZones: acceptsUnknownZones)
        return Policy(name: name, limit: try words.limit(), mode: words.mode)
    }

    /// `tenant client action POLICY name`, the tenant at `subjectAt`.
    static func rule(
        _ arguments: ArgumentList, subjectAt index: Int, isFollowed: Bool = false
    ) throws(ArgumentProblem) -> Rule {
        guard arguments.count == index + (isFollowed ? 6 : 5), arguments[index + 3].matches("POLICY") else {
            throw ArgumentProblem(ruleSyntax)
        }
        let policy = try name(arguments[index + 4], "POLICY")
        return Rule(try subject(arguments, at: index), policy: policy)
    }

    /// Tenant, client and action; `*` is everybody.
    static func subject(_ arguments: ArgumentList, at index: Int) throws(ArgumentProblem) -> RuleSubject {
        RuleSubject(
            tenant: try pattern(arguments[index], "tenant"), client: try pattern(arguments[index + 1], "client"),
            action: try pattern(arguments[index + 2], "action"))
    }

    private static func pattern(_ argument: Argument, _ label: String) throws(ArgumentProblem) -> [UInt8]? {
        argument.count == 1 && argument.base[0] == UInt8(ascii: "*") ? nil : try name(argument, label)
    }

    private static func name(_ argument: Argument, _ label: String) throws(ArgumentProblem) -> [UInt8] {
        guard argument.count >= 1, argument.count <= Policy.nameLengthMax else {
            throw ArgumentProblem("ERR \(label) must have 1 to \(Policy.nameLengthMax) bytes")
        }
        return argument.bytes
    }
}
