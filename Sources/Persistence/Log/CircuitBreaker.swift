// Whether storage is used: closed while it works, open after a failure, half open while it is being retried.
//
//   closed ── failure ─▶ open ── retry due ───▶ half open ── success ─▶ closed
//                         ▲                         │
//                         └──────── failure ────────┘   the time to the next retry doubles, up to a limit
//
// A value without a clock: times are parameters.

package import System

/// A circuit breaker.
package struct CircuitBreaker: Sendable {
    /// The breaker's state.
    package enum State: String, Sendable {
        /// Storage works.
        case closed
        /// Storage failed and is not used until the next retry.
        case open
        /// Storage is being retried.
        case halfOpen = "half-open"
    }

    /// Time to the first retry.
    private let firstPause: Nanoseconds
    /// Upper bound on the time between retries.
    private let longestPause: Nanoseconds

    /// The current state.
    package private(set) var state = State.closed
    /// When to retry next; meaningful only while open.
    package private(set) var nextTry = SteadyInstant.boot
    /// Failures since it was last closed.
    package private(set) var failures = 0
    private var pause: Nanoseconds

    /// A closed breaker. `firstPause`: time to the first retry; `longestPause`: upper bound on the time between
    /// retries.
    package init(firstPause: Nanoseconds = .seconds(1), longestPause: Nanoseconds = .seconds(30)) {
        self.firstPause = firstPause
        self.longestPause = longestPause
        pause = firstPause
    }

    /// Records a failure at `now`.
    package mutating func failed(now: SteadyInstant) {
        failures += 1
        if state != .closed { pause = min(pause * 2, longestPause) }
        state = .open
        nextTry = now + pause
    }

    /// Whether a retry is due. If so the breaker is half open, and `failed` or `succeeded` has to follow.
    package mutating func tries(now: SteadyInstant) -> Bool {
        guard state == .open, now >= nextTry else { return false }
        state = .halfOpen
        return true
    }

    /// Records that storage works.
    package mutating func succeeded() { self = CircuitBreaker(firstPause: firstPause, longestPause: longestPause) }
}
