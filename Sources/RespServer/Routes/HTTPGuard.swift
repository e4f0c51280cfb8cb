// Who may call a route of the admin listener: the token, the host names that protect against DNS rebinding, and what a
// browser could send on behalf of another origin's page.

import HTTP

enum HTTPGuard {
    /// Why the request is refused; nil if it may be served.
    static func refusal(of exchange: HTTPExchange, _ route: HTTPRoute) -> HTTPProblem? {
        if route.access == .open { return nil }
        let settings = exchange.loop.settings
        let request = exchange.request
        let hasToken = !settings.adminToken.isEmpty
        let isAuthorized = hasToken && presents(settings.adminToken, request)
        // A page that has its own name point to this machine cannot know the token.
        if !isAuthorized, !isOwnHost(request, settings.adminHosts) {
            return HTTPProblem(
                .misdirected, "Host is neither an IP address, nor localhost, nor one of admin-hosts", field: "Host")
        }
        if hasToken, !isAuthorized, route.access == .token || !exchange.connection.isLocal {
            exchange.loop.counters.add(.failedAuthentications, 1)
            return HTTPProblem(
                .unauthorized, "administration needs the token of the setting admin-token", field: "Authorization")
        }
        return request.method.isSafe ? nil : refusalOfChange(request)
    }

    // MARK: The token

    /// Whether the request has the token. The time it takes does not depend on where a wrong token differs.
    private static func presents(_ token: String, _ request: HTTPRequest) -> Bool {
        guard let value = request.fields.only("authorization"), value.count > 7, value[0..<7].matches("bearer ") else {
            return false
        }
        let given = value[7..<value.count].trimmed
        var token = token
        return token.withUTF8 { expected in
            guard expected.count > 0 else { return false }
            var difference = UInt8(expected.count == given.count ? 0 : 1)
            for (index, byte) in given.buffer.enumerated() { difference |= byte ^ expected[index % expected.count] }
            return difference == 0
        }
    }

    // MARK: Host

    /// Whether the request was addressed to this server under a name that only its operator can assign. A request
    /// without a Host, which HTTP/1.0 permits, does not come from a browser.
    private static func isOwnHost(_ request: HTTPRequest, _ hosts: [String]) -> Bool {
        guard let field = request.fields.first("host") else { return true }
        let name = withoutPort(field)
        if name.matches("localhost") || isAddress(name) { return true }
        return hosts.contains { host in
            var host = host
            return host.withUTF8 { name.matches(ByteView(base: $0.baseAddress!, count: $0.count)) }
        }
    }

    private static func withoutPort(_ host: ByteView) -> ByteView {
        if host.count > 0, host[0] == UInt8(ascii: "[") {
            return host[0..<(host.position(of: UInt8(ascii: "]")).map { $0 + 1 } ?? host.count)]
        }
        return host[0..<(host.position(of: UInt8(ascii: ":")) ?? host.count)]
    }

    /// Whether it is an address: `[…]`, or four numbers.
    private static func isAddress(_ name: ByteView) -> Bool {
        guard name.count > 0 else { return false }
        if name[0] == UInt8(ascii: "[") { return true }
        var dots = 0
        for byte in name.buffer {
            if byte == UInt8(ascii: ".") { dots += 1 } else if byte < 0x30 || byte > 0x39 { return false }
        }
        return dots == 3
    }

    // MARK: Changes

    /// A request that changes something must be one that a browser does not send for another origin: its body is JSON,
    /// and it comes from a page of this server, if from a page at all.
    private static func refusalOfChange(_ request: HTTPRequest) -> HTTPProblem? {
        if let site = request["sec-fetch-site"], !site.matches("same-origin") {
            return HTTPProblem(.forbidden, "a page of another origin may not change anything", field: "Sec-Fetch-Site")
        }
        if let origin = request["origin"], !isSameOrigin(origin, request.host) {
            return HTTPProblem(.forbidden, "a page of another origin may not change anything", field: "Origin")
        }
        let needsType = request.method != .delete || !request.body.isEmpty
        guard needsType, !request.hasJSONType else { return nil }
        return HTTPProblem(.unsupportedMediaType, "Content-Type must be application/json", field: "Content-Type")
    }

    private static func isSameOrigin(_ origin: ByteView, _ host: ByteView) -> Bool {
        for scheme in ["http://", "https://"] as [StaticString] where origin.hasPrefix(scheme) {
            return origin[scheme.utf8CodeUnitCount..<origin.count].matches(host)
        }
        return false
    }
}

extension Settings {
    /// Why these settings contradict each other; nil if they do not.
    var contradiction: (setting: String, text: String)? {
        guard adminPort > 0, adminToken.isEmpty else { return nil }
        for address in Settings.addresses(adminBind) where !Settings.isLoopback(address.host) {
            return (
                "admin-token",
                "is required because admin-bind has '\(address.host)', which other machines may reach"
            )
        }
        return nil
    }

    private static func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || host.hasPrefix("127.") && host.utf8.allSatisfy { $0 < 0x3A }
    }
}
