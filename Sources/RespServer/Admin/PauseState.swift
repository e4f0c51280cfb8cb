// CLIENT PAUSE: until when which commands wait.

import Synchronization
import System

final class PauseState: Sendable {
    enum Mode: UInt8 { case writes = 1, all = 2 }

    /// Until when the pause lasts; the distant past for none.
    private let until = Atomic<SteadyInstant>(.distantPast)
    private let mode = Atomic<UInt8>(Mode.all.rawValue)
    /// FAILOVER keeps writes back, however long it takes.
    let holdsWrites = Atomic<Bool>(false)

    func isActive(_ now: SteadyInstant) -> Bool {
        until.load(ordering: .relaxed) > now || holdsWrites.load(ordering: .relaxed)
    }

    /// Begins a pause. One already longer stays as long, and one of everything stays one of everything, as in Redis.
    func begin(_ mode: Mode, until deadline: SteadyInstant, now: SteadyInstant) {
        if until.load(ordering: .relaxed) > now {
            if mode == .all { self.mode.store(mode.rawValue, ordering: .relaxed) }
            until.store(max(deadline, until.load(ordering: .relaxed)), ordering: .relaxed)
        } else {
            self.mode.store(mode.rawValue, ordering: .relaxed)
            until.store(deadline, ordering: .relaxed)
        }
    }

    func end() { until.store(.distantPast, ordering: .relaxed) }

    /// Which commands wait at `now`.
    func state(at now: SteadyInstant) -> ServerState {
        var state: ServerState = holdsWrites.load(ordering: .relaxed) ? .handingOver : []
        if until.load(ordering: .relaxed) > now {
            state.insert(mode.load(ordering: .relaxed) == Mode.all.rawValue ? .paused : .writesPaused)
        }
        return state
    }
}
