// The command line: `--name value` pairs, then words. Every subcommand lists the names it accepts; any other is an
// error.

/// One subcommand's options and the words after them.
struct Options {
    private var values: [String: [String]] = [:]
    /// The arguments that are not options, in order: the command to send.
    private(set) var words: [String] = []

    /// Parses `arguments`; `flags` take no value. Words begin at the first argument without `--`, or after a bare `--`.
    init(_ arguments: [String], names: Set<String>, flags: Set<String> = []) throws(Failure) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("--") else {
                words = [argument] + rest
                return
            }
            let name = String(argument.dropFirst(2))
            if name.isEmpty {
                words = Array(rest)
                return
            }
            if flags.contains(name) {
                values[name] = []
                continue
            }
            guard names.contains(name) else { throw .usage("unknown option '\(argument)'") }
            guard let value = rest.popFirst() else { throw .usage("option '\(argument)' needs a value") }
            values[name, default: []].append(value)
        }
    }

    func has(_ flag: String) -> Bool { values[flag] != nil }

    func all(_ name: String) -> [String] { values[name] ?? [] }

    func text(_ name: String) -> String? { values[name]?.last }

    /// The integer value of `name`, which must lie in `range`.
    func integer(_ name: String, in range: ClosedRange<Int>, default fallback: Int? = nil) throws(Failure) -> Int {
        guard let text = text(name) else {
            guard let fallback else { throw .usage("option '--\(name)' is missing") }
            return fallback
        }
        guard let value = Int(text), range.contains(value) else {
            throw .usage(
                "--\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound), not '\(text)'")
        }
        return value
    }

    /// The number given for `name`, above zero; nil when it is not given.
    func positive(_ name: String) throws(Failure) -> Double? {
        guard let text = text(name) else { return nil }
        guard let value = Double(text), value > 0, value.isFinite else {
            throw .usage("--\(name) must be a number above 0, not '\(text)'")
        }
        return value
    }

    func port() throws(Failure) -> Int { try integer("port", in: 1...65535) }

    func pid() throws(Failure) -> Int { try integer("pid", in: 1...(1 << 22)) }
}
