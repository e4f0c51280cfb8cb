// Wakes a thread that waits for descriptors, by another descriptor (eventfd). A thread that waits for nothing else has
// a Doorbell, which needs no descriptor.

import CLinux
import Glibc

/// A descriptor that becomes readable when signalled. Owns it.
public final class WakeEvent: Sendable {
    /// Readable from `signal` to the next `clear`. Only for polling.
    public let descriptor: Int32

    /// Throws if the process has no descriptor left.
    public init() throws(SystemError) {
        descriptor = clinux_eventfd()
        if descriptor < 0 { throw SystemError("eventfd") }
    }

    deinit { close(descriptor) }

    /// Wakes the polling thread. One system call; safe to call from any thread.
    public func signal() {
        var one: UInt64 = 1
        // Fails only after 2^64 signals without a clear.
        _ = write(descriptor, &one, MemoryLayout<UInt64>.size)
    }

    /// Clears all signals so far. One system call; call on the polling thread.
    public func clear() {
        var count: UInt64 = 0
        // Fails only if there was no signal.
        _ = read(descriptor, &count, MemoryLayout<UInt64>.size)
    }
}
