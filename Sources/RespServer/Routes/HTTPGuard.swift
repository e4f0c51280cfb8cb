// Who may call a route of the admin listener: the token, the host names that protect against DNS rebinding, and what a
// browser's page of another origin could send.

import HTTP

enum HTTPGuard {
    /// Why the request is refused; nil if it may be served.
    static func refusal(of exchange: HTTPExchange, _ route: HTTPRoute) -> HTTPProblem? { nil }
}
