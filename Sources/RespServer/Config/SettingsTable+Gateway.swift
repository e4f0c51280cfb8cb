// The settings of the check API over HTTP, in the section HTTP. Its listeners are in SettingsTable+Network.

import HTTP
import System

extension SettingsTable {
    static let gateway: [Setting] = [
        rateLimitHeaders,
        .list(
            "trusted-proxies", \.trustedProxies, countMax: 256,
            allowed: "at most 256 IP addresses or ranges such as 10.0.0.0/8, with no bits set after the prefix", .http,
            "Proxies whose X-Forwarded-For is believed: the client is the rightmost address in it that is not one of",
            "these, and only if the peer is. Used where no header names the client. Empty: the client is the peer.",
            fileText: { "\($0)" }, element: { IPRange($0) }),
        .integer(
            "http-ipv6-prefix", \.httpIPv6Prefix, 1...128, unit: "bits", .http,
            "Clients that are known by their IPv6 address only share a limit with all addresses that have the same",
            "prefix of this length: a single customer usually has a /64."),
        .flag(
            "http-compat", \.httpCompat, .http,
            "Serves the paths of rate-limit services that this server replaces: see docs/check-api.md."),
    ]

    private static let familyNames: [(name: String, family: RateLimitFamilies)] = [
        ("draft", .draft), ("triple", .triple), ("x-epoch", .xEpoch), ("x-delta", .xDelta),
    ]

    private static let rateLimitHeaders = Setting.make(
        "http-ratelimit-headers", .http,
        [
            "Header fields that tell clients what is left of their limits: RateLimit and RateLimit-Policy of the",
            "current IETF draft (draft), RateLimit-Limit, -Remaining and -Reset of its earlier versions (triple), or",
            "X-RateLimit-Limit, -Remaining and -Reset, where Reset is a Unix time (x-epoch) or a number of seconds",
            "(x-delta). Several may be given.",
        ],
        allowed: "one or more of draft, triple, and x-epoch or x-delta; or none", isList: true
    ) { settings in
        let names = familyNames.filter { settings.httpRateLimitHeaders.contains($0.family) }.map(\.name)
        return names.isEmpty ? "none" : names.joined(separator: " ")
    } parse: { text throws(Setting.Refusal) in
        let refusal = Setting.Refusal("argument must be one or more of draft, triple, x-epoch or x-delta; or none")
        var families: RateLimitFamilies = []
        let words = ConfigWord.split(text).map { $0.lowercased() }
        guard !words.isEmpty else { throw refusal }
        if words == ["none"] { return { $0.httpRateLimitHeaders = [] } }
        for word in words {
            guard let known = familyNames.first(where: { $0.name == word }) else { throw refusal }
            families.insert(known.family)
        }
        // Both have the same names.
        guard !families.isSuperset(of: [.xEpoch, .xDelta]) else { throw refusal }
        return { [families] in $0.httpRateLimitHeaders = families }
    }
}
