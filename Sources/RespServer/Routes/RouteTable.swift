// The table of HTTP routes: those of the check API (Gateway/) first, since they are called most, then administration.

import HTTP

enum RouteTable {
    /// Every route. At most 255: a note of the batch has a byte for its position.
    static let all: [HTTPRoute] = GatewayAction.routes + AdminAction.routes

    /// The name of a route in metrics: its template; `other` for a request that has none.
    static func name(_ number: Int) -> String { number < all.count ? "\(all[number].template)" : "other" }
}
