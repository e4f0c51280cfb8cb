// CONFIG GET and CONFIG SET as pure functions over Settings: the caller writes the reply and applies the changed
// settings.

/// Why CONFIG SET changed nothing. `text` is the whole error reply without its `-`, as in Redis.
struct ConfigSetError: Error, Equatable, Sendable {
    var text: String

    static func unknown(_ name: String) -> ConfigSetError {
        ConfigSetError(
            text: "ERR Unknown option or number of arguments for CONFIG SET - '\(SettingError.printable(name))'")
    }

    static func failed(_ name: String, _ reason: String) -> ConfigSetError {
        ConfigSetError(text: "ERR CONFIG SET failed (possibly related to argument '\(name)') - \(reason)")
    }
}

/// The result of CONFIG SET.
struct ConfigChange: Sendable, Equatable {
    /// All settings, including the changes.
    var settings: Settings
    /// The primary names of the settings in the command: CONFIG REWRITE writes them.
    var names: [String]
}

/// Bounds of CONFIG's commands.
enum ConfigCommands {
    /// Maximum number of patterns in a CONFIG GET: each is matched against every name.
    static let patternsMax = 1024
}

extension Settings {
    /// The settings that CONFIG GET shows for case-insensitive patterns: each matching name once, in the table's order,
    /// an alias right after its setting. Values are in bytes and seconds, without units. O(names × patterns).
    func configGet(_ globs: [GlobPattern]) -> [(name: String, value: String)] {
        var found: [(name: String, value: String)] = []
        for setting in SettingsTable.all {
            for name in setting.names where globs.contains(where: { $0.matches(name) }) {
                found.append((name, setting.read(self)))
            }
        }
        return found
    }

    /// Applies CONFIG SET to a copy of `self`: all pairs or none. Names may be aliases, in any case. Setting the same
    /// setting twice is refused, also under different names, since only one value could win.
    func configSet(_ pairs: [(name: String, value: String)]) throws(ConfigSetError) -> ConfigChange {
        var entries: [(name: String, setting: Setting, value: String)] = []
        // As in Redis, unknown names are reported before bad values.
        for (name, value) in pairs {
            guard let setting = SettingsTable.setting(named: name) else { throw .unknown(name) }
            entries.append((name.lowercased(), setting, value))
        }
        var change = ConfigChange(settings: self, names: [])
        for (name, setting, _) in entries {
            guard setting.isMutable else { throw .failed(name, "can't set immutable config") }
            guard !change.names.contains(setting.name) else { throw .failed(name, "duplicate parameter") }
            change.names.append(setting.name)
        }
        for (name, setting, value) in entries {
            do throws(SettingError) {
                try setting.parse(&change.settings, value)
            } catch {
                throw .failed(name, error.reasonForClient)
            }
        }
        return change
    }
}
