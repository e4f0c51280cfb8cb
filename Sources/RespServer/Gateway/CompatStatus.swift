// The state of the server by the paths of other rate-limit services.

import HTTP
import Persistence

enum CompatStatus {
    /// GET /api/health.
    static func health(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        try CompatReaders.requireSetting(exchange)
        exchange.loop.decideBatch()
        exchange.response.begin(.ok, .json)
        exchange.response.body.append("{\"status\":\"healthy\"}\n")
        return .answered
    }

    /// GET /circuit-breaker-status: the breaker that suspends writes to a failing disk.
    static func breaker(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        try CompatReaders.requireSetting(exchange)
        exchange.loop.decideBatch()
        let status = exchange.loop.durability.status
        exchange.response.begin(.ok, .json)
        var writer = JSONWriter(exchange.response.body)
        writer.beginObject()
        writer.name("state")
        writer.string("\(status.breaker.rawValue)")
        writer.name("failure_count")
        writer.integer(Int64(status.failures))
        writer.name("time_until_retry_seconds")
        // Not known here: it tries again within seconds.
        writer.integer(status.breaker == .closed ? 0 : 1)
        writer.endObject()
        exchange.response.body.append("\n")
        return .answered
    }
}
