// HTTP sessions on an event loop: requests in pieces and in pipelines, the order of answers, the connection's end,
// bounds, timeouts, and who may call administration.

import HTTP
import Synchronization
import System
import Testing
import Transport

@testable import RespServer

@Suite("HTTP sessions")
struct HTTPSessionTests {
    private let bench: LoopBench

    init() throws { bench = try LoopBench() }

    private func get(_ path: String, _ fields: String = "") -> String {
        "GET \(path) HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\n"
    }

    private func answer(_ text: String, on kind: Listener.Kind = .admin) -> String {
        let peer = bench.connect(kind)
        peer.send(text)
        bench.turn()
        return peer.received()
    }

    /// The status codes in a run of answers.
    private func codes(_ answers: String) -> [String] {
        answers.split(separator: "HTTP/1.1 ").map { String($0.prefix(3)) }
    }

    private static let pipeline =
        "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + "\r\nGET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
        + "POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
        + "HEAD /ready HTTP/1.1\r\nHost: localhost\r\n\r\n" + "BREW /ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
        + "POST /ready HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        + "GET /health HTTP/1.0\r\n\r\n"
    private static let expected = ["200", "404", "405", "200", "501", "405", "200"]

    @Test("A pipeline is answered in order, and the last answer ends it")
    func pipeline() {
        let peer = bench.connect(.admin)
        peer.send(Self.pipeline)
        bench.turn()
        let answers = peer.received()
        #expect(codes(answers) == Self.expected)
        #expect(answers.contains("\r\nAllow: GET, HEAD\r\n"))
        #expect(answers.contains("Connection: close\r\n"))
        #expect(peer.isClosed)
    }

    @Test("Wherever a read ends, the next one continues")
    func split() {
        let bytes = Array(Self.pipeline.utf8)
        for cut in 1..<bytes.count {
            let peer = bench.connect(.admin)
            peer.send(bytes[..<cut])
            bench.turn()
            let first = peer.received()
            peer.send(bytes[cut...])
            bench.turn()
            #expect(codes(first + peer.received()) == Self.expected, "cut at \(cut)")
            #expect(peer.isClosed)
        }
    }

