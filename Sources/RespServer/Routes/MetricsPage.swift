// GET /metrics: the registry in the one of Prometheus's formats that the scraper prefers. GET /api/stats: as JSON.

import HTTP
import RESP

enum MetricsPage {
    static func answer(_ exchange: HTTPExchange) {
        let format = format(exchange.request["accept"] ?? .empty)
        let buffer = ReplyBuffer(capacity: 64 * 1024)
        PrometheusPrinter.print(reading(exchange.loop), as: format, to: buffer)
        exchange.response.begin(.ok, format == .openMetrics ? .openMetrics : .prometheus)
        exchange.response.body.append(buffer.bytes)
    }

    static func answerStatistics(_ exchange: HTTPExchange) {
        exchange.response.begin(.ok, .json)
        JSONPrinter.print(reading(exchange.loop), to: exchange.response.body)
    }

    private static func reading(_ loop: EventLoop) -> MetricsReading {
        MetricsReading(
            of: loop.server, loop.keyspace, now: loop.now, steady: loop.steady,
            sections: Set(MetricSection.allCases))
    }

    // MARK: Content negotiation

    /// The format with the highest quality in a value of Accept; 0.0.4 if none of its members fits, or they are equal.
    static func format(_ accept: ByteView) -> PrometheusPrinter.Format {
        var best = (text: -1, openMetrics: -1)
        accept.forEachMember { member in
            let range = MediaRange(member)
            if range.type.matches("application/openmetrics-text"), range.version.map({ $0.equals("1.0.0") }) ?? true {
                best.openMetrics = max(best.openMetrics, range.quality)
            } else if range.type.matches("text/plain"), range.version.map({ $0.equals("0.0.4") }) ?? true {
                best.text = max(best.text, range.quality)
            }
            return true
        }
        return best.openMetrics > max(best.text, 0) ? .openMetrics : .text
    }
}

/// A member of Accept.
private struct MediaRange {
    let type: ByteView
    private(set) var version: ByteView?
    /// In thousandths. An invalid one is 0, as if the type were not acceptable.
    private(set) var quality = 1000

    init(_ member: ByteView) {
        let end = member.position(of: UInt8(ascii: ";")) ?? member.count
        type = member[0..<end].trimmed
        var start = end
        while start < member.count {
            start += 1
            let rest = member[start..<member.count]
            let length = rest.position(of: UInt8(ascii: ";")) ?? rest.count
            let parameter = rest[0..<length].trimmed
            start += length
            guard let equals = parameter.position(of: UInt8(ascii: "=")) else { continue }
            let value = parameter[equals + 1..<parameter.count]
            if parameter[0..<equals].matches("version") { version = MediaRange.unquoted(value) }
            if parameter[0..<equals].matches("q") { quality = MediaRange.quality(value) }
        }
    }

    private static func unquoted(_ value: ByteView) -> ByteView {
        guard value.count >= 2, value[0] == UInt8(ascii: "\""), value[value.count - 1] == UInt8(ascii: "\"") else {
            return value
        }
        return value[1..<value.count - 1]
    }

    /// `0`, `1`, or with up to three decimals.
    private static func quality(_ text: ByteView) -> Int {
        guard text.count >= 1, text.count <= 5, text[0] == 0x30 || text[0] == 0x31 else { return 0 }
        guard text.count > 1 else { return text[0] == 0x31 ? 1000 : 0 }
        guard text[1] == UInt8(ascii: "."), text.count == 2 || text[2..<text.count].decimal != nil else { return 0 }
        var value = text.count == 2 ? 0 : text[2..<text.count].decimal!
        for _ in text.count..<5 { value *= 10 }
        return min(1000, (text[0] == 0x31 ? 1000 : 0) + value)
    }
}
