// CLIENT PAUSE: until when which commands wait.

import LimiterEngine
import Synchronization

final class PauseState: Sendable {
    enum Mode: UInt8 { case writes = 1, all = 2 }

    /// Engine time in nanoseconds until which the pause lasts; 0 for none.
    private let until = Atomic<Int64>(0)
    private let mode = Atomic<UInt8>(Mode.all.rawValue)

    func isActive(_ now: EngineTime) -> Bool { until.load(ordering: .relaxed) > now.nanoseconds }

    /// Begins a pause. One already longer stays as long, and one of everything stays one of everything, as in Redis.
    func begin(_ mode: Mode, until deadline: EngineTime, now: EngineTime) {
        if isActive(now) {
            if mode == .all { self.mode.store(mode.rawValue, ordering: .relaxed) }
            until.store(max(deadline.nanoseconds, until.load(ordering: .relaxed)), ordering: .relaxed)
        } else {
            self.mode.store(mode.rawValue, ordering: .relaxed)
            until.store(deadline.nanoseconds, ordering: .relaxed)
        }
    }

    func end() { until.store(0, ordering: .relaxed) }

    /// Whether the command has to wait. EXEC waits when anything queued would.
    func holds(_ command: CommandReference, of connection: Connection, now: EngineTime) -> Bool {
        guard isActive(now), !command.spec.flags.contains(.ignoresPause) else { return false }
        if mode.load(ordering: .relaxed) == Mode.all.rawValue { return true }
        if command.spec.name == "exec" {
            return connection.transaction?.queue.contains { $0.command.spec.flags.contains(.write) } ?? false
        }
        return command.spec.flags.contains(.write) || command.spec.name == "publish"
    }
}
