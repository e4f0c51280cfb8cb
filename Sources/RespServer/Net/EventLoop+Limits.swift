// The straight path of RL.TAKE, RL.PEEK, RL.REFUND, RL.CHECK and RL.TAKEALL: decided in one batch with CL.THROTTLE, in
// the order in which requests came. A batch of CL.THROTTLE alone never comes here.
//
// Calls are read right into the batch's memory. A RL.TAKEALL is a group of it: a neighbouring call for each limit.

import LimiterEngine
import RESP

extension EventLoop {
    /// Puts the call in `arguments` into the batch, or answers what is wrong with it. False when it has to go the
    /// other way: it is not one of these commands, or too short, or its key too long.
    @inline(never)
    func enqueueLimit(_ connection: Connection, _ command: Int) -> Bool {
        guard arguments.count >= 4 else { return false }
        if wave.requestCount == Wave.batchMax { decideBatch() }
        do throws(ArgumentProblem) {
            guard try addLimit(command) else { return false }
        } catch {
            refuseLimit(connection, command, error.text)
            return true
        }
        connection.lastCommand = Int16(truncatingIfNeeded: command)
        connection.lastSubcommand = -1
        return true
    }

    @inline(__always)
    private func addLimit(_ command: Int) throws(ArgumentProblem) -> Bool {
        let operation: TakeRequest.Operation
        if command == limitCommands.take {
            operation = .take
        } else if command == limitCommands.check {
            return try addCheck(command)
        } else if command == limitCommands.takeAll {
            try addTakeAll(command)
            return true
        } else if command == limitCommands.peek {
            operation = .peek
        } else if command == limitCommands.refund {
            operation = .refund
        } else {
            return false
        }
        let take = wave.takes + wave.requestCount
        try LimitArguments.read(operation, arguments, to: take, keyspace, limitCache, tokenWindow: settings.tokenWindow)
        add(take, key: arguments[1].base, arguments[1].count, command)
        return true
    }

    @inline(never)
    private func addCheck(_ command: Int) throws(ArgumentProblem) -> Bool {
        let keyCount = try CheckArguments.keyCount(arguments)
        guard keyCount <= Wave.keyCapacity else { return false }
        if keyCount > wave.keyMemoryLeft { decideBatch() }
        let take = wave.takes + wave.requestCount
        try CheckArguments.read(arguments, to: take, keyspace, tokenWindow: settings.tokenWindow)
        let key = wave.keyMemory(keyCount)
        CheckArguments.writeKey(arguments, to: key)
        add(take, key: key, keyCount, command)
        return true
    }

    /// Its limits stand next to each other, so there is room for all of them or the batch is decided first.
    @inline(never)
    private func addTakeAll(_ command: Int) throws(ArgumentProblem) {
        let limitsMax = TakeAllArguments.limitsMax(arguments)
        assert(limitsMax <= Wave.batchMax)
        if wave.requestCount + limitsMax > Wave.batchMax { decideBatch() }
        let first = wave.requestCount
        let count = try TakeAllArguments.read(
            arguments, to: wave.takes + first, wave.requests + first, limitsMax: limitsMax, keyspace,
            limitCache)
        // Fewer groups than calls, so there is a place.
        (wave.groups + wave.groupCount).initialize(to: KeyspaceSession.Group(first: first, count: count))
        wave.groupCount &+= 1
        for position in first..<first + count { note(command, at: position) }
        wave.requestCount &+= count
        wave.hasTakes = true
        wave.handled &+= 1
    }

    @inline(__always)
    private func add(
        _ take: UnsafeMutablePointer<TakeRequest>, key: UnsafePointer<UInt8>, _ keyLength: Int, _ command: Int
    ) {
        let position = wave.requestCount
        (wave.requests + position).initialize(to: ThrottleRequest(key: key, keyLength: keyLength, take: take))
        note(command, at: position)
        wave.hasTakes = true
        wave.requestCount &+= 1
        wave.handled &+= 1
    }

