// Whether storage is believed in: closed while it works, open after a failure, half open while it is tried again.
//
//   closed ── failure ─▶ open ── time to try ─▶ half open ── success ─▶ closed
//                         ▲                         │
//                         └──────── failure ────────┘   each time twice as long until the next try, up to a limit
//
// A value without a clock: times are handed in.

/// A circuit breaker.
public struct CircuitBreaker: Sendable {
    /// Where it stands.
    public enum State: String, Sendable {
        /// Storage works.
        case closed
        /// Storage failed, and is left alone for a while.
        case open
        /// Storage is being tried.
        case halfOpen = "half-open"
    }

    /// Nanoseconds until the first try.
    private let firstPause: Int64
    /// Nanoseconds between tries at most.
    private let longestPause: Int64

    /// Where it stands.
    public private(set) var state = State.closed
    /// When to try next; means nothing unless open.
    public private(set) var nextTry: Int64 = 0
    /// Failures since it was closed last.
    public private(set) var failures = 0
    private var pause: Int64

    /// A closed one. Pauses are nanoseconds: until the first try, and between tries at most.
    public init(firstPause: Int64 = 1_000_000_000, longestPause: Int64 = 30_000_000_000) {
        self.firstPause = firstPause
        self.longestPause = longestPause
        pause = firstPause
    }

    /// Notes a failure at `now`, in nanoseconds of any steady clock.
    public mutating func failed(now: Int64) {
        failures += 1
        if state != .closed { pause = min(pause * 2, longestPause) }
        state = .open
        nextTry = now + pause
    }

    /// Whether it is time for a try; then it is half open, and `failed` or `succeeded` has to follow.
    public mutating func tries(now: Int64) -> Bool {
        guard state == .open, now >= nextTry else { return false }
        state = .halfOpen
        return true
    }

    /// Notes that storage works.
    public mutating func succeeded() { self = CircuitBreaker(firstPause: firstPause, longestPause: longestPause) }
}
