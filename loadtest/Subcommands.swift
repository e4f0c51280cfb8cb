// `load`, `call`, `idle`, `memory`, `keyspace`, `lag`: one measurement and one paragraph of output each. `compare` has
// its own file.

import CLinux
import Glibc
import RESP

/// `load`: one run against one server.
func runLoad(_ arguments: [String]) throws(Failure) {
    let options = try Options(
        arguments, names: ["port", "pid", "connections", "pipeline", "requests", "seconds", "keys", "rate"])
    let port = try options.port()
    let template = try CommandTemplate(options.words)
    let batch = RequestBatch(
        template, depth: try options.integer("pipeline", in: 1...10_000, default: 1),
        keys: try options.integer("keys", in: 1...1_000_000_000, default: 100_000))
    let limit: LoadLimit
    if let seconds = try options.positive("seconds") {
        limit = .seconds(seconds)
    } else {
        limit = .commands(try options.integer("requests", in: 1...1_000_000_000_000, default: 1_000_000))
    }
    _ = try Dialogue(port: port).demand(template.words)
    let generator = try LoadGenerator(
        port: port, connections: try options.integer("connections", in: 1...20_000, default: 50), batch: batch)
    let process = options.has("pid") ? try ServerProcess(pid: try options.pid()) : nil
    let before = try process?.cpuNanoseconds() ?? 0
    let result = try generator.run(limit, rate: try options.positive("rate"))
    let after = try process?.cpuNanoseconds() ?? 0
    print(
        "\(result.commands) commands, \(result.errors) errors, \(decimal(Double(result.nanoseconds) / 1e9, 3)) s, "
            + "\(Int(result.commandsPerSecond)) a second")
    print("latency µs: " + latencyText(result.latencies))
    if process != nil {
        print("server CPU: \(decimal(Double(after - before) / 1000 / Double(max(result.commands, 1)), 3)) µs a command")
    }
}

/// `call`: sends one command and prints its reply as text.
func runCall(_ arguments: [String]) throws(Failure) {
    let options = try Options(arguments, names: ["port"])
    let reply = try Dialogue(port: try options.port()).demand(options.words)
    print(plainText(reply))
}

/// A reply on one line, with spaces between the elements of an array.
private func plainText(_ reply: ReplyValue) -> String {
    if let elements = reply.elements { return elements.map(plainText).joined(separator: " ") }
    return reply.text ?? reply.integer.map(String.init) ?? "\(reply)"
}

/// `idle`: the server's cost of idle connections.
func runIdle(_ arguments: [String]) throws(Failure) {
    let options = try Options(arguments, names: ["port", "pid", "connections"])
    let (port, process) = (try options.port(), try ServerProcess(pid: try options.pid()))
    let count = try options.integer("connections", in: 1...25_000, default: 10_000)
    try raiseOpenFilesLimit(to: count + 64)
    // Makes the server allocate the buffers it needs regardless of the number of connections, which are not measured.
    _ = try Dialogue(port: port).demand(["PING"])
    let before = try process.residentBytes()
    // Each connection sends one request, so that it has certainly been accepted and served.
    var idle: [Dialogue] = []
    for _ in 0..<count {
        let connection = try Dialogue(port: port)
        _ = try connection.demand(["PING"])
        idle.append(connection)
    }
    let perConnection = Double(try process.residentBytes() - before) / Double(idle.count)
    print("\(idle.count) idle connections: \(Int(perConnection)) bytes of resident memory each")
}

/// `memory`: the server's cost of keys. The command's key must contain `__seq_int__`.
func runMemory(_ arguments: [String]) throws(Failure) {
    let options = try Options(arguments, names: ["port", "pid", "keys"])
    let (port, process) = (try options.port(), try ServerProcess(pid: try options.pid()))
    let keys = try options.integer("keys", in: 1...1_000_000_000, default: 10_000_000)
    let template = try CommandTemplate(options.words)
    guard !template.encode().running.isEmpty else { throw .usage("the command's key must contain __seq_int__") }
    let dialogue = try Dialogue(port: port)
    let (keysBefore, before) = (try dialogue.demand(["DBSIZE"]).integer ?? 0, try process.residentBytes())
    let generator = try LoadGenerator(
        port: port, connections: 16, batch: RequestBatch(template, depth: 64, keys: keys))
    let result = try generator.run(.commands(keys))
    guard result.errors == 0 else { throw Failure("\(result.errors) of \(result.commands) replies were errors") }
    let stored = (try dialogue.demand(["DBSIZE"]).integer ?? 0) - keysBefore
    guard stored > 0 else { throw Failure("the server holds no more keys than before") }
    let perKey = Double(try process.residentBytes() - before) / Double(stored)
    print("\(stored) keys (DBSIZE) of \(keys) sent: \(decimal(perKey, 1)) bytes of resident memory each")
}

