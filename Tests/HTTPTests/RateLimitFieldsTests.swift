import HTTP
import Testing

@Suite("RateLimit fields")
struct RateLimitFieldsTests {
    private struct Row {
        var name: [UInt8]
        var quota: Int64 = 100
        var window: Int64 = 60
        var remaining: Int64 = 50
        var wait: Int64 = 1
        var reset: Int64 = 30

        init(_ name: String) { self.name = Array(name.utf8) }
        init(_ name: [UInt8]) { self.name = name }

        func with(_ change: (inout Row) -> Void) -> Row {
            var row = self
            change(&row)
            return row
        }
    }

    private func written(_ families: RateLimitFamilies, _ rows: Row...) -> String {
        let out = ByteWriter()
        let names = rows.map { row in
            let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: row.name.count)
            _ = memory.initialize(from: row.name)
            return memory
        }
        defer { for name in names { name.deallocate() } }
        let items = zip(rows, names).map { row, name in
            RateLimitItem(
                name: UnsafeBufferPointer(name), quota: row.quota, window: row.window, remaining: row.remaining,
                wait: row.wait, reset: row.reset)
        }
        items.withUnsafeBufferPointer {
            RateLimitFields.write($0, families, unixSeconds: 1_800_000_000, to: out)
        }
        return String(decoding: out.bytes, as: UTF8.self)
    }

    @Test("the lists of the draft")
    func lists() {
        #expect(
            written(.draft, Row("free")) == "RateLimit-Policy: \"free\";q=100;w=60\r\nRateLimit: \"free\";r=50;t=1\r\n")
        #expect(
            written(.draft, Row("a"), Row("b").with { $0.window = 0 }, Row("c").with { $0.wait = -1 })
                == "RateLimit-Policy: \"a\";q=100;w=60, \"b\";q=100, \"c\";q=100;w=60\r\n"
                + "RateLimit: \"a\";r=50;t=1, \"b\";r=50;t=1, \"c\";r=50\r\n")
    }

    @Test("names that are no string of RFC 9651 are left out, and a list without items too")
    func names() {
        #expect(written(.draft, Row(#"a"\b"#)).hasPrefix(#"RateLimit-Policy: "a\"\\b";q=100"#))
        #expect(written(.draft, Row("caf\u{E9}")) == "")
        #expect(written(.draft, Row([0x61, 0x0D, 0x0A])) == "")
        #expect(written(.draft, Row([0x7F]), Row("b")) == written(.draft, Row("b")))
        #expect(written(.draft) == "")
        #expect(written([.draft, .triple, .xDelta]) == "")
    }

    @Test("integers have at most 15 digits")
    func clamped() {
        let large = Row("a").with { ($0.quota, $0.remaining, $0.window, $0.wait) = (.max, .max, .max, .max) }
        let most = "999999999999999"
        #expect(
            written(.draft, large)
                == "RateLimit-Policy: \"a\";q=\(most);w=\(most)\r\nRateLimit: \"a\";r=\(most);t=\(most)\r\n")
    }

    @Test("the families with three fields")
    func threeFields() {
        #expect(
            written(.triple, Row("a")) == "RateLimit-Limit: 100\r\nRateLimit-Remaining: 50\r\nRateLimit-Reset: 30\r\n")
        #expect(
            written(.xDelta, Row("a"))
                == "X-RateLimit-Limit: 100\r\nX-RateLimit-Remaining: 50\r\nX-RateLimit-Reset: 30\r\n")
        #expect(
            written(.xEpoch, Row("a"))
                == "X-RateLimit-Limit: 100\r\nX-RateLimit-Remaining: 50\r\nX-RateLimit-Reset: 1800000030\r\n")
        #expect(
            written([.draft, .triple], Row("a")) == written(.draft, Row("a")) + written(.triple, Row("a")))
        #expect(written([], Row("a")) == "")
    }

    @Test("three fields are those of the most restrictive limit")
    func mostRestrictive() {
        let half = Row("half").with { ($0.quota, $0.remaining) = (1000, 500) }
        let tenth = Row("tenth").with { ($0.quota, $0.remaining) = (10, 1) }
        let none = Row("none").with { ($0.quota, $0.remaining) = (0, 0) }
        let huge = Row("huge").with { ($0.quota, $0.remaining) = (.max, .max - 1) }
        #expect(written(.triple, half, tenth, huge).hasPrefix("RateLimit-Limit: 10\r\n"))
        #expect(written(.triple, huge, half).hasPrefix("RateLimit-Limit: 1000\r\n"))
        #expect(written(.triple, half, none, tenth).hasPrefix("RateLimit-Limit: 0\r\n"))
    }

    @Test(
        "Retry-After is rounded up, 1 or more, and absent when waiting never helps",
        arguments: [
            (-1, ""), (0, "1"), (1, "1"), (999_999_999, "1"), (1_000_000_000, "1"), (1_000_000_001, "2"),
            (Int64.max, "9223372037"),
        ] as [(Int64, String)])
    func retryAfter(nanoseconds: Int64, expected: String) {
        let out = ByteWriter()
        RateLimitFields.writeRetryAfter(nanoseconds: nanoseconds, to: out)
        let text = String(decoding: out.bytes, as: UTF8.self)
        #expect(text == (expected.isEmpty ? "" : "Retry-After: \(expected)\r\n"))
    }
}
