// RL.TAKE, RL.PEEK, RL.REFUND, RL.RESET, RL.TAKEALL and RL.CHECK, one call at a time: inside EXEC, for a monitored
// server, and so on. The straight path decides the same calls in batches.

import LimiterEngine
import RESP

extension Handlers {
    static func rlTake(_ context: CommandContext) { decide(context, .take) }
    static func rlPeek(_ context: CommandContext) { decide(context, .peek) }
    static func rlRefund(_ context: CommandContext) { decide(context, .refund) }

    private static func decide(_ context: CommandContext, _ operation: TakeRequest.Operation) {
        var take = TakeRequest.blank
        do throws(ArgumentProblem) {
            try LimitArguments.read(
                operation, context.arguments, to: &take, context.keyspace, context.loop.limitCache,
                tokenWindow: context.loop.settings.tokenWindow)
            context.keyspace.decide(&take, key: context.arguments[1].raw, now: context.now)
            LimitReply.write(&take, to: context.reply)
        } catch {
            context.reply.error(error.text)
        }
    }

    static func rlReset(_ context: CommandContext) {
        let key = context.arguments[1].raw
        let kind = context.keyspace.state(of: key, now: context.now)?.kind
        if kind == .counter {
            return context.reply.error(LimitReply.wrongKind(kind, wanted: "a limit"))
        }
        context.reply.integer(context.keyspace.reset(key, now: context.now) ? 1 : 0)
    }

    // MARK: By rule

    static func rlCheck(_ context: CommandContext) {
        var take = TakeRequest.blank
        do throws(ArgumentProblem) {
            let keyCount = try CheckArguments.keyCount(context.arguments)
            try CheckArguments.read(
                context.arguments, to: &take, context.keyspace, tokenWindow: context.loop.settings.tokenWindow)
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: keyCount) { memory in
                CheckArguments.writeKey(context.arguments, to: memory.baseAddress!)
                context.keyspace.decide(&take, key: UnsafeRawBufferPointer(memory), now: context.now)
            }
            LimitReply.write(&take, to: context.reply)
        } catch {
            context.reply.error(error.text)
        }
    }

    // MARK: All or nothing

    static func rlTakeAll(_ context: CommandContext) {
        let most = TakeAllArguments.limitsMax(context.arguments)
        withUnsafeTemporaryAllocation(of: TakeRequest.self, capacity: most) { takes in
            takes.initialize(repeating: .blank)
            withUnsafeTemporaryAllocation(of: ThrottleRequest.self, capacity: most) { requests in
                let (takes, requests) = (takes.baseAddress!, requests.baseAddress!)
                do throws(ArgumentProblem) {
                    let count = try TakeAllArguments.read(
                        context.arguments, to: takes, requests, limitsMax: most, context.keyspace,
                        context.loop.limitCache)
                    var group = KeyspaceSession.Group(first: 0, count: count)
                    group.outcome = context.keyspace.takeAll(requests, count: count, now: context.now)
                    LimitReply.write(group, requests, to: context.reply)
                } catch {
                    context.reply.error(error.text)
                }
            }
        }
    }
}

/// RL.CHECK's arguments: tenant, client and action, and the call of the limit that their rule gives them. The same for
/// a batch and for a call alone.
enum CheckArguments {
    /// Bytes of the key that holds their state.
    @inline(__always)
    static func keyCount(_ arguments: ArgumentList) throws(ArgumentProblem) -> Int {
        let count = CheckKey.count(tenant: arguments[1].raw, client: arguments[2].raw, action: arguments[3].raw)
        guard count <= keyLengthMax else {
            throw ArgumentProblem("ERR tenant, client and action together are longer than a key may be")
        }
        return count
    }

    /// Makes `take` the call of the winning limit.
    @inline(__always)
    static func read(
        _ arguments: ArgumentList, to take: UnsafeMutablePointer<TakeRequest>, _ keyspace: KeyspaceSession,
        tokenWindow: Int64
    ) throws(ArgumentProblem) {
        let words = try LimitArguments(arguments, from: 4, accepting: .check)
        take.pointee.demand = try words.demand()
        let policies = keyspace.policies
        let found = policies.resolve(
            tenant: arguments[1].raw, client: arguments[2].raw, action: arguments[3].raw)
        guard let found else {
            throw ArgumentProblem("NORULE no rule is about this tenant, client and action")
        }
        policies.writeTerms(ofPolicy: found.policy, to: take)
        words.finish(.take, take, tokenWindow)
    }

    /// Writes the key to memory of `keyCount` bytes.
    @inline(__always)
    static func writeKey(_ arguments: ArgumentList, to memory: UnsafeMutablePointer<UInt8>) {
        CheckKey.write(tenant: arguments[1].raw, client: arguments[2].raw, action: arguments[3].raw, to: memory)
    }
}

/// RL.TAKEALL's arguments: a key and a call for each limit. The same for a batch and for a call alone.
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

    /// Writes the calls to `takes` and `requests`, which have room for `limitsMax`, and returns how many there are.
    @inline(never)
    static func read(
        _ arguments: ArgumentList, to takes: UnsafeMutablePointer<TakeRequest>,
        _ requests: UnsafeMutablePointer<ThrottleRequest>, limitsMax: Int, _ keyspace: KeyspaceSession,
        _ cache: LimitCache
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
            let take = takes + count
            if let demand = try readOne(arguments, from: &index, to: take, keyspace, cache) {
                guard cost == nil else {
                    throw ArgumentProblem("ERR COST is given twice: one counts for all limits")
                }
                cost = demand
            }
            (requests + count).initialize(to: ThrottleRequest(key: key.base, keyLength: key.count, take: take))
            count += 1
            index += 1
        } while index <= arguments.count
        if let cost {
            for position in 0..<count { takes[position].demand = cost }
        }
        return count
    }

    /// Reads one of the limits, up to the end or an AND, and moves `index` there. Returns the demand that COST says.
    @inline(__always)
    private static func readOne(
        _ arguments: ArgumentList, from index: inout Int, to take: UnsafeMutablePointer<TakeRequest>,
        _ keyspace: KeyspaceSession, _ cache: LimitCache
    ) throws(ArgumentProblem) -> Demand? {
        let known = cache.find(arguments, at: index)
        if let known {
            let end = index + known.pointee.arguments
            if end == arguments.count || LimitWord(arguments[end]) == .and {
                known.pointee.writeForOne(.take, to: take, tokenWindow: 1)
                index = end
                return nil
            }
        }
        let words = try LimitArguments(arguments, from: &index, accepting: .refund, known)
        try words.write(.take, to: take, keyspace, tokenWindow: 1, arguments, cache)
        return words.has(.cost) ? take.pointee.demand : nil
    }
}
