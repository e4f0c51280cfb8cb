// `compare`: peers measured in turn within one run, so that other load on the machine affects all of them equally.
// Figures are medians over the repetitions; ratios carry over to other machines.

import Glibc

/// One server and the command sent to it.
struct Peer {
    let name: String
    let port: Int
    let process: ServerProcess
    let template: CommandTemplate

    /// From `name=port:pid:word,word,…`, where a word `@path` is the contents of that file.
    init(_ text: String) throws(Failure) {
        let form = Failure.usage("a peer is name=port:pid:word,word,…, not '\(text)'")
        guard let equals = text.firstIndex(of: "=") else { throw form }
        let parts = text[text.index(after: equals)...].split(separator: ":", maxSplits: 2)
        guard parts.count == 3, let port = Int(parts[0]), (1...65535).contains(port), let pid = Int(parts[1]) else {
            throw form
        }
        name = String(text[..<equals])
        self.port = port
        process = try ServerProcess(pid: pid)
        var words: [String] = []
        for word in parts[2].split(separator: ",", omittingEmptySubsequences: false) {
            words.append(word.first == "@" ? try contents(of: String(word.dropFirst())) : String(word))
        }
        template = try CommandTemplate(words)
    }
}

/// The text of a file, of at most 64 KiB.
private func contents(of path: String) throws(Failure) -> String {
    guard let file = fopen(path, "r") else { throw .usage("cannot read \(path)") }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 64 * 1024)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self)
}

/// A bound on one peer by another: `depth:name<=[factor*]name[/divisor][+microseconds]`.
struct Target {
    let text: String
    let depth: Int
    let name: String
    let other: String
    var factor = 1.0
    var extra = 0.0

    init(_ text: String) throws(Failure) {
        let form = Failure.usage("a target is depth:name<=[factor*]name[/divisor][+microseconds], not '\(text)'")
        guard let colon = text.firstIndex(of: ":"), let depth = Int(text[..<colon]),
            let less = text.firstRange(of: "<=")
        else { throw form }
        self.text = text
        self.depth = depth
        name = String(text[text.index(after: colon)..<less.lowerBound])
        var rest = text[less.upperBound...]
        func split(_ mark: Character) throws(Failure) -> Double? {
            guard let place = rest.lastIndex(of: mark) else { return nil }
            guard let value = Double(rest[rest.index(after: place)...]) else { throw form }
            rest = rest[..<place]
            return value
        }
        extra = try split("+") ?? 0
        let divisor = try split("/") ?? 1
        if let star = rest.firstIndex(of: "*") {
            guard let value = Double(rest[..<star]) else { throw form }
            factor = value
            rest = rest[rest.index(after: star)...]
        }
        factor /= divisor
        other = String(rest)
    }
}

/// All measurements, by peer and depth.
struct Comparison {
    let peers: [String]
    let depths: [Int]
    /// Indexed by peer, then by depth, then by repetition.
    var measurements: [[[Measurement]]]

    init(peers: [String], depths: [Int]) {
        self.peers = peers
        self.depths = depths
        measurements = peers.map { _ in depths.map { _ in [] } }
    }

    /// The median cost in microseconds; nil for a peer or a depth that was not measured.
    func cost(_ peer: String, _ depth: Int) -> Double? {
        guard let row = peers.firstIndex(of: peer), let column = depths.firstIndex(of: depth) else { return nil }
        return median(measurements[row][column].map(\.microsecondsPerCommand))
    }
}

/// `compare`: the interleaved runs, then the tables.
func runCompare(_ arguments: [String]) throws(Failure) {
    let options = try Options(
        arguments, names: ["peer", "target", "base", "depths", "repetitions", "seconds", "connections", "keys"])
    var peers: [Peer] = []
    for text in options.all("peer") { peers.append(try Peer(text)) }
    guard !peers.isEmpty else { throw .usage("name at least one --peer") }
    var targets: [Target] = []
    for text in options.all("target") { targets.append(try Target(text)) }
    let depths = (options.text("depths") ?? "1,16,64").split(separator: ",").map { Int($0) ?? 0 }
    guard !depths.isEmpty, depths.allSatisfy({ (1...10_000).contains($0) }) else {
        throw .usage("--depths are numbers from 1 to 10000 with commas between, not '\(options.text("depths") ?? "")'")
    }
    let base = options.text("base") ?? peers[0].name
    guard peers.contains(where: { $0.name == base }) else { throw .usage("--base '\(base)' is not the name of a peer") }
    let comparison = try compare(peers, depths: depths, options)
    printCosts(comparison, base: base)
    printThroughput(comparison)
    try printTargets(targets, comparison)
}

