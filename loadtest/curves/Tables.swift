// The tables of docs/choosing.md as Markdown. Figures are rounded from whole numbers, so they are the same everywhere.

import LimiterEngine

extension SlidingError {
    /// The limits of the table: powers of ten, so that a multiple of one is an exact decimal.
    private static let limits: [Int64] = [10, 100, 1000]

    /// A row for each traffic, with three figures per cell: one for each limit.
    static func table() throws(LimitError) -> [String] {
        var rows: [String: [SlidingError]] = [:]
        var names: [String] = []
        for units in limits {
            for traffic in Traffic.all(units: units) {
                if rows[traffic.name] == nil { names.append(traffic.name) }
                rows[traffic.name, default: []].append(
                    try measure(traffic.calls, units: units, period: Traffic.minute))
            }
        }
        var lines = [
            "| calls | over-admitted, % of calls | under-admitted, % of calls | admitted, % of `sliding-log`'s |"
                + " most in any minute, × LIMIT |",
            "|---|---|---|---|---|",
        ]
        for name in names {
            let errors = rows[name]!
            let cells = [
                errors.map { percent($0.over, of: $0.calls) },
                errors.map { percent($0.under, of: $0.calls) },
                errors.map { percent($0.granted, of: $0.grantedByLog) },
                errors.map { multiple($0.most, of: Int($0.units)) },
            ]
            lines.append("| \(name) | " + cells.map { $0.joined(separator: " / ") }.joined(separator: " | ") + " |")
        }
        return lines
    }

    /// A percentage with one decimal, half rounded up; "0" only for exactly zero.
    static func percent(_ part: Int, of whole: Int) -> String {
        guard part > 0 else { return "0" }
        let tenths = (part * 2000 + whole) / (2 * whole)
        return tenths == 0 ? "< 0.1" : "\(tenths / 10).\(tenths % 10)"
    }

    /// An exact decimal without trailing zeros.
    ///
    /// - Precondition: `unit` is a power of ten.
    static func multiple(_ value: Int, of unit: Int) -> String {
        var digits = ""
        var rest = value % unit
        var place = unit / 10
        while rest > 0 {
            digits += String(rest / place)
            rest %= place
            place /= 10
        }
        return "\(value / unit)" + (digits.isEmpty ? "" : "." + digits)
    }
}

/// The memory of a key by algorithm, as counted by the engine.
enum StateMemory {
    /// A row for each state: MEMORY USAGE of a key of 16 bytes.
    static func table() throws(LimitError) -> [String] {
        var lines = ["| state | MEMORY USAGE of a key of 16 bytes |", "|---|---|"]
        let states: [(Limit.Algorithm, String)] = [
            (.gcra, "`gcra`, `token-bucket`, any LIMIT"), (.fixedWindow, "`fixed-window`, any LIMIT"),
            (.slidingWindow, "`sliding-window`, any LIMIT"),
        ]
        let month = try usage(Meter(Limit(units: 4096, per: CalendarPeriod(.month)!, zone: .utc)), grants: 4096)
        for (algorithm, words) in states {
            lines.append("| \(words) | \(grouped(try usage(algorithm, units: 4096, grants: 4096))) |")
        }
        lines.append("| `calendar`, any LIMIT | \(grouped(month)) |")
        let logs: [(units: Int64, grants: Int64)] = [(100, 1), (5, 5), (100, 100), (1000, 1000), (4096, 4096)]
        for log in logs {
            let usage = grouped(try usage(.slidingLog, units: log.units, grants: log.grants))
            let grants = log.grants == 1 ? "1 grant" : "\(grouped(Int(log.grants))) grants"
            lines.append("| `sliding-log`, LIMIT \(grouped(Int(log.units))), \(grants) in force | \(usage) |")
        }
        return lines
    }

    /// Bytes after `grants` grants, each at a different instant within one window.
    private static func usage(_ algorithm: Limit.Algorithm, units: Int64, grants: Int64) throws(LimitError) -> Int {
        usage(try Meter(algorithm, units: units, period: Traffic.minute), grants: grants)
    }

    private static func usage(_ meter: Meter, grants: Int64) -> Int {
        let start = Traffic.origin(period: Traffic.minute)
        for number in 0..<grants { precondition(meter.take(at: start + number), "within the limit") }
        return meter.memoryUsage(at: start + grants)
    }

    /// A number below a million with a comma as thousands separator.
    private static func grouped(_ number: Int) -> String {
        guard number >= 1000 else { return String(number) }
        let rest = String(number % 1000)
        return "\(number / 1000)," + String(repeating: "0", count: 3 - rest.count) + rest
    }
}
