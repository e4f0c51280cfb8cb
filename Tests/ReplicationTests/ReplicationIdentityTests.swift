// Which replication positions may continue in which histories.

import TestSupport
import Testing

@testable import Replication

@Suite struct ReplicationIdentityTests {
    private let a = TestStream.id("a")
    private let b = TestStream.id("b")
    private let c = TestStream.id("c")

    @Test func aNameIsFortyLowerCaseHexadecimalDigits() {
        #expect(ReplicationID(String(repeating: "0", count: 40)) != nil)
        #expect(ReplicationID(String(repeating: "0", count: 39)) == nil)
        #expect(ReplicationID(String(repeating: "0", count: 41)) == nil)
        #expect(ReplicationID(String(repeating: "A", count: 40)) == nil)
        #expect(ReplicationID(String(repeating: "g", count: 40)) == nil)
        #expect(ReplicationID("?") == nil)
        var random = SeededGenerator(seed: 1)
        let fresh = ReplicationID(using: &random)
        #expect(ReplicationID(fresh.text) == fresh)
        #expect(fresh != ReplicationID(using: &random))
    }

    @Test func ownHistoryContinuesUpToItsEnd() {
        let identity = ReplicationIdentity(id: a)
        #expect(identity.continues(StreamPosition(id: a, offset: 0), end: 10))
        #expect(identity.continues(StreamPosition(id: a, offset: 10), end: 10))
        #expect(!identity.continues(StreamPosition(id: a, offset: 11), end: 10))
        #expect(!identity.continues(StreamPosition(id: b, offset: 5), end: 10))
    }

    @Test func thePastContinuesUpToTheBranch() {
        var identity = ReplicationIdentity(id: a)
        identity.branch(to: b, at: 10)
        #expect(identity.id == b && identity.past == StreamPosition(id: a, offset: 10))
        #expect(identity.continues(StreamPosition(id: a, offset: 10), end: 20))
        #expect(!identity.continues(StreamPosition(id: a, offset: 11), end: 20))
        #expect(identity.continues(StreamPosition(id: b, offset: 20), end: 20))
        identity.branch(to: b, at: 15)
        #expect(identity.past == StreamPosition(id: a, offset: 10))
        identity.branch(to: c, at: 20)
        #expect(!identity.continues(StreamPosition(id: a, offset: 5), end: 20))
        identity.replace(by: a)
        #expect(identity == ReplicationIdentity(id: a))
    }
}
