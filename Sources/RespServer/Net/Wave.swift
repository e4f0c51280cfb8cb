// The buffers of one wave: what a number of ready connections sent, the limiter calls in it, and who gets which part
// of the replies.
//
// A turn is cut into waves so that nobody waits long for the first reply: a wave ends with 128 requests or when its
// input buffer is full. Within one, every ready connection is read, all limiter calls are decided in batches, and then
// everything is written, one write per connection. Memory is the loop's and is lent to whoever is served.

import LimiterEngine
import RESP

final class Wave {
    /// Requests after which replies go out.
    static let requestsMax = 128
    /// Limiter calls decided at once; more gain nothing.
    static let batchMax = 128
    static let inputCapacity = 256 * 1024
    /// Most bytes read from one connection at a time: nobody fills a wave alone.
    static let readMax = 64 * 1024
    /// Least room in front of a read.
    static let readMin = 16 * 1024
    static let argumentsMax = 65536
    /// Reply memory kept from wave to wave.
    static let outputRetained = 1 << 20

    let input: UnsafeMutablePointer<UInt8>
    var inputUsed = 0

    /// Limiter calls waiting to be decided.
    let requests: UnsafeMutablePointer<ThrottleRequest>
    /// Whose call it is: an index into `served`.
    let owners: UnsafeMutablePointer<Int32>
    var requestCount = 0

    /// A connection of this wave, and where its part of the replies ends.
    struct Served {
        let connection: Connection
        var replyEnd: Int
    }
    var served: [Served] = []
    /// Requests since the wave began.
    var handled = 0

    init() {
        input = .allocate(capacity: Wave.inputCapacity + 64)
        input.initialize(repeating: 0, count: Wave.inputCapacity + 64)
        requests = .allocate(capacity: Wave.batchMax)
        owners = .allocate(capacity: Wave.batchMax)
        served.reserveCapacity(Wave.requestsMax)
    }

    deinit {
        input.deallocate()
        requests.deallocate()
        owners.deallocate()
    }

    var isFull: Bool { handled >= Wave.requestsMax || Wave.inputCapacity - inputUsed < Wave.readMin }
}
