// GET /metrics: the registry in one of Prometheus's formats.

import HTTP
import RESP

enum MetricsPage {
    static func answer(_ exchange: HTTPExchange) {
        let loop = exchange.loop
        let reading = MetricsReading(
            of: loop.server, loop.keyspace, now: loop.now, steady: loop.steady, sections: Set(MetricSection.allCases))
        let buffer = ReplyBuffer(capacity: 64 * 1024)
        PrometheusPrinter.print(reading, as: .text, to: buffer)
        exchange.response.begin(.ok, .prometheus)
        exchange.response.body.append(buffer.bytes)
    }
}
