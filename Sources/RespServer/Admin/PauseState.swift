// CLIENT PAUSE: which commands are held back, and until when.

import Synchronization
import System

final class PauseState: Sendable {
    enum Mode: UInt8 { case writes = 1, all = 2 }

    /// When the pause ends; the distant past if there is none.
    private let until = Atomic<SteadyInstant>(.distantPast)
    private let mode = Atomic<UInt8>(Mode.all.rawValue)
    /// FAILOVER holds writes back until it is done, without a deadline.
    let holdsWrites = Atomic<Bool>(false)

    func isActive(_ now: SteadyInstant) -> Bool {
        until.load(ordering: .relaxed) > now || holdsWrites.load(ordering: .relaxed)
    }

    /// Starts a pause. As in Redis, an active pause is never shortened, and a pause of all commands is not narrowed to
    /// writes.
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

    /// Which commands are held back at `now`.
    func state(at now: SteadyInstant) -> ServerState {
        var state: ServerState = holdsWrites.load(ordering: .relaxed) ? .handingOver : []
        if until.load(ordering: .relaxed) > now {
            state.insert(mode.load(ordering: .relaxed) == Mode.all.rawValue ? .paused : .writesPaused)
        }
        return state
    }
}
