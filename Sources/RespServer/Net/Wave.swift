// The buffers of one wave: what a number of ready connections sent, the limiter calls in it, and who gets which part
// of the replies.
//
// A turn is cut into waves so that nobody waits long for the first reply: a wave ends with 128 requests or when its
// input buffer is full. Within one, every ready connection is read, all limiter calls are decided in batches, and then
// everything is written, one write per connection. Memory is the loop's and is lent to whoever is served.

import LimiterEngine
import RESP
import System

final class Wave {
    /// Requests after which replies go out.
    static let requestsMax = 128
    /// Limiter calls decided at once; more gain nothing. An all-or-nothing call is as many as it has limits.
    static let batchMax = 128
    static let inputCapacity = 256 * 1024
    /// Most bytes read from one connection at a time: nobody fills a wave alone.
    static let readMax = 64 * 1024
    /// Least room in front of a read.
    static let readMin = 16 * 1024
    static let argumentsMax = 65536
    /// Reply memory kept from wave to wave.
    static let outputRetained = 1 << 20

    /// Connections served in one wave, idle ones included.
    static let servedMax = 512

    let input: UnsafeMutablePointer<UInt8>
    /// Bytes for keys that stand in no request as they are.
    static let keyCapacity = 64 * 1024

    /// Limiter calls waiting to be decided.
    let requests: UnsafeMutablePointer<ThrottleRequest>
    /// What those of `requests` ask that are no CL.THROTTLE, at the same positions.
    let takes: UnsafeMutablePointer<TakeRequest>
    /// The commands of those: positions in the command table.
    let commands: UnsafeMutablePointer<Int16>
    /// Which of `requests` make one all-or-nothing call together.
    let groups: UnsafeMutablePointer<KeyspaceSession.Group>
    private let keys: UnsafeMutablePointer<UInt8>
    /// Whose call it is: a position in `served`.
    let owners: UnsafeMutablePointer<Int32>
    /// Where the replies to each connection of `served` end.
    let replyEnds: UnsafeMutablePointer<Int>
    /// Whether a connection's requests have changed something in this wave: by its position in `served`.
    let changes: UnsafeMutablePointer<Bool>
    /// The connections of this wave, in order.
    private(set) var served: [Connection] = []

    private struct Counts {
        var inputUsed = 0
        var requests = 0
        var handled = 0
        var served = 0
        var keyBytes = 0
        var groups = 0
        var hasTakes = false
    }

    private let counts: Pinned<Counts>

    init() {
        input = .allocate(capacity: Wave.inputCapacity)
        input.initialize(repeating: 0, count: Wave.inputCapacity)
        requests = .allocate(capacity: Wave.batchMax)
        takes = .allocate(capacity: Wave.batchMax)
        takes.initialize(repeating: .blank, count: Wave.batchMax)
        groups = .allocate(capacity: Wave.batchMax)
        commands = .allocate(capacity: Wave.batchMax)
        keys = .allocate(capacity: Wave.keyCapacity)
        owners = .allocate(capacity: Wave.batchMax)
        replyEnds = .allocate(capacity: Wave.servedMax)
        changes = .allocate(capacity: Wave.servedMax)
        changes.initialize(repeating: false, count: Wave.servedMax)
        counts = Pinned(Counts())
        served.reserveCapacity(Wave.servedMax)
    }

    deinit {
        input.deallocate()
        requests.deallocate()
        takes.deallocate()
        groups.deallocate()
        commands.deallocate()
        keys.deallocate()
        owners.deallocate()
        replyEnds.deallocate()
        changes.deallocate()
        counts.deallocate()
    }

    /// Bytes of `input` in use.
    var inputUsed: Int {
        get { counts.pointee.inputUsed }
        set { counts.pointee.inputUsed = newValue }
    }

    /// Calls in `requests`.
    var requestCount: Int {
        get { counts.pointee.requests }
        set { counts.pointee.requests = newValue }
    }

    /// Groups in `groups`.
    var groupCount: Int {
        get { counts.pointee.groups }
        set { counts.pointee.groups = newValue }
    }

    /// Whether any call in `requests` is no CL.THROTTLE.
    var hasTakes: Bool {
        get { counts.pointee.hasTakes }
        set { counts.pointee.hasTakes = newValue }
    }

    /// How many bytes `keyMemory` can give.
    var keyMemoryLeft: Int { Wave.keyCapacity - counts.pointee.keyBytes }

    /// Memory for a key until the batch is decided. The call it is for has to be put into the batch.
    ///
    /// - Precondition: There is as much left.
    func keyMemory(_ count: Int) -> UnsafeMutablePointer<UInt8> {
        precondition(count >= 0 && count <= keyMemoryLeft)
        defer { counts.pointee.keyBytes += count }
        return keys + counts.pointee.keyBytes
    }

    /// The batch with calls other than CL.THROTTLE in it is decided.
    func forgetTakes() {
        counts.pointee.hasTakes = false
        counts.pointee.keyBytes = 0
        counts.pointee.groups = 0
    }

    /// Requests since the wave began.
    var handled: Int {
        get { counts.pointee.handled }
        set { counts.pointee.handled = newValue }
    }

    var isFull: Bool {
        handled >= Wave.requestsMax || Wave.inputCapacity - inputUsed < Wave.readMin
            || servedCount >= Wave.servedMax
    }

    /// Connections in `served`; the last one is being served.
    var servedCount: Int { counts.pointee.served }

    /// Adds a connection whose replies will begin at `replyStart`.
    func begin(_ connection: Connection, replyStart: Int) {
        precondition(servedCount < Wave.servedMax)
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
        precondition(servedCount == 0 && requestCount == 0)
        counts.pointee = Counts()
    }
}
