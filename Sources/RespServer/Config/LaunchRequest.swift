// Parses the command line. A pure function of the arguments and of a way to read a file: it does not start anything,
// print or exit.

/// The action that a command line requests.
enum LaunchRequest: Sendable, Equatable {
    /// Start the server.
    case run(Launch)
    /// Print `ConfigText.help()`.
    case help
    /// Print the version.
    case version
    /// Print `ConfigText.defaultFile()`.
    case printConfig
    /// Print this one line to standard error and exit with 1.
    case failure(String)

    /// How to start.
    struct Launch: Sendable, Equatable {
        var settings: Settings
        /// The path of the configuration file as given; nil if none, and then CONFIG REWRITE has no target.
        var configPath: String?
        /// The primary names of the settings given as flags: CONFIG REWRITE writes them, too.
        var flagNames: Set<String>
    }

    /// Parses `words`, the command line without the program's name: `[FILE] [--NAME VALUE …]`. A flag takes all words
    /// up to the next one that begins with `--`; a value that begins with `--` needs the form `--NAME=VALUE`.
    init(
        _ words: [String],
        readFile: @escaping (String) throws(ConfigFileError) -> [UInt8] = { path throws(ConfigFileError) in
            try ConfigFile.read(path)
        }
    ) {
        do throws(ConfigFileError) {
            let files = ConfigFiles(read: readFile, matching: ConfigFile.matching)
            self = try LaunchRequest.parse(words, files)
        } catch {
            self = .failure(error.text)
        }
    }

    private static func parse(
        _ words: [String], _ files: ConfigFiles
    ) throws(ConfigFileError) -> LaunchRequest {
        var words = words[...]
        var configPath: String?
        if let first = words.first, !first.hasPrefix("-") {
            configPath = first
            words.removeFirst()
        }
        let flags = try split(words)
        // With --help and the like, ignore everything else, even errors.
        for flag in flags {
            if let request = informational(flag) { return request }
        }

        var launch = Launch(settings: Settings(), configPath: configPath, flagNames: [])
        if let configPath {
            try ConfigFile.apply(try files.read(configPath), path: configPath, to: &launch.settings, files: files)
        }
        for flag in flags { try apply(flag, to: &launch, files) }
        return .run(launch)
    }

    private struct Flag {
        /// Without the `--`.
        var name: String
        var values: [String]
    }

    private static func split(_ words: ArraySlice<String>) throws(ConfigFileError) -> [Flag] {
        var flags: [Flag] = []
        for word in words {
            if word.hasPrefix("--") || ["-h", "-v"].contains(word) && flags.isEmpty {
                let body = word.drop { $0 == "-" }
                let parts = body.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                flags.append(Flag(name: String(parts[0]), values: parts.count > 1 ? [String(parts[1])] : []))
            } else if flags.isEmpty {
                throw ConfigFileError(
                    text:
                        "unexpected argument '\(SettingError.printable(word))'; "
                        + "usage: escapement [FILE] [--NAME VALUE …]"
                )
            } else {
                flags[flags.count - 1].values.append(word)
            }
        }
        return flags
    }

    private static func informational(_ flag: Flag) -> LaunchRequest? {
        switch flag.name {
        case "help", "h": .help
        case "version", "v": .version
        case "print-config": .printConfig
        default: nil
        }
    }

    private static func apply(
        _ flag: Flag, to launch: inout Launch, _ files: ConfigFiles
    ) throws(ConfigFileError) {
        if flag.name.lowercased() == "include" {
            let line = (["include"] + flag.values.map(ConfigWord.quoted)).joined(separator: " ")
            return try ConfigFile.apply(Array(line.utf8), path: "--include", to: &launch.settings, files: files)
        }
        guard let setting = SettingsTable.setting(named: flag.name) else {
            let shown = SettingError.printable(flag.name)
            let hint = SettingsTable.suggestion(for: flag.name).map { "; did you mean '--\($0)'?" } ?? ""
            throw ConfigFileError(text: "unknown option '--\(shown)'\(hint)")
        }
        do throws(SettingError) {
            try setting.parse(words: flag.values, into: &launch.settings)
        } catch {
            throw ConfigFileError(text: "--" + error.text)
        }
        launch.flagNames.insert(setting.name)
    }
}
