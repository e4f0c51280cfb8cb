// One measured run, and the statistics computed from several.

/// What one run cost the server.
struct Measurement {
    var microsecondsPerCommand: Double
    var commandsPerSecond: Double
    var p99Microseconds: Double
}

/// Runs for `seconds` after warming up for a twentieth of that, and measures the server's processor time meanwhile. The
/// connections are already open, so opening and closing them is not measured.
func measure(_ generator: LoadGenerator, _ process: ServerProcess, seconds: Double) throws(Failure) -> Measurement {
    _ = try generator.run(.seconds(seconds / 20))
    let before = try process.cpuNanoseconds()
    let result = try generator.run(.seconds(seconds))
    let after = try process.cpuNanoseconds()
    guard result.errors == 0 else { throw Failure("\(result.errors) of \(result.commands) replies were errors") }
    guard result.commands > 0 else { throw Failure("no command was answered in \(seconds) s") }
    return Measurement(
        microsecondsPerCommand: Double(after - before) / 1000 / Double(result.commands),
        commandsPerSecond: result.commandsPerSecond,
        p99Microseconds: Double(result.latencies.percentile(0.99)) / 1000)
}

/// The middle value, or the mean of the middle two. `values` must not be empty.
func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/// `value` with `places` digits after the decimal point.
func decimal(_ value: Double, _ places: Int) -> String {
    guard value.isFinite, value.magnitude < 1e12 else { return "\(value)" }
    var scale = 1
    for _ in 0..<places { scale *= 10 }
    let scaled = Int((value.magnitude * Double(scale)).rounded())
    let fraction = String(scaled % scale)
    let sign = value < 0 && scaled != 0 ? "-" : ""
    guard places > 0 else { return "\(sign)\(scaled)" }
    return "\(sign)\(scaled / scale).\(String(repeating: "0", count: places - fraction.count))\(fraction)"
}
