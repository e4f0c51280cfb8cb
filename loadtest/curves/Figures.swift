// The plots of docs/choosing.md: their traffic, their limits, and the values read from the engine. All but one use the
// same limit, so that they can be compared: 20 a minute, with GCRA's default burst.

public import LimiterEngine

/// A figure of the documentation, identified by its file name.
public struct Figure: Sendable {
    /// The file's name below docs/curves.
    public let name: String
    /// The SVG document.
    public let text: String

    /// Every figure, drawn from the current engine. Costs a few thousand limiter calls.
    public static func all() throws(LimitError) -> [Figure] {
        [
            Figure(name: "overload.svg", text: try overload().drawn()),
            Figure(name: "border.svg", text: try border().drawn()),
            Figure(name: "idle.svg", text: try idle().drawn()),
            Figure(name: "uneven.svg", text: try uneven().drawn()),
            Figure(name: "calendar.svg", text: try calendar().drawn()),
        ]
    }

    static let units: Int64 = 20
    static let period = Traffic.minute
    private static let second: Int64 = 1_000_000_000
    private static let millisecond: Int64 = 1_000_000
    /// A boundary of the clock's windows, far from the epoch.
    private static let origin = Traffic.origin(period: period)

    /// The algorithms that differ, as drawn. The token bucket is equivalent to GCRA: `grants` verifies that.
    private static let drawn: [(algorithm: Limit.Algorithm, label: String, style: Plot.Style)] = [
        (.gcra, "gcra, token-bucket", .rate), (.fixedWindow, "fixed-window", .fixed),
        (.slidingWindow, "sliding-window", .sliding), (.slidingLog, "sliding-log", .log),
    ]

    /// The calls that are granted.
    private static func grants(_ algorithm: Limit.Algorithm, _ calls: [Int64]) throws(LimitError) -> [Int64] {
        let meter = try Meter(algorithm, units: units, period: period)
        let grants = calls.filter { meter.take(at: $0) }
        if algorithm == .gcra {
            let bucket = try Meter(.tokenBucket, units: units, period: period)
            precondition(calls.filter { bucket.take(at: $0) } == grants, "a token bucket is equivalent to GCRA")
        }
        return grants
    }

    /// The number of instants that have passed, from `start` to `end`; x in milliseconds after `zero`.
    private static func cumulative(_ instants: [Int64], _ start: Int64, _ end: Int64, zero: Int64) -> [Plot.Point] {
        var points = [Plot.Point(x: Int((start - zero) / millisecond), y: 0)]
        for instant in instants where instant <= end {
            points.append(Plot.Point(x: Int((instant - zero) / millisecond), y: points.last!.y + 1))
        }
        points.append(Plot.Point(x: Int((end - zero) / millisecond), y: points.last!.y))
        return points
    }

    /// The number of instants within the period before each moment, from `start` to `end`.
    private static func trailing(_ instants: [Int64], _ start: Int64, _ end: Int64, zero: Int64) -> [Plot.Point] {
        // A span of one period contains only one of its ends: an instant that enters as another leaves changes nothing.
        let steps = instants.map { (at: $0 + period, by: -1) } + instants.map { (at: $0, by: 1) }
        var points = [Plot.Point(x: Int((start - zero) / millisecond), y: 0)]
        for change in steps.sorted(by: { $0.at < $1.at }) where change.at <= end {
            let next = Plot.Point(x: Int((change.at - zero) / millisecond), y: points.last!.y + change.by)
            if points.last!.x == next.x { points[points.count - 1] = next } else { points.append(next) }
        }
        points.append(Plot.Point(x: Int((end - zero) / millisecond), y: points.last!.y))
        return changes(points)
    }

    private static func seconds(_ title: String, _ range: ClosedRange<Int>, every step: Int) -> Plot.Axis {
        Plot.Axis(
            title: title, range: range.lowerBound * 1000...range.upperBound * 1000,
            ticks: stride(from: 0, through: range.upperBound, by: step).map { $0 * 1000 },
            number: { String($0 / 1000) })
    }

    /// Lines at these seconds; the first is labelled.
    private static func borders(_ seconds: Int...) -> [Plot.Mark] {
        seconds.map { Plot.Mark(at: $0 * 1000, label: $0 == seconds[0] ? "window border" : "") }
    }

    // MARK: The figures

