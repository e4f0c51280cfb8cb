// A server without clients, and metrics readings from it.

import LimiterEngine
import RESP
import Replication
import System

@testable import RespServer

struct SampleServer {
    let server: Server

    init(loops: Int = 2) throws {
        var settings = Settings()
        settings.ioThreads = loops
        server = try Server(settings: CurrentSettings(settings), log: Log(level: .warning))
    }

    func reading(_ sections: [MetricSection] = MetricSection.allCases) -> MetricsReading {
        MetricsReading(
            of: server, KeyspaceSession(engine: server.engine), now: server.clock.now(), steady: SteadyInstant.now(),
            sections: Set(sections))
    }

    func command(_ name: String) -> Int { server.commands.flat.first { $0.fullName == name }!.index }

    /// A primary with a log, a replica and keys, after a few commands.
    func primaryReading() -> MetricsReading {
        let statistics = server.loops[0].commandStatistics
        statistics.record(command("cl.throttle"), calls: 3, nanoseconds: 3_000_000, failed: false, latency: true)
        statistics.reject(command("config"))
        server.errorStatistics.count("ERR")
        _ = server.unsupportedCalls.count("foo")
        _ = server.unsupportedCalls.count("config|bar")
        var reading = reading()
        reading.isRecovering = false
        reading.isReceiving = false
        reading.storage.isLogging = true
        reading.replication.primary = nil
        reading.replication.replicas = [
            ReplicaLine(host: "10.0.0.2", port: 6380, state: "online", offset: 164, lag: .seconds(1))
        ]
        reading.journalOffset = 200
        reading.engine.keys = 2
        reading.engine.expiring = 1
        reading.engine.databases[0].keys = 2
        reading.engine.databases[0].expiring = 1
        return reading
    }
}

extension ErrorStatistics {
    func count(_ word: StaticString) {
        count(Argument(base: word.utf8Start, count: word.utf8CodeUnitCount))
    }
}
