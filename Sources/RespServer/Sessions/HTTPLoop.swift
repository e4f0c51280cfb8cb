// The part of an event loop that is specific to HTTP: buffers that requests and answers share, and counters.

import HTTP
import Synchronization
import System

/// Buffers and counters of HTTP on one event loop. The counters may be read by any thread; everything else belongs to
/// the loop.
final class HTTPLoop {
    let scratch = HTTPScratch()
    let response = HTTPResponse()
    /// For decoded parts of a path or a query while one request is read.
    let text = ByteWriter(capacity: 256)
    let statistics = HTTPStatistics()
    /// For the calls of the batch, by their position in it.
    let notes: UnsafeMutablePointer<HTTPNote>
    /// Connections of this loop to the check API; read by any thread.
    let gatewayConnections = Atomic<Int>(0)
    /// Connections of this loop for administration; read by any thread.
    let adminConnections = Atomic<Int>(0)
    /// For the identifiers of requests that bring none. Not secret, and not unique for certain.
    private var randomState = UInt64.random(in: .min ... .max)
    /// HTTP connections of this loop.
    private(set) var connections = 0
    /// The position in the command table of each route's command; -1 for none.
    let commands: [Int16]

    init(_ registry: CommandRegistry) {
        notes = .allocate(capacity: Batch.callsMax)
        commands = RouteTable.all.map { route in
            guard let name = route.command else { return -1 }
            guard let index = registry.flat.firstIndex(where: { $0.fullName == name }) else {
                preconditionFailure("route \(route.template): there is no command \(name)")
            }
            return Int16(index)
        }
    }

    deinit { notes.deallocate() }

    /// The position in the table of commands of the command of some route; nil if no route has it.
    func commands(named name: String) -> Int? {
        RouteTable.all.firstIndex { $0.command == name }.map { Int(commands[$0]) }
    }

    /// Counts a connection that has been adopted, or with -1 one that has ended.
    func count(_ change: Int, _ listener: HTTPListeners) {
        connections += change
        if listener == .admin {
            adminConnections.add(change, ordering: .relaxed)
        } else {
            gatewayConnections.add(change, ordering: .relaxed)
        }
    }

    /// A random number other than 0.
    func nextRandom() -> UInt64 {
        randomState &+= 0x9E37_79B9_7F4A_7C15
        var mixed = randomState
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return (mixed ^ (mixed >> 31)) | 1
    }
}

/// Requests by route, method and status, and their durations. The loop counts; any thread reads.
final class HTTPStatistics: Sendable {
    /// Requests without a route count as one more.
    private static let routeCount = RouteTable.all.count + 1
    private static let methodCount = HTTPMethod.allCases.count
    private static let statusCount = HTTPStatus.all.count

    private let requests = CounterBlock(
        count: HTTPStatistics.routeCount * HTTPStatistics.methodCount * HTTPStatistics.statusCount)
    let durations = LatencyHistograms(commandCount: HTTPStatistics.routeCount)
    /// The position of each status in `HTTPStatus.all`, by its code; -1 for others.
    private static let positions: [Int8] = {
        var positions = [Int8](repeating: -1, count: 600)
        for (position, status) in HTTPStatus.all.enumerated() { positions[Int(status.rawValue)] = Int8(position) }
        return positions
    }()

    /// Counts an answered request. Only for the loop's thread.
    func count(_ note: HTTPNote, _ status: HTTPStatus, took: Nanoseconds) {
        let position = HTTPStatistics.positions[Int(status.rawValue)]
        assert(position >= 0, "a status that HTTPStatus.all lacks")
        guard position >= 0 else { return }
        let route = min(Int(note.route), HTTPStatistics.routeCount - 1)
        let index = (route * HTTPStatistics.methodCount + Int(note.method.rawValue)) * HTTPStatistics.statusCount
        requests.add(index + Int(position), 1)
        durations.record(command: route, nanoseconds: UInt64(max(0, took.nanoseconds)))
    }

    /// The number of requests with this route, method and position in `HTTPStatus.all`. For any thread.
    func requests(route: Int, method: HTTPMethod, status: Int) -> UInt64 {
        requests.load((route * HTTPStatistics.methodCount + Int(method.rawValue)) * HTTPStatistics.statusCount + status)
    }

    /// CONFIG RESETSTAT. Requires that the loop is stopped.
    func reset() {
        requests.reset()
        durations.reset()
    }
}