    /// A client that keeps calling at twice the limit, from the middle of a window on.
    static func overload() throws(LimitError) -> Plot {
        let start = origin + 20 * second
        let end = start + 3 * period
        let calls = (0...120).map { start + Int64($0) * 1_500 * millisecond }
        var curves: [Plot.Curve] = []
        for kind in drawn {
            let points = cumulative(try grants(kind.algorithm, calls), start, end, zero: start)
            curves.append(Plot.Curve(label: kind.label, style: kind.style, points: points))
        }
        let shown = cumulative(calls, start, end, zero: start).prefix { $0.y <= 90 }
        let asked = Plot.Curve(
            label: "calls", style: .calls, points: Array(shown), labelAt: Plot.Point(x: 113_000, y: 84))
        return Plot(
            title: "Steady overload: what is admitted in three minutes",
            subtitle: "LIMIT 20 PER 1m, a call every 1.5 s: twice the limit, begun 20 s after a window's border",
            description: """
                All admit 20 calls in the first half minute. gcra then admits one every three seconds and reaches 80; \
                fixed-window admits 20 at the beginning of each window of the clock, sliding-log 20 in each minute \
                from the first call on; sliding-window admits 19 spread over each window.
                """,
            x: seconds("seconds since the first call", 0...180, every: 30),
            y: Plot.Axis(title: "calls admitted so far", range: 0...90, ticks: [0, 20, 40, 60, 80]),
            curves: [asked] + curves,
            borders: borders(40, 100, 160))
    }

    /// A client that begins shortly before a boundary and keeps calling: the maximum in a minute.
    static func border() throws(LimitError) -> Plot {
        let calls = (0..<640).map { origin - 5 * second + Int64($0) * 125 * millisecond }
        var curves: [Plot.Curve] = []
        let labels = [(15, 33), (4, 42), (38, 29), (16, 17)]
        for (kind, place) in zip(drawn, labels) {
            let points = trailing(
                try grants(kind.algorithm, calls), origin - 10 * second, origin + 75 * second, zero: origin)
            let label = Plot.Point(x: place.0 * 1000, y: place.1)
            curves.append(Plot.Curve(label: kind.label, style: kind.style, points: points, labelAt: label))
        }
        return Plot(
            title: "A rush across a window's border: what the last minute has seen",
            subtitle: "LIMIT 20 PER 1m, eight calls a second from 5 s before the border on",
            description: """
                fixed-window has admitted 40 calls within eight seconds around the border. gcra and sliding-window \
                get to almost 40, one call every three seconds, until the first minute is over. sliding-log never \
                exceeds 20.
                """,
            x: seconds("seconds since the border", -10...75, every: 15),
            y: Plot.Axis(title: "admitted within the last 60 s", range: 0...48, ticks: [0, 10, 20, 30, 40]),
            curves: curves, borders: borders(0, 60),
            levels: [Plot.Mark(at: 20, label: "LIMIT"), Plot.Mark(at: 40, label: "2 × LIMIT")])
    }

    /// A client that spends everything at once and then waits: how much is available when it returns.
    static func idle() throws(LimitError) -> Plot {
        let start = origin + 20 * second
        var curves: [Plot.Curve] = []
        let labels = [(3, 12), (42, 21), (78, 9), (62, 16)]
        for (kind, place) in zip(drawn, labels) {
            let meter = try Meter(kind.algorithm, units: units, period: period)
            precondition(meter.drain(units, at: start) == units, "a new key is full")
            let points = (0...600).map { step in
                Plot.Point(x: step * 200, y: Int(meter.remaining(at: start + Int64(step) * 200 * millisecond)))
            }
            let label = Plot.Point(x: place.0 * 1000, y: place.1)
            curves.append(Plot.Curve(label: kind.label, style: kind.style, points: changes(points), labelAt: label))
        }
        return Plot(
            title: "Coming back: how many calls may pass at once after a pause",
            subtitle: "LIMIT 20 PER 1m, all 20 spent at once, 20 s after a window's border, and no call since",
            description: """
                gcra gives a unit back every three seconds and is full after 60 s. fixed-window gives all back at the \
                border, here after 40 s. sliding-log gives all back after exactly 60 s. sliding-window gives nothing \
                back until the border, then a unit every three seconds until 100 s.
                """,
            x: seconds("seconds since everything was spent", 0...120, every: 20),
            y: Plot.Axis(title: "calls that may pass at once", range: 0...24, ticks: [0, 5, 10, 15, 20]),
            curves: curves,
            borders: borders(40, 100))
    }