private func compare(_ peers: [Peer], depths: [Int], _ options: Options) throws(Failure) -> Comparison {
    let connections = try options.integer("connections", in: 1...20_000, default: 50)
    let keys = try options.integer("keys", in: 1...1_000_000_000, default: 100_000)
    let seconds = try options.positive("seconds") ?? 2
    let repetitions = try options.integer("repetitions", in: 1...100, default: 5)
    for peer in peers { _ = try Dialogue(port: peer.port).demand(peer.template.words) }
    var comparison = Comparison(peers: peers.map(\.name), depths: depths)
    for (column, depth) in depths.enumerated() {
        for repetition in 0..<repetitions {
            progress("pipeline \(depth), repetition \(repetition + 1) of \(repetitions)")
            for (row, peer) in peers.enumerated() {
                // New keys each time, the same for every peer.
                let batch = RequestBatch(
                    peer.template, depth: depth, keys: keys, seed: 0x9E37_79B9_7F4A_7C15 &* UInt64(repetition + 1))
                let generator = try LoadGenerator(port: peer.port, connections: connections, batch: batch)
                comparison.measurements[row][column].append(try measure(generator, peer.process, seconds: seconds))
            }
        }
    }
    return comparison
}

private func printCosts(_ comparison: Comparison, base: String) {
    print("Server CPU in microseconds per command, all threads, median (lowest – highest); × is against \(base).\n")
    print("| peer |" + comparison.depths.map { " pipeline \($0) | × |" }.joined())
    print("|---|" + comparison.depths.map { _ in "---|---|" }.joined())
    for (row, peer) in comparison.peers.enumerated() {
        var line = "| \(peer) |"
        for (column, depth) in comparison.depths.enumerated() {
            let costs = comparison.measurements[row][column].map(\.microsecondsPerCommand)
            let ratio = median(costs) / (comparison.cost(base, depth) ?? .nan)
            line += " \(decimal(median(costs), 3)) (\(decimal(costs.min() ?? 0, 3)) – \(decimal(costs.max() ?? 0, 3)))"
            line += " | \(decimal(ratio, 2)) |"
        }
        print(line)
    }
    print("")
}

private func printThroughput(_ comparison: Comparison) {
    print("As the one client thread saw it: thousand commands per second, and p99 of a pipeline's round trip in µs.\n")
    print("| peer |" + comparison.depths.map { " pipeline \($0) | p99 |" }.joined())
    print("|---|" + comparison.depths.map { _ in "---|---|" }.joined())
    for (row, peer) in comparison.peers.enumerated() {
        var line = "| \(peer) |"
        for column in comparison.depths.indices {
            let runs = comparison.measurements[row][column]
            line += " \(decimal(median(runs.map(\.commandsPerSecond)) / 1000, 0)) |"
            line += " \(decimal(median(runs.map(\.p99Microseconds)), 0)) |"
        }
        print(line)
    }
    print("")
}

private func printTargets(_ targets: [Target], _ comparison: Comparison) throws(Failure) {
    guard !targets.isEmpty else { return }
    print("| target (µs) | bound | found | |")
    print("|---|---|---|---|")
    for target in targets {
        guard let found = comparison.cost(target.name, target.depth),
            let other = comparison.cost(target.other, target.depth)
        else { throw .usage("the target '\(target.text)' names a peer or a depth that is not measured") }
        let bound = other * target.factor + target.extra
        let text = target.text.split(separator: ":", maxSplits: 1)[1]
        print(
            "| pipeline \(target.depth): \(text) | \(decimal(bound, 3)) | \(decimal(found, 3)) | "
                + "\(found <= bound ? "reached" : "missed") |")
    }
    print("")
}
