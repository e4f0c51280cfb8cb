// Metrics of HTTP: requests by route, and what is counted by listener.
//
// A route is the template in the table of routes, never a path; a request without a route is counted as `other`.

import HTTP
import Synchronization
import Transport

extension MetricsTable {
    static let http: [Metric] = [
        .family(
            .named("escapement_http_requests_total"), .counter, "Requests over HTTP, by route, method and status",
            by: .route, .init(name: "method", seriesMax: HTTPMethod.allCases.count),
            .init(name: "code", seriesMax: HTTPStatus.all.count), in: .http
        ) {
            $0.httpRequests.map {
                MetricSample(
                    labels: [RouteTable.name($0.route), "\($0.method.name)", String($0.status.rawValue)],
                    value: .count($0.count))
            }
        },
        .family(
            .named("escapement_http_request_duration_seconds"), .histogram, unit: .seconds,
            "Time from the last byte of a request to its answer, by route", by: .route, in: .http
        ) {
            $0.httpDurations.map { MetricSample(labels: [RouteTable.name($0.route)], value: .histogram($0.latency)) }
        },
    ]

    /// A sample for each kind of listener.
    static func byListener(_ value: (Listener.Kind) -> MetricValue) -> [MetricSample] {
        Listener.Kind.allCases.map { MetricSample(labels: [$0.rawValue], value: value($0)) }
    }
}

extension Metric.Label {
    /// The kind of a listener: `resp`, `http` for the check API, `admin`.
    static let listener = Metric.Label(name: "listener", seriesMax: Listener.Kind.allCases.count)
    /// A template in the table of routes, or `other`.
    static let route = Metric.Label(name: "route", seriesMax: RouteTable.all.count + 1)
}

// MARK: The values

extension MetricsReading {
    /// Answered requests with the same route, method and status.
    struct HTTPRequests: Sendable {
        var route: Int
        var method: HTTPMethod
        var status: HTTPStatus
        var count: UInt64
    }

    /// Durations of the requests of a route.
    struct HTTPDurations: Sendable {
        var route: Int
        var latency: LatencySnapshot
    }

    /// Connections of clients on a kind of listener.
    func connections(_ kind: Listener.Kind) -> Int {
        switch kind {
        case .resp: max(0, clients - replicaConnections - gatewayConnections - adminConnections)
        case .http: gatewayConnections
        case .admin: adminConnections
        }
    }

    /// Bytes exchanged with clients on a kind of listener.
    func bytes(_ kind: Listener.Kind) -> (received: UInt64, sent: UInt64) {
        func count(_ counter: LoopCounters.Counter) -> UInt64 { counters[counter.rawValue] }
        let gateway = (count(.gatewayInputBytes), count(.gatewayOutputBytes))
        let admin = (count(.adminInputBytes), count(.adminOutputBytes))
        switch kind {
        case .resp:
            // Counters are read one after the other, so a difference may be off while bytes arrive.
            let received = count(.inputBytes).subtractingReportingOverflow(gateway.0 &+ admin.0)
            let sent = count(.outputBytes).subtractingReportingOverflow(gateway.1 &+ admin.1)
            return (received.overflow ? 0 : received.partialValue, sent.overflow ? 0 : sent.partialValue)
        case .http: return gateway
        case .admin: return admin
        }
    }

    mutating func readHTTP(_ server: Server) {
        gatewayConnections = server.loops.reduce(0) { $0 + $1.http.gatewayConnections.load(ordering: .relaxed) }
        adminConnections = server.loops.reduce(0) { $0 + $1.http.adminConnections.load(ordering: .relaxed) }
        guard sections.contains(.http) else { return }
        for route in 0...RouteTable.all.count {
            var latency = LatencySnapshot()
            for loop in server.loops { loop.http.statistics.durations.add(command: route, to: &latency) }
            guard latency.calls > 0 else { continue }
            httpDurations.append(HTTPDurations(route: route, latency: latency))
            for method in HTTPMethod.allCases {
                for (position, status) in HTTPStatus.all.enumerated() {
                    let count = server.loops.reduce(0) {
                        $0 + $1.http.statistics.requests(route: route, method: method, status: position)
                    }
                    guard count > 0 else { continue }
                    httpRequests.append(HTTPRequests(route: route, method: method, status: status, count: count))
                }
            }
        }
    }
}