    /// A window spent at its very end, and one at its very beginning: the estimate of sliding-window against the actual
    /// count.
    static func uneven() throws(LimitError) -> Plot {
        func rush(_ count: Int64, at start: Int64) -> [Int64] {
            (0..<count).map { origin + start * second + $0 * 125 * millisecond }
        }
        let calls = rush(20, at: 57) + rush(480, at: 60) + rush(20, at: 180) + rush(480, at: 240)
        let end = origin + 5 * period
        let meter = try Meter(.slidingWindow, units: units, period: period)
        var granted: [Int64] = []
        var estimate: [Plot.Point] = []
        var next = calls[...]
        for step in 0...2400 {
            let now = origin + Int64(step) * 125 * millisecond
            while let call = next.first, call <= now {
                next.removeFirst()
                if meter.take(at: call) { granted.append(call) }
            }
            estimate.append(Plot.Point(x: step * 125, y: Int(units - meter.remaining(at: now))))
        }
        return Plot(
            title: "Uneven traffic: what sliding-window counts, and what it has admitted",
            subtitle: "LIMIT 20 PER 1m; 20 calls just before 60 s and just after 180 s;"
                + " eight a second after 60 s and 240 s, for a minute",
            description: """
                After a minute whose calls all came at its end, sliding-window admits 18 more before they are a minute \
                old: 38 within a minute, while it counts 20. After a minute whose calls all came at its beginning, it \
                still counts them when they are more than a minute old, and admits fewer than 20.
                """,
            x: seconds("seconds", 0...300, every: 60),
            y: Plot.Axis(title: "calls", range: 0...48, ticks: [0, 10, 20, 30, 40]),
            curves: [
                Plot.Curve(
                    label: "admitted within the last 60 s", style: .log,
                    points: trailing(granted, origin, end, zero: origin), labelAt: Plot.Point(x: 124_000, y: 34)),
                Plot.Curve(
                    label: "counted by sliding-window", style: .sliding, points: changes(estimate),
                    labelAt: Plot.Point(x: 184_000, y: 22)),
            ],
            borders: borders(60, 120, 180, 240),
            levels: [Plot.Mark(at: 20, label: "LIMIT"), Plot.Mark(at: 40, label: "2 × LIMIT")],
            notes: [
                Plot.Note(text: "too much", at: Plot.Point(x: 96_000, y: 23), isCentred: true),
                Plot.Note(text: "too little", at: Plot.Point(x: 260_000, y: 15), isCentred: true),
            ])
    }

    /// A client that keeps calling, under a quota per month and under one per 30 days.
    static func calendar() throws(LimitError) -> Plot {
        let day: Int64 = 86_400 * second
        // 2024-01-01 00:00 UTC, a leap year: months begin on days 0, 31, 60, 91, 121.
        let start = 19_723 * day
        let days = 130
        let calls = (0..<2 * Int64(days)).map { start + day / 4 + $0 * (day / 2) }
        let month = Meter(try Limit(units: units, per: CalendarPeriod(.month)!, zone: .utc))
        let thirty = Meter(try Limit(.fixedWindow, units: units, period: 30 * day))
        func points(_ meter: Meter) -> [Plot.Point] {
            // A step in x is a thousandth of a day.
            var points = [Plot.Point(x: 0, y: 0)]
            for call in calls where meter.take(at: call) {
                points.append(Plot.Point(x: Int((call - start) / (day / 1000)), y: points.last!.y + 1))
            }
            return points + [Plot.Point(x: days * 1000, y: points.last!.y)]
        }
        return Plot(
            title: "Months: what is admitted in a quarter and a month",
            subtitle: "LIMIT 20, two calls a day from the 1st of January on; the windows of 30 days are the clock's",
            description: """
                calendar admits 20 calls from the beginning of each month on, after 31, 29, 31 and 30 days. \
                fixed-window PER 30d admits them every 30 days, wherever in a month that is.
                """,
            x: Plot.Axis(
                title: "days since the 1st of January", range: 0...days * 1000,
                ticks: stride(from: 0, through: days, by: 10).map { $0 * 1000 }, number: { String($0 / 1000) }),
            y: Plot.Axis(title: "calls admitted so far", range: 0...120, ticks: [0, 20, 40, 60, 80, 100]),
            curves: [
                Plot.Curve(
                    label: "fixed-window PER 30d", style: .fixed, points: points(thirty),
                    labelAt: Plot.Point(x: 62_000, y: 88)),
                Plot.Curve(
                    label: "calendar PER month", style: .rate, points: points(month),
                    labelAt: Plot.Point(x: 76_000, y: 52)),
            ],
            borders: [31, 60, 91, 121].map {
                Plot.Mark(at: $0 * 1000, label: $0 == 31 ? "1st of a month" : "")
            })
    }

    /// The points at which the value changes, and the last one.
    private static func changes(_ points: [Plot.Point]) -> [Plot.Point] {
        var kept: [Plot.Point] = []
        for point in points where kept.last?.y != point.y { kept.append(point) }
        if let last = points.last, kept.last != last { kept.append(last) }
        return kept
    }
}