    /// Whose call of the batch this is, and of which command.
    @inline(__always)
    private func note(_ command: Int, at position: Int) {
        wave.commands[position] = Int16(truncatingIfNeeded: command)
        wave.owners[position] = Int32(truncatingIfNeeded: wave.servedCount &- 1)
    }

    private func refuseLimit(_ connection: Connection, _ command: Int, _ text: String) {
        decideBatch()
        connection.lastCommand = Int16(truncatingIfNeeded: command)
        connection.lastSubcommand = -1
        wave.handled &+= 1
        reply.version = connection.version
        reply.error(text)
        noteFailedLimit(command, text)
        counters.add(.commands, 1)
        commandStatistics.record(command, calls: 1, nanoseconds: 0, failed: false, latency: false)
        endReply()
    }

    private func noteFailedLimit(_ command: Int, _ text: String) {
        noteRejection(text)
        commandStatistics.fail(command)
    }

    // MARK: Deciding

    /// As `decideBatch`, for a batch in which not every call is a CL.THROTTLE.
    @inline(never)
    func decideMixedBatch() {
        let count = wave.requestCount
        let groups = UnsafeMutableBufferPointer(start: wave.groups, count: wave.groupCount)
        keyspace.decide(wave.requests, count: count, groups: groups, now: now)
        let requests = wave.requests
        var hasChanges = false
        var position = 0
        var group = 0
        var owner = -1
        while position < count {
            let first = position
            if wave.owners[first] != owner {
                owner = Int(wave.owners[first])
                reply.version = wave.served[owner].version
            }
            if group < groups.count, groups[group].first == first {
                if let text = LimitReply.write(groups[group], requests + first, to: reply) {
                    noteFailedLimit(Int(wave.commands[first]), text)
                }
                position &+= groups[group].count
                group &+= 1
            } else {
                writeReply(first)
                position &+= 1
            }
            wave.replyEnds[owner] = reply.count
            for number in first..<position where requests[number].hasChangedState {
                hasChanges = true
                wave.changes[owner] = true
            }
        }
        if hasChanges { durability.noteChanges() }
        noteMixedBatch(count)
        wave.requestCount = 0
        wave.forgetTakes()
    }

    @inline(__always)
    private func writeReply(_ position: Int) {
        if let take = wave.requests[position].take {
            if let text = LimitReply.write(take, to: reply) { noteFailedLimit(Int(wave.commands[position]), text) }
        } else {
            ThrottleArguments.write(wave.requests[position], to: reply) { noteFailedLimit(throttle, $0) }
        }
    }

    /// Counts a decided batch, each command for itself. Its calls took the same time each, as far as anybody can tell;
    /// of a group every limit is counted as one, but for the number of calls.
    private func noteMixedBatch(_ count: Int) {
        let took = timeOfBatch()
        let requests = wave.requests
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: 2 * (lastBatched + 1)) { numbers in
            numbers.initialize(repeating: 0)
            let decisions = numbers.baseAddress!
            let calls = decisions + lastBatched + 1
            for number in 0..<count {
                let command = requests[number].take == nil ? throttle : Int(wave.commands[number])
                decisions[command] &+= 1
                calls[command] &+= 1
            }
            var sum = count
            for number in 0..<wave.groupCount {
                let more = wave.groups[number].count - 1
                calls[limitCommands.takeAll] -= Int32(truncatingIfNeeded: more)
                sum -= more
            }
            counters.add(.commands, UInt64(sum))
            for command in 0...lastBatched where calls[command] > 0 {
                commandStatistics.record(
                    command, calls: Int(calls[command]), nanoseconds: took * Int64(decisions[command]) / Int64(count),
                    failed: false, latency: settings.latencyTracking)
            }
        }
        noteDelay(ofBatch: count, nanoseconds: took)
    }
}
