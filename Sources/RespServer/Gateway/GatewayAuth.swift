// /v1/auth: the question that proxies ask before they pass a request on (nginx auth_request, Traefik ForwardAuth, Caddy
// forward_auth, Envoy ext_authz).
//
// Proxies put their client's own path, query, header fields and method into the question, so the only parts that count
// are the X-Limit- fields, which the proxy has to set and thereby replace. A field that is given twice is refused: the
// client has added its own. Where no field names the client, it is known by its address; X-Forwarded-For is believed
// only as far as trusted proxies have written it.

import HTTP
import LimiterEngine
import RESP
import System

enum GatewayAuth {
    /// The tenant and the action of requests without these fields.
    private static var defaultTenant: ByteView { ByteView("default") }
    private static var defaultAction: ByteView { ByteView("*") }

    private struct Identity {
        var tenant = ByteView.empty
        var client = ByteView.empty
        var action = ByteView.empty
        var cost = ByteView.empty
        var id = ByteView.empty
        var denyStatus = ByteView.empty
    }

    static func read(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        let identity = try identity(exchange.request.fields)
        var words = DemandWords()
        if !identity.cost.isEmpty {
            guard let cost = identity.cost.decimal else {
                throw HTTPProblem(.invalidField, "X-Limit-Cost must be an integer, 0 or more", field: "X-Limit-Cost")
            }
            try set(&words) { (words: inout DemandWords) throws(ArgumentProblem) in try words.set(.cost, Int64(cost)) }
        }
        if !identity.id.isEmpty {
            guard identity.id.count <= LimitArguments.tokenLengthMax else {
                throw HTTPProblem(
                    .invalidField, "X-Limit-Id must have at most \(LimitArguments.tokenLengthMax) bytes",
                    field: "X-Limit-Id")
            }
            let id = identity.id
            try set(&words) { (words: inout DemandWords) throws(ArgumentProblem) in
                try words.set(.id, Argument(base: id.base, count: id.count))
            }
        }
        if !identity.denyStatus.isEmpty {
            guard let status = identity.denyStatus.decimal, [401, 403, 429, 503].contains(status) else {
                throw HTTPProblem(
                    .invalidField, "X-Limit-Deny-Status must be 401, 403, 429 or 503", field: "X-Limit-Deny-Status")
            }
            exchange.note.denyStatus = UInt16(status)
        }
        exchange.note.form = GatewayForm.auth.rawValue
        var memory = GatewayMemory(exchange.loop, body: .empty)
        return try GatewayReaders.rule(
            .take, words, tenant: identity.tenant.isEmpty ? defaultTenant : identity.tenant,
            client: identity.client.isEmpty ? clientByAddress(exchange) : identity.client,
            action: identity.action.isEmpty ? defaultAction : identity.action, &exchange, &memory)
    }

    private static func set(
        _ words: inout DemandWords, _ body: (inout DemandWords) throws(ArgumentProblem) -> Void
    ) throws(HTTPProblem) {
        do throws(ArgumentProblem) {
            try body(&words)
        } catch {
            throw GatewayText.problem(error)
        }
    }

    private static func identity(_ fields: HTTPFields) throws(HTTPProblem) -> Identity {
        var identity = Identity()
        var seen: UInt8 = 0
        for index in 0..<fields.count {
            let name = fields.name(index)
            guard name.count >= 10, name[1] == UInt8(ascii: "-"), name[0] | 0x20 == UInt8(ascii: "x") else { continue }
            let bit: UInt8
            if name.matches("x-limit-tenant") {
                (bit, identity.tenant) = (1, fields.value(index))
            } else if name.matches("x-limit-client") {
                (bit, identity.client) = (2, fields.value(index))
            } else if name.matches("x-limit-action") {
                (bit, identity.action) = (4, fields.value(index))
            } else if name.matches("x-limit-cost") {
                (bit, identity.cost) = (8, fields.value(index))
            } else if name.matches("x-limit-id") {
                (bit, identity.id) = (16, fields.value(index))
            } else if name.matches("x-limit-deny-status") {
                (bit, identity.denyStatus) = (32, fields.value(index))
            } else {
                continue
            }
            guard seen & bit == 0 else {
                throw HTTPProblem(
                    .invalidField, "\(name.shown) is given twice: the proxy has to replace what its client sent",
                    field: name.shown)
            }
            seen |= bit
        }
        return identity
    }

    // MARK: Addresses

    /// The client's address as text, of an IPv6 address only the configured prefix. Valid until the loop's text is used
    /// again.
    private static func clientByAddress(_ exchange: HTTPExchange) -> ByteView {
        let loop = exchange.loop
        let text = loop.http.text
        text.removeAll()
        guard let address = clientAddress(exchange) else {
            text.append("unknown")
            return text.view()
        }
        let prefix = loop.settings.httpIPv6Prefix
        let isGrouped = !address.isIPv4 && prefix < 128
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: IPAddress.textMax) { memory in
            let shown = isGrouped ? address.prefix(prefix) : address
            let count = shown.write(to: memory.baseAddress!)
            text.append(UnsafeBufferPointer(rebasing: memory[..<count]))
        }
        if isGrouped {
            text.append(byte: UInt8(ascii: "/"))
            text.append(Int64(prefix))
        }
        return text.view()
    }

    private static func clientAddress(_ exchange: HTTPExchange) -> IPAddress? {
        guard case .http(let session) = exchange.connection.session else { return nil }
        guard let peer = session.peer(of: exchange.connection) else { return nil }
        let trusted = exchange.loop.settings.trustedProxies
        guard !trusted.isEmpty else { return peer }
        return ForwardedAddress.client(peer: peer, exchange.request.fields, trusted: trusted)
    }
}

/// The client behind proxies, according to X-Forwarded-For.
enum ForwardedAddress {
    /// The rightmost address that is not a trusted proxy, beginning with the peer. An entry that is not an address ends
    /// the search: the address before it is then the best known.
    static func client(peer: IPAddress, _ fields: HTTPFields, trusted: [IPRange]) -> IPAddress {
        var client = peer
        var index = fields.count
        while index > 0, trusted.contains(where: { $0.contains(client) }) {
            index -= 1
            guard fields.name(index).matches("x-forwarded-for") else { continue }
            let value = fields.value(index)
            var end = value.count
            while end >= 0, trusted.contains(where: { $0.contains(client) }) {
                var start = end
                while start > 0, value[start - 1] != UInt8(ascii: ",") { start -= 1 }
                let entry = value[start..<end].trimmed
                end = start - 1
                guard !entry.isEmpty else { continue }
                guard let address = address(entry) else { return client }
                client = address
            }
        }
        return client
    }

    /// The address in an entry, which may have a port.
    private static func address(_ entry: ByteView) -> IPAddress? {
        if entry[0] == UInt8(ascii: "[") {
            guard let end = entry.position(of: UInt8(ascii: "]")) else { return nil }
            return IPAddress(entry[1..<end].buffer)
        }
        let colons = entry.buffer.count { $0 == UInt8(ascii: ":") }
        guard colons == 1, let colon = entry.position(of: UInt8(ascii: ":")) else { return IPAddress(entry.buffer) }
        return IPAddress(entry[0..<colon].buffer)
    }
}
