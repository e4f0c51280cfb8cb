// CONFIG GET and CONFIG SET as pure functions over Settings. They reply to nobody and apply nothing: the caller writes
// the reply, and brings a changed Settings into force.

/// Why CONFIG SET changed nothing. `text` is the whole error reply without its `-`, in Redis's words.
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

/// What CONFIG SET leads to.
struct ConfigChange: Sendable, Equatable {
    /// All settings, with the change.
    var settings: Settings
    /// The settings named in the command, under their own names: CONFIG REWRITE writes them.
    var names: [String]
}

/// What CONFIG's commands take.
enum ConfigCommands {
    /// Patterns of one CONFIG GET: each is matched with every name.
    static let patternsMax = 1024
}

extension Settings {
    /// What CONFIG GET shows for patterns that ignore letter case: each matching name once, in the table's order, an
    /// alias right after the setting it stands for. Values are in bytes and seconds, without
    /// units. O(names × patterns).
    func configGet(_ globs: [GlobPattern]) -> [(name: String, value: String)] {
        var found: [(name: String, value: String)] = []
        for setting in SettingsTable.all {
            for name in setting.names where globs.contains(where: { $0.matches(name) }) {
                found.append((name, setting.read(self)))
            }
        }
        return found
    }

    /// What CONFIG SET makes of `self`: every pair or none of them. Names may be aliases, in any letter case. Naming
    /// one setting twice is refused, also under two names, since only one value could win.
    func configSet(_ pairs: [(name: String, value: String)]) throws(ConfigSetError) -> ConfigChange {
        var entries: [(name: String, setting: Setting, value: String)] = []
        // As in Redis, an unknown name anywhere is reported before a bad value anywhere.
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
