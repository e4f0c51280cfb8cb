// Held replies: which are released by which collection, and in what order.

import TestSupport
import Testing

@testable import RespServer

@Suite struct HeldRepliesTests {
    private let held = HeldReplies()

    private func append(_ text: String, ticket: Int) {
        Array(text.utf8).withUnsafeBufferPointer { held.append($0, ticket: ticket) }
    }

    private func take(upTo ticket: Int) -> String { String(decoding: held.take(upTo: ticket), as: UTF8.self) }

    @Test func eachPartIsReleasedWithItsTicket() {
        append("a", ticket: 3)
        append("bc", ticket: 5)
        #expect(take(upTo: 2) == "" && held.count == 3)
        #expect(take(upTo: 3) == "a" && held.count == 2)
        #expect(take(upTo: 3) == "" && take(upTo: 4) == "")
        #expect(take(upTo: 5) == "bc" && held.count == 0)
        #expect(take(upTo: Int.max) == "")
    }

    /// A reply to a read, or a message: it waits only for the replies before it.
    @Test func repliesWithoutATicketKeepTheirPlace() {
        append("a", ticket: 3)
        append("b", ticket: 0)
        append("c", ticket: 4)
        append("d", ticket: 0)
        #expect(take(upTo: 2) == "")
        #expect(take(upTo: 3) == "ab")
        #expect(take(upTo: 4) == "cd" && held.count == 0)
        append("e", ticket: 0)
        #expect(take(upTo: 0) == "e")
    }

    /// Tickets ascend; even if one did not, its reply would still wait for those before it.
    @Test func nothingOvertakes() {
        append("a", ticket: 7)
        append("b", ticket: 5)
        #expect(take(upTo: 5) == "" && take(upTo: 6) == "")
        #expect(take(upTo: 7) == "ab")
    }

    /// Offsets count from the first byte ever held, not from the first one remaining.
    @Test func partsAppendedAfterARelease() {
        append("ab", ticket: 1)
        append("c", ticket: 2)
        #expect(take(upTo: 1) == "ab")
        append("d", ticket: 3)
        #expect(take(upTo: 2) == "c")
        append("e", ticket: 3)
        #expect(held.count == 2 && take(upTo: 3) == "de")
    }

    /// A batch of a thousand replies to one collection is a single part.
    @Test func memoryGrowsWithBytesAndCollections() {
        #expect(held.memory == 0)
        for _ in 0..<10_000 { append(":1\r\n", ticket: 9) }
        #expect(held.count == 40_000)
        // An array's capacity is at most twice its count; a part is two integers.
        #expect(held.memory >= 40_000 && held.memory < 2 * 40_000 + 256, "\(held.memory)")
    }

    /// Against a list of replies, each with the highest ticket up to it.
    @Test func agreesWithAPlainList() {
        var random = SeededGenerator(for: "held replies")
        var list: [(text: String, ticket: Int)] = []
        var (ticket, expected, taken) = (1, "", "")
        for number in 0..<5_000 {
            switch random.below(4) {
            case 0: ticket += random.below(3)
            case 1:
                let upTo = ticket - random.below(4)
                let count = list.prefix { $0.ticket <= upTo }.count
                expected += list[..<count].map(\.text).joined()
                list.removeFirst(count)
                taken += take(upTo: upTo)
                #expect(taken == expected)
            default:
                let text = "\(number)" + String(repeating: "x", count: random.below(20))
                let own = random.below(3) == 0 ? 0 : ticket
                append(text, ticket: own)
                list.append((text, max(own, list.last?.ticket ?? 0)))
            }
            #expect(held.count == list.reduce(0) { $0 + $1.text.utf8.count })
        }
        #expect(taken.utf8.count > 10_000)
    }
}
