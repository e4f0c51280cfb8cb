// The buffers of one wave: what a number of ready connections sent, and which part of the replies belongs to which
// connection. Its limiter calls are in the loop's Batch.
//
// A turn is divided into waves so that no client waits long for its first reply: a wave ends with 128 requests or when
// its input buffer is full. Within one, every ready connection is read, all limiter calls are decided in batches, and
// then everything is written, one write per connection. The memory is the loop's and is lent to the connections being
// served.

import System

final class LoopBuffers {
    /// Number of requests after which replies are sent.
    static let requestsMax = 128
    static let inputCapacity = 256 * 1024
    /// Maximum number of bytes read from one connection at a time: no connection fills a wave alone.
    static let readMax = 64 * 1024
    /// Minimum free space before a read.
    static let readMin = 16 * 1024
    static let argumentsMax = 65536
    /// Reply memory kept from wave to wave.
    static let outputRetained = 1 << 20

    /// Connections served in one wave, idle ones included.
    static let servedMax = 512

    let input: UnsafeMutablePointer<UInt8>
    /// Where the replies to each connection of `served` end.
    let replyEnds: UnsafeMutablePointer<Int>
    /// Whether a connection's requests have changed data in this wave: by its position in `served`.
    let changes: UnsafeMutablePointer<Bool>
    /// The connections of this wave, in order. No call that changes it can come from within another.
    @exclusivity(unchecked) private(set) var served: [Connection] = []

    private struct Counts {
        var inputUsed = 0
        var handled = 0
        var served = 0
    }

    private let counts: Pinned<Counts>

    init() {
        input = .allocate(capacity: LoopBuffers.inputCapacity)
        input.initialize(repeating: 0, count: LoopBuffers.inputCapacity)
        replyEnds = .allocate(capacity: LoopBuffers.servedMax)
        changes = .allocate(capacity: LoopBuffers.servedMax)
        changes.initialize(repeating: false, count: LoopBuffers.servedMax)
        counts = Pinned(Counts())
        served.reserveCapacity(LoopBuffers.servedMax)
    }

    deinit {
        input.deallocate()
        replyEnds.deallocate()
        changes.deallocate()
        counts.deallocate()
    }

    /// Bytes of `input` in use.
    var inputUsed: Int {
        get { counts.pointee.inputUsed }
        set { counts.pointee.inputUsed = newValue }
    }

    /// Requests since the wave began.
    var handled: Int {
        get { counts.pointee.handled }
        set { counts.pointee.handled = newValue }
    }

    var isFull: Bool {
        handled >= LoopBuffers.requestsMax || LoopBuffers.inputCapacity - inputUsed < LoopBuffers.readMin
            || servedCount >= LoopBuffers.servedMax
    }

    /// Connections in `served`; the last one is being served.
    var servedCount: Int { counts.pointee.served }

    /// Adds a connection whose replies will begin at `replyStart`.
    func begin(_ connection: Connection, replyStart: Int) {
        precondition(servedCount < LoopBuffers.servedMax)
        replyEnds[servedCount] = replyStart
        changes[servedCount] = false
        served.append(connection)
        counts.pointee.served += 1
    }

    /// Forgets the connections that the replies so far belong to.
    func forgetServed() {
        served.removeAll(keepingCapacity: true)
        counts.pointee.served = 0
    }

    /// Begins a new wave: no input, no requests.
    func begin() {
        precondition(servedCount == 0)
        counts.pointee = Counts()
    }
}
