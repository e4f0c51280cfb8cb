// What wakes a thread that waits for descriptors: one more of them (eventfd). A thread that waits for nothing else has
// a Doorbell, which costs no descriptor.

import CLinux
import Glibc

/// A descriptor that becomes readable when signalled. Owns it.
public final class WakeEvent: Sendable {
    /// Readable from `signal` to the next `clear`. To be polled, and nothing else.
    public let descriptor: Int32

    /// Fails when the kernel has no descriptor left.
    public init() throws(SystemError) {
        descriptor = clinux_eventfd()
        if descriptor < 0 { throw SystemError("eventfd") }
    }

    deinit { close(descriptor) }

    /// Wakes the thread that polls. One system call; any thread.
    public func signal() {
        var one: UInt64 = 1
        // Fails only when it has been signalled 2^64 times without being cleared.
        _ = write(descriptor, &one, MemoryLayout<UInt64>.size)
    }

    /// Forgets the signals so far. One system call; the thread that polls.
    public func clear() {
        var count: UInt64 = 0
        // Fails only when there was none.
        _ = read(descriptor, &count, MemoryLayout<UInt64>.size)
    }
}
