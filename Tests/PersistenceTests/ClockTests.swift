// Restarts after the wall clock was wrong. A server's time begins at the later of its clock and the last time in its
// files.

import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct ClockTests {
    private static let hour: Int64 = 3_600_000_000_000
    private static let century: Int64 = 100 * 365 * 24 * hour
    private static let start = EngineTime.seconds(1_700_000_000)

    /// Shifts a wall clock, which cannot go before 1970.
    private static func moved(_ time: EngineTime, by nanoseconds: Int64) -> EngineTime {
        EngineTime(nanoseconds: max(0, time.nanoseconds + nanoseconds))
    }

    /// Files of a server on which `key i` has used i of 10 units; one unit is replenished every minute.
    private struct Written {
        let files = SimulatedFileSystem()
        let session = KeyspaceSession(engine: Engine(shards: 4))

        init(from now: EngineTime, withSnapshot: Bool) throws {
            let (_, report) = try PromiseCheck.recover(files, wall: now)
            let log = LogDirectory(files: files, path: simulatedDirectory, recovered: report)
            try log.roll(at: 0, time: now, continues: true)
            session.engine.setJournaling(true)
            let journal = Journal(engine: session.engine, offset: 0)
            for number in 1...10 {
                for _ in 0..<number { session.throttle("key \(number)", burst: 9, count: 1, period: 60, now: now) }
            }
            session.setDeadline("key 5", to: now.adding(90_000_000_000), now: now)
            journal.collect(time: now)
            try log.append(journal.take(replacement: ByteBuffer()))
            guard withSnapshot else { return }
            try log.roll(at: journal.offset, time: now, continues: true)
            let writer = try SnapshotWriter(
                files: files, directory: simulatedDirectory, number: try log.reserveSnapshot(),
                journalOffset: journal.offset, engine: session.engine, time: now)
            while try writer.step(time: now) {}
            try log.adopt(try writer.finish(time: now))
        }
    }

    private func ask(_ session: KeyspaceSession, _ number: Int, quantity: Int64, now: EngineTime) -> LimitDecision {
        session.throttle("key \(number)", burst: 9, count: 1, period: 60, quantity: quantity, now: now)
    }

    @Test(arguments: [-century, -hour, -1, 0, 1, hour, century], [false, true])
    func decisionsContinueAsWithoutARestart(moved by: Int64, withSnapshot: Bool) throws {
        let written = try Written(from: Self.start, withSnapshot: withSnapshot)
        let wall = Self.moved(Self.start, by: by)
        let (engine, report) = try PromiseCheck.recover(written.files, wall: wall, workers: 2)
        #expect(report.lastTime == Self.start)
        let now = max(wall, report.lastTime)
        #expect(now == max(wall, Self.start))
        let recovered = KeyspaceSession(engine: engine)
        for number in 1...10 {
            // Same decisions as without the restart: nothing replenished early and no client blocked longer, now or
            // later.
            for later in [0, 30, 59, 60, 61, 89, 90, 599, 600] as [Int64] {
                let then = now.adding(later * 1_000_000_000)
                let expected = ask(written.session, number, quantity: 0, now: then)
                #expect(ask(recovered, number, quantity: 0, now: then) == expected, "key \(number), \(later) s")
            }
        }
    }

    @Test func aClockThatWentBackReplenishesNothing() throws {
        for by in [-Self.hour, -Self.century] {
            let written = try Written(from: Self.start, withSnapshot: false)
            let (engine, report) = try PromiseCheck.recover(written.files, wall: Self.moved(Self.start, by: by))
            let recovered = KeyspaceSession(engine: engine)
            let denied = ask(recovered, 10, quantity: 1, now: report.lastTime)
            #expect(denied.outcome == .denied)
            #expect(denied.retryAfter == 60_000_000_000)
            #expect(ask(recovered, 10, quantity: 1, now: report.lastTime.adding(59_999_999_999)).outcome == .denied)
            #expect(ask(recovered, 10, quantity: 1, now: report.lastTime.adding(60_000_000_000)).outcome == .allowed)
            #expect(ask(recovered, 9, quantity: 1, now: report.lastTime).outcome == .allowed)
        }
    }

    /// The clock ran a century ahead for a while, and is then correct again.
    @Test func aClockCorrectedFromTheFutureBlocksNoClientLonger() throws {
        for by in [Self.hour, Self.century] {
            let future = Self.moved(Self.start, by: by)
            let written = try Written(from: future, withSnapshot: by == Self.century)
            let (engine, report) = try PromiseCheck.recover(written.files, wall: Self.start)
            #expect(report.lastTime == future)
            let recovered = KeyspaceSession(engine: engine)
            let denied = ask(recovered, 10, quantity: 1, now: max(Self.start, report.lastTime))
            #expect(denied.outcome == .denied)
            #expect(denied.retryAfter == 60_000_000_000)
        }
    }

    /// Time continues where the files end, even if they contain nothing but times.
    @Test func everyHeaderCountsAsTime() throws {
        let files = SimulatedFileSystem()
        var latest = Self.start
        for number in 0..<4 {
            let (_, report) = try PromiseCheck.recover(files, wall: EngineTime(nanoseconds: 0))
            if number > 0 { #expect(report.lastTime == latest) }
            latest = latest.adding(Self.hour)
            let log = LogDirectory(files: files, path: simulatedDirectory, recovered: report)
            try log.roll(at: report.end, time: latest, continues: true)
        }
    }
}
