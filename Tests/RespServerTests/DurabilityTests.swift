// What is kept for a log that is switched off and on while the server works.

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

    /// Makes a change, and returns how many bytes the journal has of it and of others not collected before.
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
        #expect(journaled("b") > 0, "the log would lack it when it is switched on before it has ended")
        durability.switchLogging(true, engine: engine)
        durability.logEnded(engine: engine)
        #expect(journaled("c") > 0 && !durability.hasLogToEnd && !durability.hasUncountedChanges)
    }

    @Test func nothingIsKeptBehindTheEnd() {
        durability.switchLogging(true, engine: engine)
        durability.switchLogging(false, engine: engine)
        durability.logEnded(engine: engine)
        #expect(journaled("a") == 0 && !durability.hasLogToEnd && durability.hasUncountedChanges)
        // Replicas need them, whatever becomes of the log.
        durability.switchStreamOn(engine: engine)
        durability.switchLogging(true, engine: engine)
        durability.switchLogging(false, engine: engine)
        durability.logEnded(engine: engine)
        #expect(journaled("b") > 0)
    }
}
