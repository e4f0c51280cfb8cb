// The routes of administration, and of both listeners, that are not limiter calls.

import HTTP

/// What a route of administration does.
enum AdminAction: Sendable {
    case health, ready, metrics, statistics, openAPI

    /// The rows of the table.
    static let routes: [HTTPRoute] = [
        HTTPRoute(
            .get, "/health", on: .both, access: .open, .admin(.health),
            RouteDocumentation(
                summary: "Whether the process answers",
                answers: [.init(status: .ok, summary: "It does", schema: healthSchema)])),
        HTTPRoute(
            .get, "/ready", on: .both, access: .open, .admin(.ready),
            RouteDocumentation(
                summary: "Whether the server can do its work now",
                answers: [
                    .init(status: .ok, summary: "It can", schema: readySchema),
                    .init(status: .unavailable, summary: "It cannot, for these reasons", schema: readySchema),
                ])),
        HTTPRoute(
            .get, "/metrics", on: .admin, access: .openLocally, .admin(.metrics),
            RouteDocumentation(
                summary: "Every metric for Prometheus, in OpenMetrics 1.0 if the client prefers that",
                answers: [.init(status: .ok, summary: "The metrics", contentType: .prometheus)])),
        HTTPRoute(
            .get, "/api/stats", on: .admin, .admin(.statistics),
            RouteDocumentation(
                summary: "Every metric as JSON, by section",
                answers: [.init(status: .ok, summary: "The metrics", schema: #"{"type":"object"}"#)])),
        HTTPRoute(
            .get, "/openapi.json", on: .both, access: .openLocally, .admin(.openAPI),
            RouteDocumentation(
                summary: "This document", answers: [.init(status: .ok, summary: "It", schema: #"{"type":"object"}"#)])),
    ]

    private static let healthSchema = #"{"type":"object","properties":{"healthy":{"const":true}}}"#
    private static let readySchema =
        #"{"type":"object","required":["ready","reasons"],"properties":{"ready":{"type":"boolean"},"#
        + #""reasons":{"type":"array","items":{"enum":["loading","shutting_down","disk_failed","link_down"]}}}}"#

    /// Fills the loop's response.
    func answer(_ exchange: inout HTTPExchange) {
        let loop = exchange.loop
        switch self {
        case .health:
            exchange.response.begin(.ok, .json)
            exchange.response.body.append("{\"healthy\":true}\n")
        case .ready:
            loop.refreshState()
            Readiness(loop.state, isStopping: loop.server.isStopping).answer(to: exchange.response)
        case .metrics: MetricsPage.answer(exchange)
        case .statistics: MetricsPage.answerStatistics(exchange)
        case .openAPI:
            exchange.response.begin(.ok, .json)
            let listener: HTTPListeners = exchange.isAdmin ? .admin : .gateway
            exchange.response.body.append(text: OpenAPIDocument.text(listener))
        }
    }
}
