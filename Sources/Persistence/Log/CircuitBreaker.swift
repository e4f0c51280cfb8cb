// Whether storage is believed in: closed while it works, open after a failure, half open while it is tried again.
//
//   closed ── failure ─▶ open ── time to try ─▶ half open ── success ─▶ closed
//                         ▲                         │
//                         └──────── failure ────────┘   each time twice as long until the next try, up to a limit
//
// A value without a clock: times are handed in.

public import System

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

    /// Until the first try.
    private let firstPause: Nanoseconds
    /// Between tries at most.
    private let longestPause: Nanoseconds

    /// Where it stands.
    public private(set) var state = State.closed
    /// When to try next; means nothing unless open.
    public private(set) var nextTry = SteadyInstant.boot
    /// Failures since it was closed last.
    public private(set) var failures = 0
    private var pause: Nanoseconds

    /// A closed one. `firstPause`: until the first try; `longestPause`: between tries at most.
    public init(firstPause: Nanoseconds = .seconds(1), longestPause: Nanoseconds = .seconds(30)) {
        self.firstPause = firstPause
        self.longestPause = longestPause
        pause = firstPause
    }

    /// Notes a failure at `now`.
    public mutating func failed(now: SteadyInstant) {
        failures += 1
        if state != .closed { pause = min(pause * 2, longestPause) }
        state = .open
        nextTry = now + pause
    }

    /// Whether it is time for a try; then it is half open, and `failed` or `succeeded` has to follow.
    public mutating func tries(now: SteadyInstant) -> Bool {
        guard state == .open, now >= nextTry else { return false }
        state = .halfOpen
        return true
    }

    /// Notes that storage works.
    public mutating func succeeded() { self = CircuitBreaker(firstPause: firstPause, longestPause: longestPause) }
}
