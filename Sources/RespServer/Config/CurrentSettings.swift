// The current settings, replaced as a whole: loops check the version once per turn and copy the settings if it changed.

import Synchronization
import System

/// The current settings. Any thread may read; CONFIG SET replaces them.
final class CurrentSettings: Sendable {
    private struct State {
        var settings: Settings
        /// Settings set by flags or CONFIG SET: CONFIG REWRITE writes them.
        var changed: Set<String>
    }

    private let state: Locked<State>
    private let versionCounter = Atomic<Int>(1)
    /// The configuration file, if the server was started with one.
    let file: String?

    init(_ settings: Settings, changed: Set<String> = [], file: String? = nil) {
        state = Locked(State(settings: settings, changed: changed))
        self.file = file
    }

    /// A copy of the settings.
    var value: Settings { state.withLock { $0.settings } }

    /// Names of the settings that differ from the file because of flags or CONFIG SET.
    var changed: Set<String> { state.withLock { $0.changed } }

    /// Incremented with every change.
    var version: Int { versionCounter.load(ordering: .acquiring) }

    /// Changes a setting to match the server's state, as if by CONFIG SET.
    func change(_ name: String, _ change: (inout Settings) -> Void) {
        state.withLock { state in
            change(&state.settings)
            state.changed.insert(name)
        }
        versionCounter.add(1, ordering: .releasing)
    }

    /// Replaces the settings by the result of `change`; changes nothing if it throws.
    func update(_ change: (Settings) throws(ConfigSetError) -> ConfigChange) throws(ConfigSetError) {
        try state.withLock { (state: inout State) throws(ConfigSetError) in
            let result = try change(state.settings)
            state.settings = result.settings
            state.changed.formUnion(result.names)
        }
        versionCounter.add(1, ordering: .releasing)
    }
}
