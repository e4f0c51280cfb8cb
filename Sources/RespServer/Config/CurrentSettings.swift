// The settings in force, swapped whole: loops look at the version once a turn and copy when it has changed.

import Synchronization
import System

/// The settings in force. Any thread reads; CONFIG SET replaces.
final class CurrentSettings: Sendable {
    private struct State {
        var settings: Settings
        /// Settings given by flags or CONFIG SET: CONFIG REWRITE writes them out.
        var changed: Set<String>
    }

    private let state: Locked<State>
    private let versionCounter = Atomic<Int>(1)
    /// The file that the server was started with; nil without one.
    let file: String?

    init(_ settings: Settings, changed: Set<String> = [], file: String? = nil) {
        state = Locked(State(settings: settings, changed: changed))
        self.file = file
    }

    /// A copy of the settings.
    var value: Settings { state.withLock { $0.settings } }

    /// Names of the settings that differ from the file because of flags or CONFIG SET.
    var changed: Set<String> { state.withLock { $0.changed } }

    /// Grows with every change.
    var version: Int { versionCounter.load(ordering: .acquiring) }

    /// Has a setting follow what the server has become, as if CONFIG SET had said so.
    func change(_ name: String, _ change: (inout Settings) -> Void) {
        state.withLock { state in
            change(&state.settings)
            state.changed.insert(name)
        }
        versionCounter.add(1, ordering: .releasing)
    }

    /// Replaces the settings by what `change` makes of them; nothing happens when it throws.
    func update(_ change: (Settings) throws(ConfigSetError) -> ConfigChange) throws(ConfigSetError) {
        try state.withLock { (state: inout State) throws(ConfigSetError) in
            let result = try change(state.settings)
            state.settings = result.settings
            state.changed.formUnion(result.names)
        }
        versionCounter.add(1, ordering: .releasing)
    }
}
