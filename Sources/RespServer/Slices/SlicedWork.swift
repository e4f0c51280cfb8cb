// Work that may take longer than a turn of an event loop should, cut into slices.
//
// A command whose effort grows with the table, the subscriptions or the rules is an object that is told to continue
// until it is done. Between two slices its client waits, as for WAIT, and the loop serves the others
// (EventLoop+Slices). Most are done in the first slice, in the call of the handler, and no client waits.

import LimiterEngine
import RESP
import System
import Transport

/// How much may be done before giving way.
struct StepBudget {
    /// What is left; a step is about a nanosecond.
    var steps: Int
    /// What looking at a key counts.
    let stepsPerKey: Int
    /// The work is not continued when this is spent: it ends as it can, or is refused.
    let isFinal: Bool

    /// One slice: about a quarter of a millisecond.
    static var slice: StepBudget { StepBudget(steps: 250_000, stepsPerKey: 100, isFinal: false) }
    /// Steps that all commands of one EXEC may spend on patterns. Every stripe of theirs is held meanwhile.
    static let transactionSteps = 64_000_000

    /// Inside EXEC, which is one piece: what looking at keys takes is not counted, since it cannot be given back.
    static func transaction(steps: Int) -> StepBudget { StepBudget(steps: steps, stepsPerKey: 0, isFinal: true) }

    var isSpent: Bool { steps <= 0 }
}

/// A command's work. Belongs to one event loop.
protocol SlicedWork: AnyObject {
    /// Continues until the work is done, which is true, or the budget is spent.
    func advance(_ keyspace: KeyspaceSession, now: EngineTime, _ budget: inout StepBudget) -> Bool

    /// Writes the answer, or all of it that comes before `elements`.
    func writeReply(to reply: ReplyBuffer)

    /// The end of the answer, however long it is; nil when `writeReply` writes all of it.
    var elements: ReplyPieces? { get }

    /// Messages to the client itself, which follow the answer.
    var ownMessages: [MessageBytes] { get }

    /// The work has begun to show and is done to its end, also when the client leaves.
    var mustFinish: Bool { get }

    /// What EXEC answers in place of it when there are no steps left.
    var refusalInTransaction: String { get }

    /// The work ends here: gives back what it holds.
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

    /// Its first slice is done.
    func begin(_ command: CommandReference, took length: Nanoseconds) {
        self.command = command
        busy = length
    }
}

/// A long reply that is written over many slices, in pieces: it is never copied as a whole.
final class ReplyPieces {
    /// Where elements are written; `endElement` after each.
    let buffer = ReplyBuffer(capacity: 1024)
    private(set) var pieces: [[UInt8]] = []
    private var piecesCount = 0

    init(version: ProtocolVersion = .resp2) { buffer.version = version }

    /// Bytes written.
    var count: Int { piecesCount + buffer.count }

    /// Puts what has been written aside when it is enough for a piece.
    func endElement() {
        guard buffer.count >= OutputQueue.pieceSize else { return }
        pieces.append(Array(buffer.bytes))
        piecesCount += buffer.count
        buffer.removeAll(retaining: 2 * OutputQueue.pieceSize)
    }
}

/// Copies of keys, so that nothing is held while they are looked at.
struct KeyBatch {
    /// How many keys are fetched at once, and how many bytes of them, about.
    static let keysMax = 256
    static let bytesMax = 64 * 1024

    private var bytes: [UInt8] = []
    private var ends: [Int] = []
    private var next = 0

    /// No key is left.
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

    /// Lends the next key, which must be there, and takes it off.
    mutating func withNext<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        let start = next == 0 ? 0 : ends[next - 1]
        let end = ends[next]
        next += 1
        return bytes.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[start..<end])) }
    }
}
