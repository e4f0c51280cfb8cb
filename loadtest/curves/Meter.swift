// One key of a real engine under one limit, queried at instants set by the caller.
//
// Owns an engine of its own, so that no meter sees another's keys. Knows no algorithm: it makes calls as commands do.

public import LimiterEngine

/// A key of a limiter engine and the limit it is queried under. Costs an engine with a single shard.
public final class Meter {
    /// The limit that `take` uses.
    public let limit: Limit
    private let session: KeyspaceSession
    private static let key: [UInt8] = Array("user:00000000042".utf8)

    /// A key that has spent nothing.
    ///
    /// - Throws: `LimitError` as `Limit` does.
    public convenience init(
        _ algorithm: Limit.Algorithm, units: Int64, period: Int64, burst: Int64? = nil
    ) throws(LimitError) {
        self.init(try Limit(algorithm, units: units, period: period, burst: burst))
    }

    /// A key that has spent nothing of a limit.
    public init(_ limit: Limit) {
        self.limit = limit
        // The seed only decides where the key is stored.
        session = KeyspaceSession(engine: Engine(shards: 1, seed: HashSeed(1, 2, 3)))
    }

    /// Takes one unit at `now`, in nanoseconds of engine time. Returns whether it was granted.
    public func take(at now: Int64) -> Bool { ask(limit, .one, .take, now).outcome == .allowed }

    /// Units left at `now`. Changes nothing.
    func remaining(at now: Int64) -> Int64 { ask(limit, .nothing, .peek, now).remaining }

    /// Takes as many of `units` as are available at `now`. Returns how many.
    ///
    /// - Precondition: `units` is 0 or more.
    func drain(_ units: Int64, at now: Int64) -> Int64 {
        guard let demand = try? Demand(units, isPartial: true) else { preconditionFailure("\(units) units") }
        return ask(limit, demand, .take, now).granted
    }

    /// Bytes that the key uses at `now`, including its name and its entry in the index; 0 when it is full.
    func memoryUsage(at now: Int64) -> Int {
        Meter.key.withUnsafeBytes { session.memoryUsage(of: $0, now: EngineTime(nanoseconds: now)) } ?? 0
    }

    private func ask(
        _ limit: Limit, _ demand: Demand, _ operation: LimitCall.Operation, _ now: Int64
    ) -> LimitDecision {
        var request = LimitCall(limit, demand)
        request.operation = operation
        Meter.key.withUnsafeBytes { session.decide(&request, key: $0, now: EngineTime(nanoseconds: now)) }
        precondition(request.decision.outcome == .allowed || request.decision.outcome == .denied)
        return request.decision
    }
}

/// The largest number of these instants in any span `[t, t + period)`. They must never decrease. O(count).
public func mostInAnySpan(_ instants: [Int64], period: Int64) -> Int {
    var most = 0
    var oldest = 0
    for (position, instant) in instants.enumerated() {
        while instant - instants[oldest] >= period { oldest += 1 }
        most = max(most, position - oldest + 1)
    }
    return most
}
