// One row of the table of HTTP routes: what it matches, who may call it, what it does, and its documentation.
//
// The table (RouteTable) drives the router, the answers 404, 405 and Allow, the metrics by route, and /openapi.json.

import HTTP

/// The listeners that serve a route.
struct HTTPListeners: OptionSet, Sendable {
    let rawValue: UInt8

    /// `http-port`: the check API.
    static let gateway = HTTPListeners(rawValue: 1 << 0)
    /// `admin-port`.
    static let admin = HTTPListeners(rawValue: 1 << 1)
    static let both: HTTPListeners = [.gateway, .admin]
}

/// A row of the table. A class, since copying a row would retain each of its strings.
final class HTTPRoute: Sendable {
    /// Who may call a route of the admin listener.
    enum Access: Sendable {
        case open
        /// Needs the token, unless the peer is on this machine.
        case openLocally
        /// Needs the token, if one is set.
        case token
    }

    /// What serves the route. Enumerations rather than closures: a switch costs a request nothing.
    enum Action: Sendable {
        /// Answers at once.
        case admin(AdminAction)
        /// A call of a limit, decided in the batch, or refused before.
        case gateway(GatewayAction)
    }

    /// Nil: every method, even one that the server does not know.
    let method: HTTPMethod?
    /// Segments in braces match one segment that is not empty; a last segment `*` matches the rest, even none at all.
    let template: StaticString
    let listeners: HTTPListeners
    let access: Access
    /// The command, in lower case, whose flags decide admission, and as which the request is counted. Nil: the route is
    /// served in every state of the server, and counted only as a route.
    let command: String?
    let action: Action
    let documentation: RouteDocumentation

    init(
        _ method: HTTPMethod?, _ template: StaticString, on listeners: HTTPListeners, access: Access = .token,
        command: String? = nil, _ action: Action, _ documentation: RouteDocumentation
    ) {
        self.method = method
        self.template = template
        self.listeners = listeners
        self.access = access
        self.command = command
        self.action = action
        self.documentation = documentation
    }
}

/// What /openapi.json shows of a route.
struct RouteDocumentation: Sendable {
    /// A parameter in the path, the query or the header.
    struct Parameter: Sendable {
        enum Place: String, Sendable {
            case path, query, header
        }
        var name: String
        var place: Place
        var summary: String
        var isRequired = false
        /// A JSON schema.
        var schema = #"{"type":"string"}"#
    }

    /// An answer by its status.
    struct Answer: Sendable {
        var status: HTTPStatus
        var summary: String
        var contentType = HTTPContentType.json
        /// A JSON schema of the body; nil for none.
        var schema: String?
    }

    /// One sentence without its full stop.
    var summary: String
    var parameters: [Parameter] = []
    /// A JSON schema of the request's body; nil for none.
    var body: String?
    var answers: [Answer] = []
}
