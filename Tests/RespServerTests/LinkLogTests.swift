// Rate limiting of log lines: a link that stays down, and a resource that has run out.

import Replication
import System
import TestSupport
import Testing

@testable import RespServer

@Suite struct LinkLogTests {
    private let second = Nanoseconds.seconds(1)

    @Test func eachReasonIsLoggedOnceAMinute() {
        var log = LinkLog()
        #expect(log.failed("refused", now: 0) == 1)
        for number in 1..<20 { #expect(log.failed("refused", now: .boot + .seconds(3 * number)) == nil) }
        #expect(log.failed("closed", now: .boot + 58 * second) == 20, "a new reason is logged at once")
        #expect(log.failed("closed", now: .boot + 59 * second) == nil)
        #expect(log.failed("refused", now: .boot + 60 * second) == 2)
        log.reset()
        #expect(log.failed("refused", now: .boot + 61 * second) == 1, "it was up in between")
    }

    @Test func theReasonsLoggedAMinuteAreBounded() {
        var log = LinkLog()
        let logged = (0..<1000).count { log.failed("reason \($0)", now: SteadyInstant(nanoseconds: Int64($0))) != nil }
        #expect(logged == 8)
    }

    @Test func failuresAreDescribedInWords() {
        func words(_ failure: UpstreamLink.Failure) -> String {
            failure.words(connection: "cannot connect: Connection refused", timeout: 60 * second)
        }
        #expect(words(.connection) == "cannot connect: Connection refused")
        #expect(words(.silence) == "the primary has sent nothing for 60 s (repl-timeout)")
        #expect(words(.refused("NOAUTH x")) == "the primary refuses: NOAUTH x")
    }

    @Test func aShortageIsLoggedOnceAMinute() {
        var count = ShortageCount()
        #expect(count.note(0, now: 0) == nil)
        #expect(count.note(3, now: .boot + second) == 3)
        #expect(count.note(10, now: .boot + 2 * second) == nil)
        #expect(count.note(10, now: .boot + 60 * second) == nil)
        #expect(count.note(10, now: .boot + 61 * second) == 7, "what was suppressed within the minute")
        #expect(count.note(10, now: .boot + 200 * second) == nil)
        #expect(count.note(11, now: .boot + 201 * second) == 1, "a new minute begins")
        // After CONFIG RESETSTAT.
        #expect(count.note(2, now: .boot + 300 * second) == 2)
    }
}
