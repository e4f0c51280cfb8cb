// The arguments of RL.CHECK and RL.TAKEALL, which name more than a key and a limit.

import LimiterEngine
import RESP

/// RL.CHECK's arguments: tenant, client and action, and the call of the limit that their rule gives them.
enum CheckArguments {
    /// Bytes of the key that holds their state.
    @inline(__always)
    static func keyLength(_ arguments: ArgumentList) throws(ArgumentProblem) -> Int {
        let length = CheckKey.count(tenant: arguments[1].raw, client: arguments[2].raw, action: arguments[3].raw)
        guard length <= keyLengthMax else {
            throw ArgumentProblem("ERR tenant, client and action together are longer than a key may be")
        }
        return length
    }

    /// Makes `call` one of the winning limit.
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
            throw ArgumentProblem("NORULE no rule is about this tenant, client and action")
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

    /// Room for how many limits is enough to read the arguments: 1 to `KeyspaceSession.takeAllMax`. The shortest limit
    /// is `key POLICY name` behind the command's name or an AND: four arguments. One more may be begun.
    static func limitsMax(_ arguments: ArgumentList) -> Int {
        min(arguments.count / 4 + 1, KeyspaceSession.takeAllMax)
    }

    /// Where the keys are among all arguments, the name of the command being at `start`; of a malformed call, up to the
    /// mistake. Uses the parser of `read`, so that EXEC holds the stripe of every key that `read` will find. Allocates.
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

    /// Writes the calls to `calls`, which have room for `limitsMax`, and returns how many there are.
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
            // Every limit before was whole and took four arguments or more.
            precondition(count < limitsMax)
            let call = calls + count
            if let demand = try readOne(arguments, from: &index, to: call, keyspace, cache) {
                guard cost == nil else {
                    throw ArgumentProblem("ERR COST is given twice: one counts for all limits")
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

    /// Reads one of the limits, up to the end or an AND, and moves `index` there. Returns the demand, where COST
    /// specifies one.
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
