// epoll: which descriptors are ready.

import CLinux
import Glibc

/// What is asked of a descriptor, or what it is ready for.
public struct PollEvents: OptionSet, Sendable {
    /// As epoll has it.
    public let rawValue: UInt32

    /// Events as epoll has them.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// There is input, or its end.
    public static let readable = PollEvents(rawValue: UInt32(clinux_epoll_in))
    /// There is room for output.
    public static let writable = PollEvents(rawValue: UInt32(clinux_epoll_out))
    /// The peer has ended its output. Has to be asked for.
    public static let peerEnded = PollEvents(rawValue: UInt32(clinux_epoll_peer_hangup))
    /// Both directions have ended. Need not be asked for.
    public static let hangup = PollEvents(rawValue: UInt32(clinux_epoll_hangup))
    /// An error waits to be read. Need not be asked for.
    public static let error = PollEvents(rawValue: UInt32(clinux_epoll_error))
}

/// A set of descriptors to wait for, level-triggered, each with a token of the owner's choice. One thread's; owns the
/// epoll descriptor and memory for events, not what it watches.
public struct Poller: ~Copyable {
    private let descriptor: Int32
    private let events: UnsafeMutablePointer<epoll_event>
    private let capacity: Int

    /// - Parameter capacity: Most events that one wait brings.
    public init(capacity: Int) throws(SystemError) {
        descriptor = clinux_epoll_create()
        guard descriptor >= 0 else { throw SystemError("epoll_create1") }
        self.capacity = capacity
        events = .allocate(capacity: capacity)
    }

    deinit {
        close(descriptor)
        events.deallocate()
    }

    /// Watches a descriptor.
    public func add(_ fd: Int32, _ wanted: PollEvents, token: UInt64) throws(SystemError) {
        guard clinux_epoll_control(descriptor, EPOLL_CTL_ADD, fd, wanted.rawValue, token) == 0 else {
            throw SystemError("epoll_ctl")
        }
    }

    /// Changes what is asked of a descriptor that is watched. One system call.
    public func change(_ fd: Int32, _ wanted: PollEvents, token: UInt64) {
        let result = clinux_epoll_control(descriptor, EPOLL_CTL_MOD, fd, wanted.rawValue, token)
        assert(result == 0, "a descriptor that is not watched")
    }

    /// Watches a descriptor no more. Its events of the last wait are still to be seen.
    public func remove(_ fd: Int32) {
        _ = clinux_epoll_control(descriptor, EPOLL_CTL_DEL, fd, 0, 0)
    }

    /// Waits until something is ready, or for `milliseconds`; -1 for as long as it takes. Returns how many events there
    /// are; 0 also when a signal came in between.
    public func wait(milliseconds: Int32) -> Int {
        Int(max(0, epoll_wait(descriptor, events, Int32(capacity), milliseconds)))
    }

    /// An event of the last wait: which descriptor, and what it is ready for.
    public func event(_ number: Int) -> (token: UInt64, events: PollEvents) {
        assert(number < capacity)
        let event = events + number
        return (clinux_epoll_token(event), PollEvents(rawValue: event.pointee.events))
    }
}
