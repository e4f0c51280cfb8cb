// The traffics with which `sliding-window` is measured. The random ones are reproducible by their seed; the last three
// are constructed with knowledge of the windows' boundaries.

extension Traffic {
    /// The period of every measurement: a minute.
    static let minute: Int64 = 60_000_000_000
    /// Approximate number of calls in a traffic.
    private static let callsWanted: Int64 = 20_000

    /// Every traffic of the table, for a limit of `units` a minute.
    public static func all(units: Int64) -> [Traffic] {
        [
            poisson("random, half the limit", percent: 50, units),
            poisson("random, just the limit", percent: 100, units),
            poisson("random, twice the limit", percent: 200, units),
            steady(units), bursts(units), late(units), early(units),
        ]
    }

    private static func poisson(_ name: String, percent: Int64, _ units: Int64) -> Traffic {
        let windows = callsWanted * 100 / (units * percent)
        var random = SeededNumbers(seed: UInt64(units * 1000 + percent))
        let calls = Traffic.random(
            units * percent * windows / 100, from: origin(period: minute), length: windows * minute, &random)
        return Traffic(name: name, calls: calls)
    }

    private static func steady(_ units: Int64) -> Traffic {
        let windows = callsWanted / (units * 2)
        let calls = even(2 * units * windows, from: origin(period: minute), length: windows * minute)
        return Traffic(name: "steady, twice the limit", calls: calls)
    }

    /// Three times the limit for up to half a minute, then nothing for up to a minute: on average exactly the limit.
    private static func bursts(_ units: Int64) -> Traffic {
        var random = SeededNumbers(seed: UInt64(units))
        var calls: [Int64] = []
        var now = origin(period: minute)
        while calls.count < callsWanted {
            let length = 1 + random.below(minute / 2)
            calls += Traffic.random(3 * units * length / minute, from: now, length: length, &random)
            now += length + random.below(minute)
        }
        return Traffic(name: "on and off, three times the limit or nothing", calls: calls)
    }

    /// A limit's worth in the last nanosecond of a window, twice the limit evenly through the next, then two idle
    /// windows.
    private static func late(_ units: Int64) -> Traffic {
        let calls = cycles(units) { border in
            Array(repeating: border - 1, count: Int(units)) + even(2 * units, from: border, length: minute)
        }
        return Traffic(name: "a window's calls all at its end, then steady", calls: calls)
    }

    /// The same with the limit's worth in the first nanosecond of the window.
    private static func early(_ units: Int64) -> Traffic {
        let calls = cycles(units) { border in
            Array(repeating: border - minute, count: Int(units)) + even(2 * units, from: border, length: minute)
        }
        return Traffic(name: "a window's calls all at its beginning, then steady", calls: calls)
    }

    private static func cycles(_ units: Int64, _ calls: (_ border: Int64) -> [Int64]) -> [Int64] {
        (0..<callsWanted / (3 * units)).flatMap { calls(origin(period: minute) + (4 * $0 + 1) * minute) }
    }
}
