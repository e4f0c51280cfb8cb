// The buffers of one wave: what a number of ready connections sent, and which of them gets which part of the replies.
// The limiter calls in it are in the loop's Batch.
//
// A turn is cut into waves so that no client waits long for the first reply: a wave ends with 128 requests or when its
// input buffer is full. Within one, every ready connection is read, all limiter calls are decided in batches, and then
// everything is written, one write per connection. Memory is the loop's and is lent to whoever is served.

import System

final class LoopBuffers {
    /// Requests after which replies go out.
    static let requestsMax = 128
    static let inputCapacity = 256 * 1024
    /// Most bytes read from one connection at a time: nobody fills a wave alone.
    static let readMax = 64 * 1024
    /// Least room in front of a read.
    static let readMin = 16 * 1024
    static let argumentsMax = 65536
    /// Reply memory kept from wave to buffers.
    static let outputRetained = 1 << 20

    /// Connections served in one wave, idle ones included.
    static let servedMax = 512

    let input: UnsafeMutablePointer<UInt8>
    /// Where the replies to each connection of `served` end.
    let replyEnds: UnsafeMutablePointer<Int>
    /// Whether a connection's requests have changed something in this wave: by its position in `served`.
    let changes: UnsafeMutablePointer<Bool>
    /// The connections of this wave, in order.
    private(set) var served: [Connection] = []

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

    /// Forgets whom the replies so far were for.
    func forgetServed() {
        served.removeAll(keepingCapacity: true)
        counts.pointee.served = 0
    }

    /// A new wave: no input, no requests.
    func begin() {
        precondition(servedCount == 0)
        counts.pointee = Counts()
    }
}
