// Calls of limits and counters that wait to be decided together, and whose they are: memory alone. What is done with it
// is in EventLoop+Batch (adding, deciding, answering) and +BatchAccounting; how a command becomes a call of it in
// BatchReaders.
//
// Calls are read right into the batch's memory. An RL.TAKEALL is a group of it: a neighbouring call for each limit.

import LimiterEngine
import RESP
import System

final class Batch {
    /// Calls decided at once; more gain nothing. An all-or-nothing call is as many as it has limits.
    static let callsMax = 128
    /// Bytes for keys that are in no request verbatim.
    static let keyCapacity = 64 * 1024
    private static let cacheLine = 64

    /// How a call is answered, and by which kind of session: see `Session.answer`. All of these are RESP's.
    enum ReplyForm: UInt8 {
        /// CL.THROTTLE's five integers.
        case throttle
        /// The row of RL.TAKE and its like.
        case limit
        /// RL.TAKEALL: the calls of one request.
        case group
        /// A counter's sum.
        case sum
        /// A counter's value, or null.
        case value
    }

    /// Whose a call is, and how it is answered.
    struct Note {
        /// A position in `buffers.served`.
        var owner: Int32
        /// A position in the command table.
        var command: Int16
        var form: ReplyForm
        var version: ProtocolVersion
    }

    private struct Counts {
        var calls = 0
        var groups = 0
        /// The command of all calls, -1 where they are of several.
        var command: Int16 = 0
        var keyBytes = 0
        /// A key too long for the memory of the others.
        var longKey: UnsafeMutablePointer<UInt8>?
    }

    /// The calls, in the order of the requests.
    let calls: UnsafeMutablePointer<LimitCall>
    /// For each of them.
    let notes: UnsafeMutablePointer<Note>
    private let allGroups: UnsafeMutablePointer<KeyspaceSession.Group>
    private let keys: UnsafeMutablePointer<UInt8>
    private let counts: Pinned<Counts>

    init() {
        // A call is three cache lines long, and the common ones touch only the first two.
        assert(MemoryLayout<LimitCall>.stride == 3 * Batch.cacheLine)
        calls = UnsafeMutableRawPointer.allocate(
            byteCount: Batch.callsMax * MemoryLayout<LimitCall>.stride, alignment: Batch.cacheLine
        ).bindMemory(to: LimitCall.self, capacity: Batch.callsMax)
        calls.initialize(repeating: .blank, count: Batch.callsMax)
        notes = .allocate(capacity: Batch.callsMax)
        allGroups = .allocate(capacity: Batch.callsMax)
        keys = .allocate(capacity: Batch.keyCapacity)
        counts = Pinned(Counts())
    }

    deinit {
        counts.pointee.longKey?.deallocate()
        UnsafeMutableRawPointer(calls).deallocate()
        notes.deallocate()
        allGroups.deallocate()
        keys.deallocate()
        counts.deallocate()
    }

    /// Calls in the batch.
    @inline(__always)
    var count: Int { counts.pointee.calls }

    /// Where the next call is written: there is room for `room` of them.
    @inline(__always)
    var next: UnsafeMutablePointer<LimitCall> { calls + counts.pointee.calls }

    @inline(__always)
    var room: Int { Batch.callsMax &- counts.pointee.calls }

    /// Which of `calls` make one all-or-nothing call together.
    @inline(__always)
    var groups: UnsafeMutableBufferPointer<KeyspaceSession.Group> {
        UnsafeMutableBufferPointer(start: allGroups, count: counts.pointee.groups)
    }

    /// The command of all calls; nil where they are of several.
    var command: Int? { counts.pointee.command < 0 ? nil : Int(counts.pointee.command) }

    /// Requests in the batch.
    var requestCount: Int {
        groups.reduce(count) { $0 - $1.count + 1 }
    }

    /// Adds the calls of one request, which have been written from `next` on.
    @inline(__always)
    func add(_ added: Int, _ note: Note) {
        let first = counts.pointee.calls
        if first == 0 {
            counts.pointee.command = note.command
        } else if counts.pointee.command != note.command {
            counts.pointee.command = -1
        }
        notes[first] = note
        counts.pointee.calls = first &+ added
        if note.form == .group { addGroup(first, added, note) }
    }

    private func addGroup(_ first: Int, _ added: Int, _ note: Note) {
        for position in first..<first + added { notes[position] = note }
        // Fewer groups than calls, so there is a place.
        (allGroups + counts.pointee.groups).initialize(to: KeyspaceSession.Group(first: first, count: added))
        counts.pointee.groups &+= 1
    }

    /// Forgets the calls.
    @inline(__always)
    func removeAll() {
        counts.pointee.calls = 0
        counts.pointee.groups = 0
        counts.pointee.keyBytes = 0
        if counts.pointee.longKey != nil { releaseLongKey() }
    }

    private func releaseLongKey() {
        counts.pointee.longKey?.deallocate()
        counts.pointee.longKey = nil
    }

    /// Whether `keyMemory` can give as many bytes. An empty batch has room for one key of any length.
    func hasKeyMemory(_ count: Int) -> Bool {
        counts.pointee.calls == 0 || count <= Batch.keyCapacity - counts.pointee.keyBytes
    }

    /// Memory for a key until the batch is decided.
    ///
    /// - Precondition: `hasKeyMemory`.
    func keyMemory(_ count: Int) -> UnsafeMutablePointer<UInt8> {
        if count > Batch.keyCapacity - counts.pointee.keyBytes {
            precondition(counts.pointee.calls == 0 && count >= 0)
            releaseLongKey()
            let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: count)
            counts.pointee.longKey = memory
            return memory
        }
        defer { counts.pointee.keyBytes += count }
        return keys + counts.pointee.keyBytes
    }
}
