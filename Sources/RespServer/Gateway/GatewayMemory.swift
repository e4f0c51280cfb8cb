// Where a request of the check API puts bytes that its calls need until they are decided, and that it does not contain
// verbatim: keys composed of names, names of policies, strings with escapes.
//
// All of it is memory of the batch. Getting some may cause the batch to be decided, so it happens before the request
// writes its first call, and at most once: a long block is only available to an empty batch.

import HTTP
import LimiterEngine

/// Memory for one request. Valid until the batch is decided.
struct GatewayMemory {
    private unowned(unsafe) let loop: EventLoop
    private var next: UnsafeMutablePointer<UInt8>?
    private var left = 0

    /// Memory for a request with this body.
    init(_ loop: EventLoop, body: ByteView) {
        self.loop = loop
        // Escapes are rare. With any, everything goes into one block that is certainly large enough.
        guard body.buffer.contains(UInt8(ascii: "\\")) else { return }
        loop.decideBatch()
        left = 3 * body.count + 4 * Policy.nameLengthMax
        next = loop.batch.keyMemory(left)
    }

    /// Makes sure that there are `count` bytes. May decide the batch, so the caller reads `batch.next` afterwards.
    mutating func reserve(_ count: Int) {
        guard next == nil else { return precondition(count <= left) }
        if !loop.batch.hasKeyMemory(count) { loop.decideBatch() }
        next = loop.batch.keyMemory(count)
        left = count
    }

    /// `count` bytes of what has been reserved, which `write` fills.
    mutating func place(_ count: Int, _ write: (UnsafeMutablePointer<UInt8>) -> Void) -> ByteView {
        precondition(count <= left)
        guard count > 0, let memory = next else { return .empty }
        write(memory)
        next = memory + count
        left -= count
        return ByteView(base: memory, count: count)
    }

    /// A copy of these bytes.
    mutating func place(_ bytes: UnsafeBufferPointer<UInt8>) -> ByteView {
        place(bytes.count) { $0.update(from: bytes.baseAddress!, count: bytes.count) }
    }

    /// The string's bytes: those of the body if it has no escapes.
    mutating func view(_ string: JSONString) -> ByteView {
        if let verbatim = string.verbatim {
            return verbatim.count == 0 ? .empty : ByteView(base: verbatim.baseAddress!, count: verbatim.count)
        }
        return place(string.count) { string.write(to: $0) }
    }
}
