import System
import Testing

@Suite("IP addresses")
struct IPAddressTests {
    @Test(
        "text of an address, in the form that RFC 5952 recommends",
        arguments: [
            ("192.0.2.1", "192.0.2.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"),
            ("::ffff:192.0.2.1", "192.0.2.1"), ("::FFFF:C000:0201", "192.0.2.1"), ("::", "::"), ("::1", "::1"),
            ("1::", "1::"), ("2001:0DB8::0001", "2001:db8::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
            ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
            ("fe80::a:b", "fe80::a:b"), ("10:20:300:4000::", "10:20:300:4000::"),
        ])
    func text(given: String, shown: String) throws {
        let address = try #require(IPAddress(given))
        #expect("\(address)" == shown)
        #expect(IPAddress(shown) == address)
    }

    @Test(
        "not an address",
        arguments: [
            "", ".", "1", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "256.1.1.1", "01.2.3.4", "1.2.3.04",
            "1.2.3.1000", "1.2.3.4 ", "a.b.c.d", "1.2.3.4:80", ":", ":::", "1:", ":1", "1::2::3", "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "12345::", "g::", "::1%eth0", "[::1]",
            "::1.2.3", "::1.2.3.4.5", "1.2.3.4::", "1:2:3:4:5:6:7:1.2.3.4", "::ffff:1.2.3.4:5", "1:::2",
        ])
    func refused(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("prefixes")
    func prefixes() throws {
        let address = try #require(IPAddress("2001:db8:1:2:ffff:ffff:ffff:ffff"))
        #expect("\(address.prefix(128))" == "2001:db8:1:2:ffff:ffff:ffff:ffff")
        #expect("\(address.prefix(65))" == "2001:db8:1:2:8000::")
        #expect("\(address.prefix(64))" == "2001:db8:1:2::")
        #expect("\(address.prefix(63))" == "2001:db8:1:2::")
        #expect("\(address.prefix(62))" == "2001:db8:1::")
        #expect("\(address.prefix(0))" == "::")
    }

    @Test(
        "ranges",
        arguments: [
            ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.0", false), ("10.0.0.0/8", "::a00:1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true), ("0.0.0.0/0", "1.2.3.4", true), ("0.0.0.0/0", "::1", false),
            ("1.2.3.4", "1.2.3.4", true), ("1.2.3.4", "1.2.3.5", false), ("1.2.3.4/31", "1.2.3.5", true),
            ("::/0", "1.2.3.4", true), ("2001:db8::/32", "2001:db8:1::", true), ("2001:db8::/32", "2001:db9::", false),
            ("::1", "::1", true), ("::ffff:10.0.0.0/104", "10.9.9.9", true),
        ])
    func ranges(range: String, address: String, isMember: Bool) throws {
        let range = try #require(IPRange(range))
        #expect(range.contains(try #require(IPAddress(address))) == isMember)
        #expect(IPRange("\(range)") == range)
    }

    @Test(
        "not a range",
        arguments: [
            "", "/", "10.0.0.0/", "/8", "10.0.0.0/33", "10.0.0.1/8", "::/129", "10.0.0.0/08", "1.2.3.4/8/8", "x/8",
        ])
    func notARange(text: String) {
        #expect(IPRange(text) == nil)
    }
}
