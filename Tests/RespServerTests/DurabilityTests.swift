// Which changes are journaled while the append-only log is switched off and on at run time.

import LimiterEngine
import Persistence
import TestSupport
import Testing

@testable import RespServer

@Suite struct DurabilityTests {
    private let engine = Engine(shards: 2)
    private let durability: Durability
    private let session: KeyspaceSession
    private let now = EngineTime(nanoseconds: 1_000_000_000)

    init() {
        durability = Durability(engine: engine)
        session = KeyspaceSession(engine: engine)
    }

    /// Makes a change and returns how many journal bytes it produced, including earlier ones not yet collected.
    private func journaled(_ name: String) -> Int {
        _ = Array(name.utf8).withUnsafeBytes { try? session.add(1, toCounter: $0, now: now) }
        if durability.isJournaling { durability.journal.collect(time: now) }
        return durability.journal.take(replacement: ByteBuffer()).bytes.count
    }

    @Test func changesAreKeptUntilTheLogHasEnded() {
        durability.switchLogging(true, engine: engine)
        #expect(journaled("a") > 0 && !durability.hasLogToEnd)
        durability.switchLogging(false, engine: engine)
        #expect(!durability.isLogging && durability.hasLogToEnd)
        #expect(journaled("b") > 0, "missing from the log if it is switched on again before it has ended")
        durability.switchLogging(true, engine: engine)
        durability.logEnded(engine: engine)
        #expect(journaled("c") > 0 && !durability.hasLogToEnd && !durability.hasUncountedChanges)
    }

    @Test func nothingIsKeptAfterTheEnd() {
        durability.switchLogging(true, engine: engine)
        durability.switchLogging(false, engine: engine)
        durability.logEnded(engine: engine)
        #expect(journaled("a") == 0 && !durability.hasLogToEnd && durability.hasUncountedChanges)
        // Replicas need the changes with or without a log.
        durability.switchStreamOn(engine: engine)
        durability.switchLogging(true, engine: engine)
        durability.switchLogging(false, engine: engine)
        durability.logEnded(engine: engine)
        #expect(journaled("b") > 0)
    }
}
