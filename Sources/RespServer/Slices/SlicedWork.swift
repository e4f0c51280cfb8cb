// Work that may take longer than a turn of an event loop should, divided into slices.
//
// A command whose cost grows with the table, the subscriptions or the rules is an object that is advanced until it is
// done. Between slices its client waits, as for WAIT, and the loop serves the others (EventLoop+Slices). Most finish in
// the first slice, within the handler's call, and no client waits.

import LimiterEngine
import RESP
import System
import Transport

/// How much work may be done before yielding.
struct StepBudget {
    /// Steps left; a step is about a nanosecond.
    var steps: Int
    /// Steps that looking at a key costs.
    let stepsPerKey: Int
    /// The work is not continued once this is spent: it ends as best it can, or is refused.
    let isFinal: Bool

    /// One slice: about a quarter of a millisecond.
    static var slice: StepBudget { StepBudget(steps: 250_000, stepsPerKey: 100, isFinal: false) }
    /// Steps that all commands of one EXEC may spend on patterns. Every stripe they use is held meanwhile.
    static let transactionSteps = 64_000_000

    /// Inside EXEC, which cannot be sliced: looking at keys costs no steps, since yielding is not possible.
    static func transaction(steps: Int) -> StepBudget { StepBudget(steps: steps, stepsPerKey: 0, isFinal: true) }

    var isSpent: Bool { steps <= 0 }
}

/// A command's work. Belongs to one event loop.
protocol SlicedWork: AnyObject {
    /// Continues until the work is done, returning true, or the budget is spent.
    func advance(_ keyspace: KeyspaceSession, now: EngineTime, _ budget: inout StepBudget) -> Bool

    /// Writes the reply, or the part of it before `elements`.
    func writeReply(to reply: ReplyBuffer)

    /// The rest of the reply, of any length; nil if `writeReply` writes all of it.
    var elements: ReplyPieces? { get }

    /// Messages to the client itself, which follow the reply.
    var ownMessages: [MessageBytes] { get }

    /// The work already has visible effects and must be completed, even if the client disconnects.
    var mustFinish: Bool { get }

    /// The error that EXEC returns in its place when no steps are left.
    var refusalInTransaction: String { get }

    /// Ends the work early and releases what it holds.
    func cancel(_ keyspace: KeyspaceSession)
}

extension SlicedWork {
    var elements: ReplyPieces? { nil }
    var ownMessages: [MessageBytes] { [] }
    var mustFinish: Bool { false }
    var refusalInTransaction: String { "ERR this transaction takes too long" }
    func cancel(_ keyspace: KeyspaceSession) {}
}

/// A command that is being answered in slices, and its client.
final class SlicedCommand {
    let connection: Connection
    let work: any SlicedWork
    /// For the slow log.
    let arguments: [[UInt8]]
    private(set) var command: CommandReference!
    /// Time spent on it so far.
    var busy = Nanoseconds.zero

    init(_ work: any SlicedWork, arguments: [[UInt8]], for connection: Connection) {
        self.work = work
        self.arguments = arguments
        self.connection = connection
    }

    /// Records that its first slice is done.
    func begin(_ command: CommandReference, took length: Nanoseconds) {
        self.command = command
        busy = length
    }
}

/// A long reply that is written over many slices, in pieces, and never copied as a whole.
final class ReplyPieces {
    /// The buffer to write elements to; call `endElement` after each.
    let buffer = ReplyBuffer(capacity: 1024)
    private(set) var pieces: [[UInt8]] = []
    private var piecesCount = 0

    init(version: ProtocolVersion = .resp2) { buffer.version = version }

    /// Bytes written.
    var count: Int { piecesCount + buffer.count }

    /// Moves what has been written to `pieces` once it is large enough for a piece.
    func endElement() {
        guard buffer.count >= OutputQueue.pieceSize else { return }
        pieces.append(Array(buffer.bytes))
        piecesCount += buffer.count
        buffer.removeAll(retaining: 2 * OutputQueue.pieceSize)
    }
}

/// Copies of keys, so that no lock is held while they are processed.
struct KeyBatch {
    /// How many keys are fetched at once, and approximately how many bytes.
    static let keysMax = 256
    static let bytesMax = 64 * 1024

    private var bytes: [UInt8] = []
    private var ends: [Int] = []
    private var next = 0

    /// Whether no key is left.
    var isEmpty: Bool { next == ends.count }

    mutating func append(_ key: UnsafeRawBufferPointer) {
        bytes.append(contentsOf: key)
        ends.append(bytes.count)
    }

    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: bytes.capacity <= 4 * KeyBatch.bytesMax)
        ends.removeAll(keepingCapacity: true)
        next = 0
    }

    /// Passes the next key, which must exist, to `body`, and removes it.
    mutating func withNext<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        let start = next == 0 ? 0 : ends[next - 1]
        let end = ends[next]
        next += 1
        return bytes.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[start..<end])) }
    }
}
