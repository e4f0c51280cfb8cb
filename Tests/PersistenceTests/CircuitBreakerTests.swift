// When a failed disk is retried.

import System
import TestSupport
import Testing

@testable import Persistence

@Suite struct CircuitBreakerTests {
    private let second = Nanoseconds.seconds(1)

    @Test func pausesDoubleUpToALimit() {
        var breaker = CircuitBreaker()
        var now: SteadyInstant = 5
        #expect(breaker.state == .closed && !breaker.tries(now: now))
        breaker.failed(now: now)
        for pause in [1, 2, 4, 8, 16, 30, 30, 30] as [Int64] {
            #expect(breaker.state == .open && breaker.nextTry == now + pause * second)
            #expect(!breaker.tries(now: breaker.nextTry - 1) && breaker.tries(now: breaker.nextTry))
            // Only one attempt at a time.
            #expect(breaker.state == .halfOpen && !breaker.tries(now: breaker.nextTry))
            now = breaker.nextTry
            breaker.failed(now: now)
        }
        #expect(breaker.failures == 9)
    }

    @Test func successResetsThePause() {
        var breaker = CircuitBreaker(firstPause: 10, longestPause: 15)
        breaker.failed(now: 0)
        breaker.failed(now: 0)
        #expect(breaker.nextTry == 15 && breaker.tries(now: 15))
        breaker.succeeded()
        #expect(breaker.state == .closed && breaker.failures == 0)
        breaker.failed(now: 100)
        #expect(breaker.nextTry == 110)
    }
}
