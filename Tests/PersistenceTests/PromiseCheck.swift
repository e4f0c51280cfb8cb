// Checks that a directory keeps its promises: recovers copies of a disk and compares them with the server's state.

import LimiterEngine
import TestSupport

@testable import Persistence

/// Promised data is missing, data appeared that never existed, or a recovery refused the files.
struct BrokenPromise: Error, CustomStringConvertible {
    let description: String
}

enum PromiseCheck {
    /// Recovers an engine from a disk; recovery may cut a torn tail.
    static func recover(
        _ files: SimulatedFileSystem, wall: EngineTime, workers: Int = 1
    ) throws(RecoveryError) -> (engine: Engine, report: RecoveryReport) {
        let engine = Engine(shards: 4, seed: HashSeed(1, 2, 3))
        let report = try Recovery(
            files: files, path: simulatedDirectory, engine: engine, horizon: wall, workers: workers
        ).run(history: simulatedHistory, cutsTornTail: true)
        return (engine, report)
    }

    /// The components a server starts with on a disk: an engine with journaling on, its journal, and the log's
    /// directory without an open segment.
    static func start(
        _ files: SimulatedFileSystem, now: EngineTime
    ) throws -> (session: KeyspaceSession, journal: Journal, log: LogDirectory) {
        let (engine, report) = try recover(files, wall: now)
        engine.setJournaling(true)
        let log = LogDirectory(files: files, path: simulatedDirectory, recovered: report)
        return (KeyspaceSession(engine: engine), Journal(engine: engine, offset: report.end), log)
    }

    /// Recovers with each number of workers and compares with the promise. Returns the last recovery and its disk.
    @discardableResult
    static func check(
        _ image: DiskImage, _ promise: ServerSimulation.Promise, wall: EngineTime, workers: [Int] = [1, 2, 4],
        seed: UInt64 = 1
    ) throws -> (files: SimulatedFileSystem, engine: Engine, report: RecoveryReport) {
        var last: (SimulatedFileSystem, Engine, RecoveryReport)?
        for count in workers {
            let files = SimulatedFileSystem(image: image, seed: seed)
            files.isChoppy = seed % 2 == 0
            do throws(RecoveryError) {
                let (engine, report) = try recover(files, wall: wall, workers: count)
                last = (files, engine, report)
            } catch {
                throw BrokenPromise(description: "recovery refused: \(error)")
            }
            try compare(last!.1, last!.2, promise, wall: wall)
        }
        return last!
    }

    /// Checks that the recovered state is the state after some batch, and not before the last promised one.
    static func compare(
        _ engine: Engine, _ report: RecoveryReport, _ promise: ServerSimulation.Promise, wall: EngineTime
    ) throws(BrokenPromise) {
        func broken(_ what: String) -> BrokenPromise { BrokenPromise(description: what) }
        guard report.end >= promise.guaranteed else {
            throw broken("promised up to \(promise.guaranteed), recovered up to \(report.end)")
        }
        guard let was = promise.history[report.end] else {
            throw broken("recovered up to \(report.end), where no batch ended")
        }
        guard report.lastTime >= was.time || report.end == 0 else {
            throw broken("batches of \(was.time) recovered, last time \(report.lastTime)")
        }
        guard report.lastTime <= promise.latest else {
            throw broken("last time \(report.lastTime) was never reached, only \(promise.latest)")
        }
        let start = max(wall, report.lastTime)
        let recovered = KeyspaceSession(engine: engine).allStates().alive(after: start)
        let expected = was.states.alive(after: start)
        guard recovered == expected else {
            let differing = Set(recovered.keys).union(expected.keys).filter { recovered[$0] != expected[$0] }.sorted()
            let lines = differing.map {
                "\($0): is \(recovered[$0].map { "\($0)" } ?? "absent"), "
                    + "was \(expected[$0].map { "\($0)" } ?? "absent")"
            }
            throw broken("at \(report.end): " + lines.joined(separator: "; "))
        }
        guard engine.policyBytes == was.policies else {
            throw broken("at \(report.end): policies and rules \(engine.policyBytes), were \(was.policies)")
        }
        let violations = engine.violatedInvariants()
        guard violations.isEmpty else { throw broken("\(violations)") }
    }

    /// A server that continues from the recovered state.
    static func restart<Server: ServerSimulation>(
        _ recovered: (files: SimulatedFileSystem, engine: Engine, report: RecoveryReport),
        _ promise: ServerSimulation.Promise, mode: ServerSimulation.Mode, wall: EngineTime, random: SeededGenerator,
        as type: Server.Type = ServerSimulation.self
    ) -> Server {
        type.init(
            files: recovered.files, engine: recovered.engine, report: recovered.report, promise: promise, mode: mode,
            wall: wall, random: random)
    }
}
