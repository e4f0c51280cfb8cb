// The claims in docs/choosing.md about spans of one period, and its plots and figures, checked against the engine.

import LimiterEngine
import TestSupport
import Testing
import curves

@Suite("What an algorithm admits in any span of one period")
struct SlidingErrorTests {
    #if DEBUG
        private static let traffics = 300
    #else
        private static let traffics = 5_000
    #endif

    /// Calls of an attacker who knows the windows: each window is empty, or has its calls where they do the most
    /// harm.
    private func hostileCalls(_ units: Int64, period: Int64, _ random: inout SeededGenerator) -> [Int64] {
        let origin = Traffic.origin(period: period)
        return (0..<Int64(12)).flatMap { window -> [Int64] in
            let start = origin + window * period
            let count = random.below(Int(3 * units) + 1)
            // A call at every instant at which a unit may fade, and just before it.
            var fading: [Int64] = []
            for unit in 0..<units {
                fading.append(start + unit * period / units)
                fading.append(start + (unit + 1) * period / units - 1)
            }
            return switch random.below(6) {
            case 0: []
            case 1: Array(repeating: start, count: count)
            case 2: Array(repeating: start + period - 1, count: count)
            case 3: fading
            case 4: fading.filter { _ in random.below(2) == 0 }
            default: (0..<count).map { _ in start + Int64(random.below(Int(period))) }.sorted()
            }
        }
    }

    /// The call pattern that gets the most units out of a limit other than `sliding-window`.
    private func mostHostileCalls(_ limit: Limit) -> [Int64] {
        let border = Traffic.origin(period: limit.period) + limit.period
        let atOnce = Array(repeating: border, count: Int(limit.capacity))
        return switch limit.algorithm {
        case .gcra, .tokenBucket: atOnce + (1..<limit.units).map { border + $0 * limit.emissionInterval }
        case .fixedWindow: Array(repeating: border - 1, count: Int(limit.capacity)) + atOnce
        default: atOnce
        }
    }

    private func grants(_ meter: Meter, _ calls: [Int64]) -> [Int64] { calls.filter { meter.take(at: $0) } }

    private func count(_ instants: [Int64], from start: Int64, to end: Int64) -> Int64 {
        var count: Int64 = 0
        for instant in instants where instant >= start && instant < end { count += 1 }
        return count
    }

    // MARK: Bounds

    @Test("sliding-window stays below twice the limit, and below the bound for each span")
    func slidingWindowBounds() throws {
        var random = SeededGenerator(for: "bounds of sliding-window")
        for round in 0..<SlidingErrorTests.traffics {
            let units = Int64(1 + random.below(30))
            let period = Int64(1_000 + random.below(1_000_000))
            let meter = try Meter(.slidingWindow, units: units, period: period)
            let granted = grants(meter, hostileCalls(units, period: period, &random))
            let most = mostInAnySpan(granted, period: period)
            #expect(most <= max(1, 2 * units - 1), "\(units) per \(period), round \(round)")
            // A span that reaches into the next window grants at most the limit, plus a share of the first window's
            // grants.
            for start in granted {
                let window = start / period
                let end = start + period
                let first = count(granted, from: window * period, to: (window + 1) * period)
                let inSpan = count(granted, from: start, to: end)
                let reach = end - (window + 1) * period
                guard inSpan * period > units * period + first * reach else { continue }
                Issue.record("\(units) per \(period), round \(round): \(inSpan) from \(start) on, \(first) before")
                return
            }
        }
    }

    @Test("the bound is reached when a window's calls come at its end", arguments: [1, 2, 3, 10, 100, 1000] as [Int64])
    func slidingWindowReachesItsBound(units: Int64) throws {
        let period: Int64 = 60_000_000_000
        let border = Traffic.origin(period: period)
        var calls = Array(repeating: border - 1, count: Int(units))
        for number in 0..<2 * units { calls.append(border + (2 * number + 1) * period / (4 * units)) }
        let meter = try Meter(.slidingWindow, units: units, period: period)
        #expect(Int64(mostInAnySpan(grants(meter, calls), period: period)) == max(1, 2 * units - 1))
    }

    @Test("constant overload is granted one less than the limit", arguments: [1, 2, 3, 10, 100] as [Int64])
    func slidingWindowUnderOverload(units: Int64) throws {
        let period: Int64 = 60_000_000_000
        let origin = Traffic.origin(period: period)
        let calls: [Int64] = (0..<units * 40).map { origin + $0 * period / (units * 4) }
        let granted = grants(try Meter(.slidingWindow, units: units, period: period), calls)
        for window in 0..<Int64(10) {
            let start = origin + window * period
            // With LIMIT 1, the only unit counts until the end of the next window.
            let later = units == 1 ? 1 - window % 2 : units - 1
            #expect(count(granted, from: start, to: start + period) == (window == 0 ? units : later))
        }
    }

    @Test("the others keep their bounds and reach them", arguments: Limit.Algorithm.allCases)
    func otherBounds(algorithm: Limit.Algorithm) throws {
        // The two-counter window has its own tests; calendar windows have no period to randomize.
        guard algorithm != .slidingWindow, algorithm != .calendar else { return }
        var random = SeededGenerator(for: "bounds of \(algorithm)")
        var reached = 0
        for round in 0..<SlidingErrorTests.traffics {
            let units = Int64(1 + random.below(30))
            // GCRA rounds a unit's interval down, which is exact if it divides the period.
            let period = units * Int64(1_000 + random.below(100_000))
            let isRate = algorithm == .gcra || algorithm == .tokenBucket
            let burst = isRate ? Int64(1 + random.below(40)) : nil
            let meter = try Meter(algorithm, units: units, period: period, burst: burst)
            // One round with a known worst case, as random calls may miss it.
            let calls =
                round == 0
                ? mostHostileCalls(try Limit(algorithm, units: units, period: period, burst: burst))
                : hostileCalls(units, period: period, &random)
            let most = mostInAnySpan(grants(meter, calls), period: period)
            let bound =
                switch algorithm {
                case .fixedWindow: 2 * units
                case .slidingLog: units
                default: units + burst! - 1
                }
            #expect(most <= bound, "\(units) per \(period), burst \(burst ?? 0), round \(round)")
            if most == bound { reached += 1 }
        }
        #expect(reached > 0, "no traffic reached the bound")
    }

    // MARK: The documentation

    /// What to do if one of these tests fails although the engine is right.
    private static let remedy = "run: make docs, and review the changes"
    private static let docs = #filePath.split(separator: "/").dropLast(3).map { "/\($0)" }.joined() + "/docs"

    @Test("the plots match the engine")
    func figures() throws {
        for figure in try Figure.all() {
            let kept = try TextFile("\(SlidingErrorTests.docs)/curves/\(figure.name)").read()
            let isSame = kept == figure.text
            #expect(isSame, "\(figure.name): \(SlidingErrorTests.remedy)")
        }
    }

    @Test("the plots are linked, and small")
    func figuresAreShown() throws {
        let document = try TextFile(SlidingErrorTests.docs + "/choosing.md").read()
        for figure in try Figure.all() {
            let isShown = document.contains("](curves/\(figure.name))")
            #expect(isShown, "\(figure.name)")
            #expect(figure.text.utf8.count < 20_000)
        }
    }

    @Test("the tables match the engine")
    func tables() throws {
        let document = try TextFile(SlidingErrorTests.docs + "/choosing.md").read()
        for section in try GeneratedSection.all() {
            let isSame = section.replaced(in: document) == document
            #expect(isSame, "\(section.name): \(SlidingErrorTests.remedy)")
        }
    }
}