    @Test("A thousand pipelined requests are answered, in order")
    func thousand() {
        let peer = bench.connect(.admin)
        var text = ""
        for number in 0..<1000 { text += get(number % 3 == 0 ? "/health" : "/n\(number)") }
        peer.send(text)
        var answers = ""
        bench.turns(until: "a thousand answers") {
            answers += peer.received()
            return codes(answers).count == 1000
        }
        let found = codes(answers)
        for number in 0..<1000 { #expect(found[number] == (number % 3 == 0 ? "200" : "404")) }
        #expect(answers.contains("there is no route /n998"))
    }

    @Test("HEAD has the length of GET's body, and no body")
    func head() {
        let full = answer(get("/health"))
        let head = answer("HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        #expect(full.hasPrefix(head))
        #expect(head.hasSuffix("\r\n\r\n") && head.contains("Content-Length: 17\r\n"))
    }

    @Test("HTTP/1.0 keeps the connection only on request")
    func keepAlive() {
        let peer = bench.connect(.admin)
        peer.send("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        bench.turn()
        #expect(peer.received().contains("Connection: keep-alive\r\n") && !peer.isClosed)
        peer.send("GET /health HTTP/1.0\r\n\r\n")
        bench.turn()
        #expect(peer.received().contains("Connection: close\r\n") && peer.isClosed)
    }

    @Test("100 Continue is sent before the body")
    func expectation() {
        let peer = bench.connect(.admin)
        let fields = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        peer.send(get("/health") + "POST /health HTTP/1.1\r\n\(fields)")
        bench.turn()
        #expect(codes(peer.received()) == ["200", "100"])
        peer.send("ab")
        bench.turn()
        #expect(codes(peer.received()) == ["405"])
    }

    // MARK: Refusals

    @Test("Other protocols and invalid requests get an answer, and the connection ends")
    func invalid() {
        for text in ["*1\r\n$4\r\nPING\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"] {
            let peer = bench.connect(.http)
            peer.send(text)
            bench.turn()
            let answer = peer.received()
            #expect(answer.hasPrefix("HTTP/1.1 400 ") && answer.contains("application/problem+json"))
            #expect(answer.contains("Connection: close\r\n") && peer.isClosed)
        }
        #expect(bench.loop.counters.value(.protocolErrors) == 3)
    }

    /// A connection that is closed while input is unread is reset, and the client would lose the answer.
    @Test("The answer to a request that is too large survives the rest of the request")
    func lingering() {
        let peer = bench.connect(.http)
        peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n")
        peer.send([UInt8](repeating: 0, count: 30_000))
        bench.turn()
        peer.send([UInt8](repeating: 0, count: 40_000))
        bench.turn()
        #expect(peer.received().hasPrefix("HTTP/1.1 413 "))
        #expect(!peer.connection.flags.contains(.closed))
        peer.endOutput()
        bench.turns(until: "the server has read the end") { peer.connection.flags.contains(.closed) }
    }

    @Test("A connection that lingers is closed after a while")
    func lingeringEnds() {
        let peer = bench.connect(.http)
        peer.send("nonsense\r\n")
        bench.turn()
        #expect(peer.connection.flags.contains(.discarding))
        peer.connection.lastActiveAt = SteadyInstant.now() - .seconds(3)
        bench.turns(until: "it is closed") { peer.connection.flags.contains(.closed) }
    }

    // MARK: Time

    @Test("An incomplete request has a bound of its own, and an idle connection another")
    func timeouts() throws {
        let bench = try LoopBench {
            $0.httpRequestTimeoutSeconds = 5
            $0.httpIdleTimeoutSeconds = 60
        }
        let slow = bench.connect(.http)
        slow.send("GET / HT")
        bench.turn()
        let idle = bench.connect(.http)
        idle.send(get("/health"))
        bench.turn()
        #expect(codes(idle.received()) == ["200"])
        for (peer, seconds) in [(slow, 6), (idle, 61)] as [(TestPeer, Int)] {
            peer.connection.lastActiveAt = SteadyInstant.now() - .seconds(seconds)
            guard case .http(let session) = peer.connection.session else { continue }
            session.age(by: .seconds(seconds))
        }
        bench.turns(until: "both are closed") {
            slow.connection.flags.contains(.closed) && idle.connection.flags.contains(.closed)
        }
        #expect(slow.received().hasPrefix("HTTP/1.1 408 ") && slow.isClosed)
        #expect(idle.received().isEmpty && idle.isClosed)
        #expect(bench.loop.http.connections == 0)
    }

    /// Byte by byte, a request may take no longer than one that stops arriving.
    @Test("Bytes that trickle in do not extend the time of a request")
    func trickle() {
        let peer = bench.connect(.http)
        peer.send("G")
        bench.turn()
        guard case .http(let session) = peer.connection.session else { return }
        let began = session.requestBegan
        #expect(began != nil)
        for byte in "ET / HTTP/1.1\r\nHost: a\r\n".utf8 {
            peer.send([byte])
            bench.turn()
        }
        #expect(session.requestBegan == began)
        peer.send("\r\n")
        bench.turn()
        #expect(codes(peer.received()) == ["404"] && session.requestBegan == nil)
    }

    // MARK: Administration

    @Test("Administration needs its token, health does not")
    func token() throws {
        let bench = try LoopBench { $0.adminToken = "secret" }
        func code(_ path: String, _ fields: String = "") -> String {
            let peer = bench.connect(.admin)
            peer.send(get(path, fields))
            bench.turn()
            return codes(peer.received()).joined()
        }
        #expect(code("/health") == "200" && code("/ready") == "200")
        #expect(code("/api/stats") == "401")
        #expect(code("/api/stats", "Authorization: Bearer secret\r\n") == "200")
        #expect(code("/api/stats", "authorization: bearer  secret \r\n") == "200")
        for wrong in ["Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Bearer secretsecret", "Basic secret"] {
            #expect(code("/api/stats", "Authorization: \(wrong)\r\n") == "401", "\(wrong)")
        }
        let twice = "Authorization: Bearer secret\r\nAuthorization: Bearer secret\r\n"
        #expect(code("/api/stats", twice) == "401")
        #expect(bench.loop.counters.value(.failedAuthentications) == 8)
    }

    @Test("A name that an attacker assigned to this machine is refused")
    func rebinding() throws {
        let bench = try LoopBench { $0.adminHosts = ["limits.internal"] }
        func code(_ host: String) -> String {
            let peer = bench.connect(.admin)
            peer.send("GET /api/stats HTTP/1.1\r\nHost: \(host)\r\n\r\n")
            bench.turn()
            return codes(peer.received()).joined()
        }
        for host in ["localhost", "LocalHost:9090", "127.0.0.1", "10.1.2.3:80", "[::1]:80", "Limits.Internal:80"] {
            #expect(code(host) == "200", "\(host)")
        }
        for host in ["evil.example", "localhost.evil.example", "1.2.3", "127.0.0.1.evil", ""] {
            #expect(code(host) == "421", "\(host)")
        }
    }

    @Test("The admin listener does not answer for routes of the check API, nor the other way around")
    func listeners() {
        #expect(codes(answer(get("/metrics"), on: .http)) == ["404"])
        #expect(codes(answer(get("/metrics"), on: .admin)) == ["200"])
        #expect(codes(answer(get("/health"), on: .http)) == ["200"])
    }

    @Test("Health and readiness are answered while the state is being restored")
    func loading() throws {
        let bench = try LoopBench(isLoading: true)
        let peer = bench.connect(.admin)
        peer.send(get("/health") + get("/ready"))
        bench.turn()
        let answers = peer.received()
        #expect(codes(answers) == ["200", "503"])
        #expect(answers.contains(#"{"ready":false,"reasons":["loading"]}"#))
        bench.server.finishLoading()
        peer.send(get("/ready"))
        bench.turn()
        #expect(peer.received().contains(#"{"ready":true,"reasons":[]}"#))
    }

    // MARK: Metrics

    @Test("The scraper's preference decides the format")
    func negotiation() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            + "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        func isOpenMetrics(_ accept: String) -> Bool {
            var accept = accept
            return accept.withUTF8 {
                MetricsPage.format(ByteView(base: $0.baseAddress!, count: $0.count)) == .openMetrics
            }
        }
        for accept in [
            prometheus, "application/openmetrics-text", "application/openmetrics-text; version=\"1.0.0\"",
            "text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.51",
            prometheus.replacing("1.0.0", with: "1.0.0;escaping=allow-utf-8"),
        ] { #expect(isOpenMetrics(accept), "\(accept)") }
        for accept in [
            "*/*", "text/plain", "application/json", ",,;", "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;q=0", "application/openmetrics-text;q=0.5, text/plain;q=0.6",
            "application/openmetrics-text;q=x", "application/openmetrics-text, text/plain",
        ] { #expect(!isOpenMetrics(accept), "\(accept)") }
    }

    @Test("Requests and bytes are counted by route and listener")
    func counted() {
        _ = answer(get("/health") + get("/nothing"), on: .http)
        _ = bench.answer(request("PING"))
        let text = answer(get("/metrics"))
        #expect(text.contains("escapement_http_requests_total{route=\"/health\",method=\"GET\",code=\"200\"} 1\n"))
        #expect(text.contains("escapement_http_requests_total{route=\"other\",method=\"GET\",code=\"404\"} 1\n"))
        #expect(text.contains("escapement_http_request_duration_seconds_count{route=\"/health\"} 1\n"))
        #expect(text.contains("escapement_received_bytes_total{listener=\"resp\"} 14\n"))
        #expect(text.contains("escapement_connections{listener=\"admin\"} 1\n"))
        #expect(text.contains("escapement_ready 1\n"))
    }

    @Test("While answers are not read, no further request runs")
    func notReading() throws {
        let count = 200
        let bench = try LoopBench { $0.clientOutputBufferLimit.normal.hardBytes = 1 << 20 }
        let peer = bench.connect(.admin)
        #expect(peer.send(String(repeating: get("/metrics"), count: count)) == count * get("/metrics").utf8.count)
        for _ in 0..<10 { bench.turn() }
        #expect(peer.connection.flags.contains(.congested))
        #expect((peer.connection.channel.output?.count ?? 0) < 1 << 20)
        var received: [UInt8] = []
        bench.turns(until: "all of them are answered") {
            received += peer.receivedBytes()
            return peer.connection.channel.input == nil && !peer.connection.channel.hasOutput
        }
        received += peer.receivedBytes()
        let parts = String(decoding: received, as: UTF8.self).split(separator: "HTTP/1.1 200 OK")
        #expect(parts.count == count)
        #expect(peer.connection.flags.isDisjoint(with: [.congested, .closed]))
        peer.send(get("/health"))
        bench.turn()
        #expect(peer.received().contains("\"healthy\":true"))
    }
}