/// `keyspace`: how much more a command costs over many keys than over few.
func runKeyspace(_ arguments: [String]) throws(Failure) {
    let options = try Options(
        arguments, names: ["port", "pid", "few", "many", "pipeline", "connections", "seconds", "repetitions"])
    let (port, process) = (try options.port(), try ServerProcess(pid: try options.pid()))
    let (few, many) = (
        try options.integer("few", in: 1...1_000_000_000, default: 100_000),
        try options.integer("many", in: 1...1_000_000_000, default: 10_000_000)
    )
    let depth = try options.integer("pipeline", in: 1...10_000, default: 64)
    let template = try CommandTemplate(options.words)
    var costs: [[Double]] = [[], []]
    let generators = [few, many].map { RequestBatch(template, depth: depth, keys: $0) }
    for _ in 0..<(try options.integer("repetitions", in: 1...100, default: 5)) {
        for (index, batch) in generators.enumerated() {
            let generator = try LoadGenerator(
                port: port, connections: try options.integer("connections", in: 1...20_000, default: 50), batch: batch)
            costs[index].append(
                try measure(generator, process, seconds: try options.positive("seconds") ?? 2).microsecondsPerCommand)
        }
    }
    let (fewCost, manyCost) = (median(costs[0]), median(costs[1]))
    print(
        "pipeline \(depth), µs of server CPU a command: \(decimal(fewCost, 3)) over \(few) keys, "
            + "\(decimal(manyCost, 3)) over \(many): ratio \(decimal(manyCost / fewCost, 2))")
}

/// `lag`: the time from a call's answer until its effect is visible on a replica. Polls the replica until a reply shows
/// the key, so it measures what a client of the replica sees.
func runLag(_ arguments: [String]) throws(Failure) {
    let options = try Options(arguments, names: ["port", "replica-port", "probes", "pause-ms"])
    let primary = try Dialogue(port: try options.port())
    let replica = try Dialogue(port: try options.integer("replica-port", in: 1...65535))
    let probes = try options.integer("probes", in: 1...1_000_000, default: 500)
    let pause = UInt64(try options.integer("pause-ms", in: 0...10_000, default: 7)) * 1_000_000
    var (lags, asks) = (Histogram(), Histogram())
    for number in 0..<probes {
        var rest = timespec(tv_sec: Int(pause / 1_000_000_000), tv_nsec: Int(pause % 1_000_000_000))
        nanosleep(&rest, nil)
        let key = "lag:\(getpid()):\(number)"
        _ = try primary.demand(["CL.THROTTLE", key, "1", "1", "3600"])
        let answered = monotonicNanoseconds()
        var now = answered
        while true {
            let asked = now
            let isThere = try replica.demand(["EXISTS", key]).integer == 1
            now = monotonicNanoseconds()
            asks.record(now - asked, times: 1)
            if isThere { break }
            guard now - answered < 30_000_000_000 else { throw Failure("the replica lacks \(key) after 30 s") }
        }
        lags.record(now - answered, times: 1)
    }
    print(
        "\(probes) probes, from the primary's answer to the replica's, µs: \(latencyText(lags)); one ask: p50 "
            + decimal(Double(asks.percentile(0.5)) / 1000, 1))
}

func latencyText(_ histogram: Histogram) -> String {
    func micro(_ nanoseconds: UInt64) -> String { decimal(Double(nanoseconds) / 1000, 1) }
    return "p50 \(micro(histogram.percentile(0.5))), p99 \(micro(histogram.percentile(0.99))), "
        + "p99.9 \(micro(histogram.percentile(0.999))), max \(micro(histogram.maximum))"
}
