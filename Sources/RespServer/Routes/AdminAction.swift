// The routes of administration.

import HTTP
import RESP

/// What a route of administration does.
enum AdminAction: Sendable {
    case health, metrics

    /// The rows of the table.
    static let routes: [HTTPRoute] = [
        HTTPRoute(
            .get, "/health", on: .both, access: .open, .admin(.health),
            RouteDocumentation(summary: "Whether the process answers")),
        HTTPRoute(
            .get, "/metrics", on: .admin, access: .openLocally, .admin(.metrics),
            RouteDocumentation(summary: "Every metric, for Prometheus")),
    ]

    /// Fills the loop's response.
    func answer(_ exchange: inout HTTPExchange) {
        switch self {
        case .health:
            exchange.response.begin(.ok, .json)
            exchange.response.body.append("{\"healthy\":true}\n")
        case .metrics: MetricsPage.answer(exchange)
        }
    }
}
