// The arguments of RL.CHECK and RL.TAKEALL, which have more than one key and limit.

import LimiterEngine
import RESP

/// RL.CHECK's arguments: tenant, client and action, and the call for the limit that their rule assigns.
enum CheckArguments {
    /// Length in bytes of the key that holds their state.
    @inline(__always)
    static func keyLength(_ arguments: ArgumentList) throws(ArgumentProblem) -> Int {
        let length = CheckKey.count(tenant: arguments[1].raw, client: arguments[2].raw, action: arguments[3].raw)
        guard length <= keyLengthMax else {
            throw tooLong
        }
        return length
    }

    static let tooLong = ArgumentProblem("ERR tenant, client and action together exceed the maximum length of a key")

    /// Fills `call` with the limit of the winning rule.
    @inline(__always)
    static func read(
        _ arguments: ArgumentList, to call: UnsafeMutablePointer<LimitCall>, _ keyspace: KeyspaceSession,
        tokenWindow: Int64
    ) throws(ArgumentProblem) {
        let words = try LimitArguments(arguments, from: 4, accepting: .check)
        try words.begin(.take, call, tokenWindow)
        let policies = keyspace.policies
        let found = policies.resolve(
            tenant: arguments[1].raw, client: arguments[2].raw, action: arguments[3].raw)
        guard let found else {
            throw ArgumentProblem("NORULE no rule matches this tenant, client and action")
        }
        policies.writeTerms(ofPolicy: found.policy, to: call)
    }

    /// Writes the key to memory of `keyLength` bytes.
    @inline(__always)
    static func writeKey(_ arguments: ArgumentList, to memory: UnsafeMutablePointer<UInt8>) {
        CheckKey.write(tenant: arguments[1].raw, client: arguments[2].raw, action: arguments[3].raw, to: memory)
    }
}

/// RL.TAKEALL's arguments: a key and a call for each limit.
enum TakeAllArguments {
    static let tooMany = "ERR at most \(KeyspaceSession.takeAllMax) limits at a time"

    /// Capacity that is enough to read the arguments: 1 to `KeyspaceSession.takeAllMax` limits. The shortest limit is
    /// `key POLICY name` after the command's name or an AND: four arguments. One more limit may be incomplete.
    static func limitsMax(_ arguments: ArgumentList) -> Int {
        min(arguments.count / 4 + 1, KeyspaceSession.takeAllMax)
    }

    /// Positions of the keys among all arguments, with the command's name at `start`; of a malformed call, up to the
    /// error. Uses the parser of `read`, so that EXEC locks the stripe of every key that `read` will find. Allocates.
    static func keyPositions(_ arguments: ArgumentList, from start: Int) -> [Int] {
        var positions: [Int] = []
        var index = start + 1
        while index < arguments.count, positions.count < KeyspaceSession.takeAllMax {
            positions.append(index)
            index += 1
            do throws(ArgumentProblem) {
                _ = try LimitArguments(arguments, from: &index, accepting: .refund)
            } catch {
                break
            }
            index += 1
        }
        return positions
    }

    /// Writes the calls to `calls`, which has room for `limitsMax`, and returns their number.
    @inline(never)
    static func read(
        _ arguments: ArgumentList, to calls: UnsafeMutablePointer<LimitCall>, limitsMax: Int,
        _ keyspace: KeyspaceSession, _ cache: LimitCache
    ) throws(ArgumentProblem) -> Int {
        var index = 1
        var count = 0
        var cost: Demand?
        repeat {
            guard index < arguments.count else { throw ArgumentProblem("ERR AND needs a key") }
            guard count < KeyspaceSession.takeAllMax else { throw ArgumentProblem(tooMany) }
            let key = arguments[index]
            index += 1
            // Every previous limit was complete and had at least four arguments.
            precondition(count < limitsMax)
            let call = calls + count
            if let demand = try readOne(arguments, from: &index, to: call, keyspace, cache) {
                guard cost == nil else {
                    throw ArgumentProblem("ERR COST is given twice: one COST applies to all limits")
                }
                cost = demand
            }
            call.pointee.setKey(key.base, count: key.count)
            count += 1
            index += 1
        } while index <= arguments.count
        if let cost {
            for position in 0..<count { calls[position].demand = cost }
        }
        return count
    }

    /// Reads one limit, up to the end or an AND, and moves `index` there. Returns the demand if COST is given.
    @inline(__always)
    private static func readOne(
        _ arguments: ArgumentList, from index: inout Int, to call: UnsafeMutablePointer<LimitCall>,
        _ keyspace: KeyspaceSession, _ cache: LimitCache
    ) throws(ArgumentProblem) -> Demand? {
        let known = cache.find(arguments, at: index)
        if let known {
            let end = index + known.pointee.arguments
            if end == arguments.count || LimitWord(arguments[end]) == .and {
                known.pointee.writeForOne(.take, to: call)
                index = end
                return nil
            }
        }
        let words = try LimitArguments(arguments, from: &index, accepting: .refund, known)
        try words.write(.take, to: call, keyspace, tokenWindow: 1, arguments, cache)
        return words.has(.cost) ? call.pointee.demand : nil
    }
}
