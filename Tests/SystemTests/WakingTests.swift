// Communication between threads: mailboxes, wake events, bells, pollers.

import Glibc
import System
import Testing

@Suite struct WakingTests {
    @Test func aMailboxIsReadableWhileItHasMessages() throws {
        let mailbox = try Mailbox<Int>()
        let poller = try Poller(capacity: 4)
        try poller.add(mailbox.wakeDescriptor, .readable, token: 7)
        #expect(poller.wait(milliseconds: 0) == 0)
        for number in 1...3 { mailbox.post(number) }
        #expect(poller.wait(milliseconds: 0) == 1)
        #expect(poller.event(0) == (7, .readable))
        #expect(mailbox.drain() == [1, 2, 3])
        #expect(poller.wait(milliseconds: 0) == 0)
        #expect(mailbox.drain() == [])
        mailbox.wake()
        #expect(poller.wait(milliseconds: 0) == 1)
        #expect(mailbox.drain() == [])
        mailbox.post(4)
        #expect(poller.wait(milliseconds: 0) == 1, "the first message after a drain wakes again")
    }

    @Test func everyMessageOfManyThreadsArrivesOnceAndInOrder() throws {
        let mailbox = try Mailbox<(thread: Int, number: Int)>()
        let threads = 4
        let each = 5_000
        for thread in 0..<threads {
            Thread.detach(name: "poster") {
                for number in 0..<each { mailbox.post((thread, number)) }
            }
        }
        let poller = try Poller(capacity: 1)
        try poller.add(mailbox.wakeDescriptor, .readable, token: 1)
        var next = [Int](repeating: 0, count: threads)
        while next != [Int](repeating: each, count: threads) {
            #expect(poller.wait(milliseconds: 60_000) == 1, "a post without a wake")
            for (thread, number) in mailbox.drain() {
                try #require(number == next[thread])
                next[thread] += 1
            }
        }
    }

    @Test func aPollerReportsRequestedEvents() throws {
        var ends: [Int32] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { close(ends[0]) }
        let poller = try Poller(capacity: 4)
        try poller.add(ends[0], .readable, token: 5)
        #expect(throws: SystemError.self) { try poller.add(ends[0], .readable, token: 6) }
        #expect(poller.wait(milliseconds: 0) == 0)
        poller.change(ends[0], [.readable, .writable], token: 5)
        #expect(poller.wait(milliseconds: 0) == 1 && poller.event(0) == (5, .writable))
        poller.change(ends[0], .peerEnded, token: 5)
        #expect(poller.wait(milliseconds: 0) == 0)
        close(ends[1])
        #expect(poller.wait(milliseconds: 0) == 1)
        #expect(poller.event(0).events.isSuperset(of: [.peerEnded, .hangup]))
        poller.remove(ends[0])
        #expect(poller.wait(milliseconds: 0) == 0)
    }

    @Test func aBellRungBeforeTheWaitIsNotMissed() {
        let bell = Doorbell()
        let seen = bell.count
        bell.ring()
        bell.wait(since: seen, atMost: .seconds(3600))
        #expect(bell.count == seen &+ 1 && bell.waiters == 0)
    }

    @Test func pinnedFieldsAreChangedInPlace() {
        let pinned = Pinned((count: 1, words: ["a"]))
        let same = pinned
        same.pointee.count += 1
        same.pointee.words.append("b")
        #expect(pinned.pointee.count == 2 && pinned.pointee.words == ["a", "b"])
        pinned.deallocate()
    }
}
