// Calls of limits and counters that wait to be decided together, and which request each belongs to: memory only.
// EventLoop+Batch (adding, deciding, answering) and +BatchAccounting operate on it; BatchReaders turns commands into
// its calls.
//
// Calls are parsed directly into the batch's memory. An RL.TAKEALL is a group of adjacent calls, one per limit.

import LimiterEngine
import RESP
import System

final class Batch {
    /// Maximum number of calls decided at once; more gain nothing. An all-or-nothing call counts once per limit.
    static let callsMax = 128
    /// Bytes for keys that do not occur verbatim in a request.
    static let keyCapacity = 64 * 1024
    private static let cacheLine = 64

    /// How a call is answered, and thereby by which kind of session: see `Session.answer`.
    enum ReplyForm: UInt8 {
        /// The five integers of CL.THROTTLE.
        case throttle
        /// The row of RL.TAKE and related commands.
        case limit
        /// RL.TAKEALL: the calls of one request.
        case group
        /// A counter's sum.
        case sum
        /// A counter's value, or null.
        case value
        /// A counter's sum, as a script returns it.
        case scriptSum
        /// A counter's sum, and the milliseconds that it has left.
        case scriptSumAndTime
        /// The replies of scripts on GCRA.
        case throttledPy, redisRate
        /// A response in HTTP.
        case http
        /// A response in HTTP to the calls of one request.
        case httpGroup

        /// Whether the calls of one request are an all-or-nothing call.
        @inline(__always)
        var isGroup: Bool { self == .group || self == .httpGroup }
    }

    /// Which connection a call belongs to, and how it is answered.
    struct Note {
        /// A position in `buffers.served`.
        var owner: Int32
        /// A position in the command table.
        var command: Int16
        var form: ReplyForm
        var version: ProtocolVersion
        /// The number of the script, if it is one.
        var script: UInt8 = 0
    }

    private struct Counts {
        var calls = 0
        var groups = 0
        /// The command of all calls; -1 if they belong to several.
        var command: Int16 = 0
        var keyBytes = 0
        /// The database of the calls being read.
        var database = 0
        /// A key that does not fit into `keys`.
        var longKey: UnsafeMutablePointer<UInt8>?
    }

    /// The calls, in the order of the requests.
    let calls: UnsafeMutablePointer<LimitCall>
    /// One for each call.
    let notes: UnsafeMutablePointer<Note>
    private let allGroups: UnsafeMutablePointer<KeyspaceSession.Group>
    private let keys: UnsafeMutablePointer<UInt8>
    private let counts: Pinned<Counts>

    init() {
        // A call occupies three cache lines, and the common ones touch only the first two.
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

    /// Where the next call is written; there is space for `room` calls.
    @inline(__always)
    var next: UnsafeMutablePointer<LimitCall> { calls + counts.pointee.calls }

    @inline(__always)
    var room: Int { Batch.callsMax &- counts.pointee.calls }

    /// The runs of `calls` that form one all-or-nothing call each.
    @inline(__always)
    var groups: UnsafeMutableBufferPointer<KeyspaceSession.Group> {
        UnsafeMutableBufferPointer(start: allGroups, count: counts.pointee.groups)
    }

    /// The command of all calls; nil if they belong to several.
    var command: Int? { counts.pointee.command < 0 ? nil : Int(counts.pointee.command) }

    /// The database of the calls being read: 0 except while a request of a session in another one is handled.
    @inline(__always)
    var database: Int {
        get { counts.pointee.database }
        set { counts.pointee.database = newValue }
    }

    /// Requests in the batch.
    var requestCount: Int {
        groups.reduce(count) { $0 - $1.count + 1 }
    }

    /// Adds the calls of one request, which have been written starting at `next`.
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
        if note.form.isGroup { addGroup(first, added, note) }
    }

    private func addGroup(_ first: Int, _ added: Int, _ note: Note) {
        for position in first..<first + added { notes[position] = note }
        // There are never more groups than calls, so this fits.
        (allGroups + counts.pointee.groups).initialize(to: KeyspaceSession.Group(first: first, count: added))
        counts.pointee.groups &+= 1
    }

    /// Removes all calls.
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

    /// Whether `keyMemory` can provide `count` bytes. An empty batch has room for one key of any length.
    @inline(__always)
    func hasKeyMemory(_ count: Int) -> Bool {
        counts.pointee.calls == 0 || count <= Batch.keyCapacity - counts.pointee.keyBytes
    }

    /// Memory for a key until the batch is decided.
    ///
    /// - Precondition: `hasKeyMemory`.
    @inline(__always)
    func keyMemory(_ count: Int) -> UnsafeMutablePointer<UInt8> {
        if count > Batch.keyCapacity - counts.pointee.keyBytes { return longKeyMemory(count) }
        defer { counts.pointee.keyBytes += count }
        return keys + counts.pointee.keyBytes
    }

    private func longKeyMemory(_ count: Int) -> UnsafeMutablePointer<UInt8> {
        precondition(counts.pointee.calls == 0 && count >= 0)
        releaseLongKey()
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: count)
        counts.pointee.longKey = memory
        return memory
    }
}
