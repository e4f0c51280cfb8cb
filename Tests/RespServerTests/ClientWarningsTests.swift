// Rate limiting of warnings about clients: how often the log names a host, and how it reports suppressed warnings.

import System
import TestSupport
import Testing

@testable import RespServer

@Suite struct ClientWarningsTests {
    private let minute = ClientWarnings.interval

    @Test func aHostIsNamedOnceAMinute() {
        let warnings = ClientWarnings()
        #expect(warnings.note(.http, address: "10.0.0.1:1", steady: 0) == 0)
        #expect(warnings.note(.http, address: "10.0.0.1:2", steady: 1) == nil)
        #expect(warnings.note(.http, address: "10.0.0.1:3", steady: .boot + minute - 1) == nil)
        #expect(warnings.note(.http, address: "10.0.0.1:4", steady: .boot + minute) == 2)
        #expect(warnings.note(.http, address: "10.0.0.1:5", steady: .boot + minute + 1) == nil)
    }

    @Test func anotherHostOrEventIsLoggedAtOnce() {
        let warnings = ClientWarnings()
        #expect(warnings.note(.authentication, address: "10.0.0.1:1", steady: 0) == 0)
        #expect(warnings.note(.authentication, address: "[::1]:1", steady: 0) == 0)
        #expect(warnings.note(.authentication, address: "[::1]:2", steady: 0) == nil)
        #expect(warnings.note(.http, address: "[::1]:2", steady: 0) == 0)
        #expect(warnings.note(.authentication, address: "[::2]:2", steady: 0) == 1)
    }

    /// Many hosts fill neither the log nor the memory.
    @Test func theHostsNamedAMinuteAreBounded() {
        let warnings = ClientWarnings()
        let logged = (0..<1_000).filter { warnings.note(.http, address: "10.0.0.\($0):1", steady: 5) != nil }
        #expect(logged.count == ClientWarnings.hostsMax)
        #expect(
            warnings.note(.http, address: "10.1.0.1:1", steady: .boot + minute + 5) == 1_000 - ClientWarnings.hostsMax)
    }
}
