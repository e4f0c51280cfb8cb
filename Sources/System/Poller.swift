// epoll: which descriptors are ready.

import CLinux
import Glibc

/// The events to wait for on a descriptor, or those it is ready for.
public struct PollEvents: OptionSet, Sendable {
    /// In epoll's encoding.
    public let rawValue: UInt32

    /// Events in epoll's encoding.
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// There is input, or the end of input.
    public static let readable = PollEvents(rawValue: UInt32(clinux_epoll_in))
    /// There is room for output.
    public static let writable = PollEvents(rawValue: UInt32(clinux_epoll_out))
    /// The peer has ended its output. Must be requested.
    public static let peerEnded = PollEvents(rawValue: UInt32(clinux_epoll_peer_hangup))
    /// Both directions have ended. Always reported.
    public static let hangup = PollEvents(rawValue: UInt32(clinux_epoll_hangup))
    /// An error is pending. Always reported.
    public static let error = PollEvents(rawValue: UInt32(clinux_epoll_error))
}

/// A set of descriptors to wait for, level-triggered, each with a token chosen by the owner. Belongs to one thread;
/// owns the epoll descriptor and memory for events, but not the watched descriptors.
public struct Poller: ~Copyable {
    private let descriptor: Int32
    private let events: UnsafeMutablePointer<epoll_event>
    private let capacity: Int

    /// - Parameter capacity: Maximum number of events that one wait returns.
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

    /// Changes the events to wait for on a watched descriptor. One system call.
    public func change(_ fd: Int32, _ wanted: PollEvents, token: UInt64) {
        let result = clinux_epoll_control(descriptor, EPOLL_CTL_MOD, fd, wanted.rawValue, token)
        assert(result == 0, "the descriptor is not watched")
    }

    /// Stops watching a descriptor. Its events from the last wait can still be read.
    public func remove(_ fd: Int32) {
        _ = clinux_epoll_control(descriptor, EPOLL_CTL_DEL, fd, 0, 0)
    }

    /// Waits until something is ready, for `milliseconds` at most; -1 for no limit. Returns the number of events; also
    /// 0 if a signal interrupted the wait.
    public func wait(milliseconds: Int32) -> Int {
        Int(max(0, epoll_wait(descriptor, events, Int32(capacity), milliseconds)))
    }

    /// An event of the last wait: the descriptor's token, and what it is ready for.
    public func event(_ number: Int) -> (token: UInt64, events: PollEvents) {
        assert(number < capacity)
        let event = events + number
        return (clinux_epoll_token(event), PollEvents(rawValue: event.pointee.events))
    }
}
