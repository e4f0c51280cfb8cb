// Turns the request in a loop's `arguments` into calls of its batch. A command's row in the table specifies which
// batched command it is; this file has each one's reader and reply form.
//
// A reader writes its calls starting at `batch.next`, where there is room for one, and returns their number. A
// malformed request throws `ArgumentProblem` and leaves the batch unchanged, and so does one that has to be run on its
// own (`notBatched`). A request that needs more room first
// causes the batch to be decided.

import LimiterEngine
import RESP

/// The commands that are decided in batches. An enumeration rather than closures in the table: a switch costs a request
/// nothing, where a closure is retained and released each time.
enum BatchedCommand: Sendable {
    case throttle, gcra
    case take, peek, refund, check, takeAll
    case increment, decrement, incrementBy, decrementBy, get
    case scriptBySHA1, scriptByText

    /// Adds the calls for the request in `arguments` to the loop's batch, and returns their number.
    @inline(__always)
    func read(_ loop: EventLoop) throws(ArgumentProblem) -> Int {
        switch self {
        case .throttle: try BatchReaders.throttle(loop)
        case .gcra: try BatchReaders.gcra(loop)
        case .take: try BatchReaders.limit(.take, loop)
        case .peek: try BatchReaders.limit(.peek, loop)
        case .refund: try BatchReaders.limit(.refund, loop)
        case .check: try BatchReaders.check(loop)
        case .takeAll: try BatchReaders.takeAll(loop)
        case .increment: BatchReaders.add(1, loop)
        case .decrement: BatchReaders.add(-1, loop)
        case .incrementBy: try BatchReaders.incrementBy(loop)
        case .decrementBy: try BatchReaders.decrementBy(loop)
        case .get: BatchReaders.get(loop)
        case .scriptBySHA1: try BatchReaders.scriptBySHA1(loop)
        case .scriptByText: try BatchReaders.scriptByText(loop)
        }
    }

    /// How the command's calls are answered. A script's depends on the script: see `EventLoop.batchedScript`.
    var form: Batch.ReplyForm {
        switch self {
        case .throttle, .gcra: .throttle
        case .take, .peek, .refund, .check: .limit
        case .takeAll: .group
        case .increment, .decrement, .incrementBy, .decrementBy: .sum
        case .get: .value
        case .scriptBySHA1, .scriptByText: .scriptSum
        }
    }
}

enum BatchReaders {
    @inline(__always)
    static func throttle(_ loop: EventLoop) throws(ArgumentProblem) -> Int {
        let call = loop.batch.next
        try ThrottleArguments.read(loop.arguments, to: call)
        setKey(of: call, loop)
        return 1
    }

    static func gcra(_ loop: EventLoop) throws(ArgumentProblem) -> Int {
        let call = loop.batch.next
        try ThrottleArguments.readGCRA(loop.arguments, to: call)
        setKey(of: call, loop)
        return 1
    }

    // MARK: Limits

    @inline(__always)
    static func limit(
        _ operation: LimitCall.Operation, _ loop: EventLoop
    ) throws(ArgumentProblem) -> Int {
        let call = loop.batch.next
        try LimitArguments.read(
            operation, loop.arguments, to: call, loop.keyspace, loop.limitCache,
            tokenWindow: loop.settings.tokenWindow)
        setKey(of: call, loop)
        return 1
    }

    /// The key is composed of three arguments, in memory of the batch.
    static func check(_ loop: EventLoop) throws(ArgumentProblem) -> Int {
        let length = try CheckArguments.keyLength(loop.arguments)
        let database = loop.batch.database
        guard database == 0 else { return try check(loop, database, length) }
        if !loop.batch.hasKeyMemory(length) { loop.decideBatch() }
        let call = loop.batch.next
        try CheckArguments.read(loop.arguments, to: call, loop.keyspace, tokenWindow: loop.settings.tokenWindow)
        let key = loop.batch.keyMemory(length)
        CheckArguments.writeKey(loop.arguments, to: key)
        call.pointee.setKey(key, count: length)
        return 1
    }

    /// The same in another database than 0, whose number precedes the key.
    private static func check(_ loop: EventLoop, _ database: Int, _ length: Int) throws(ArgumentProblem) -> Int {
        guard length < keyLengthMax else { throw CheckArguments.tooLong }
        if !loop.batch.hasKeyMemory(length + 1) { loop.decideBatch() }
        let call = loop.batch.next
        try CheckArguments.read(loop.arguments, to: call, loop.keyspace, tokenWindow: loop.settings.tokenWindow)
        let name = loop.batch.keyMemory(length + 1)
        name[0] = UInt8(database)
        CheckArguments.writeKey(loop.arguments, to: name + 1)
        call.pointee.setNumberedKey(name, count: length + 1)
        return 1
    }

    static func takeAll(_ loop: EventLoop) throws(ArgumentProblem) -> Int {
        let limitsMax = TakeAllArguments.limitsMax(loop.arguments)
        if limitsMax > loop.batch.room { loop.decideBatch() }
        return try TakeAllArguments.read(
            loop.arguments, to: loop.batch.next, limitsMax: limitsMax, loop.keyspace, loop.limitCache)
    }

    // MARK: Counters

    static func incrementBy(_ loop: EventLoop) throws(ArgumentProblem) -> Int { add(try amount(loop), loop) }

    static func decrementBy(_ loop: EventLoop) throws(ArgumentProblem) -> Int {
        let amount = try amount(loop)
        guard amount != Int64.min else { throw ArgumentProblem("ERR decrement would overflow") }
        return add(-amount, loop)
    }

    @inline(__always)
    static func get(_ loop: EventLoop) -> Int {
        let call = loop.batch.next
        call.pointee.begin(.read)
        setKey(of: call, loop)
        return 1
    }

    @inline(__always)
    static func add(_ increment: Int64, _ loop: EventLoop) -> Int {
        let call = loop.batch.next
        call.pointee.setAdd(increment)
        setKey(of: call, loop)
        return 1
    }

    private static func amount(_ loop: EventLoop) throws(ArgumentProblem) -> Int64 {
        guard let amount = loop.arguments[2].integer else {
            throw ArgumentProblem("ERR value is not an integer or out of range")
        }
        return amount
    }

    @inline(__always)
    private static func setKey(of call: UnsafeMutablePointer<LimitCall>, _ loop: EventLoop) {
        let key = loop.arguments[1]
        call.pointee.setKey(key.base, count: key.count)
    }
}
