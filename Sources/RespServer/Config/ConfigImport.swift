// `escapement import`: an escapement.conf from a redis.conf. What carries over is printed as a setting, what does not
// as a comment with the reason.
//
// Owns the translation, a pure function of the lines. Included files are not read: each is imported on its own.

import Glibc
import System

/// The subcommand `import`.
public enum ConfigImport {
    private static let usage = """
        usage: escapement import REDIS.CONF

        Prints an escapement.conf with the settings of a redis.conf. A setting that this server does not have, or whose
        value it does not accept, is printed as a comment with the reason.
        Exit code: 0 printed, 1 the file cannot be read, 2 wrong arguments

        """

    /// Runs `escapement import` with the arguments after that word.
    ///
    /// - Returns: The exit code.
    public static func run(arguments: [String]) -> Int32 {
        if arguments.contains("--help") { return print(usage) }
        do throws(ToolFailure) {
            let given = try ToolArguments(arguments, most: 1)
            guard given.timeout == nil else { throw ToolFailure(text: "'--timeout': there is no such option") }
            guard given.words.first?.isEmpty == false else { throw ToolFailure(text: "no file is given") }
        } catch {
            return ToolArguments.refuse("import", error, usage: usage)
        }
        do throws(ConfigFileError) {
            return print(text(try ConfigFile.read(arguments[0]), from: arguments[0]))
        } catch {
            StandardError.write("escapement: \(error.text)\n")
            return 1
        }
    }

    private static func print(_ text: String) -> Int32 {
        (try? FileDescriptor.standardOutput.writeAll(Array(text.utf8))) == nil ? 1 : 0
    }

    /// Directives that this server does not have and whose values are or contain passwords.
    private static let foreignSecrets: Set = ["user", "tls-key-file-pass", "tls-client-key-file-pass"]

    /// The whole file.
    static func text(_ bytes: [UInt8], from path: String) -> String {
        var lines = ImportedLines()
        for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            switch ConfigLine(line) {
            case .nothing: continue
            case .unbalancedQuotes:
                // The values may be a password.
                let name = line.drop { $0 <= 0x20 }.prefix { $0 > 0x20 && $0 != 0x22 && $0 != 0x27 }
                lines.drop(index, "unbalanced quotes", String(decoding: name, as: UTF8.self) + " …")
            case .words(let name, let values):
                if let reason = lines.keep(name, values) {
                    let isSecret =
                        SettingsTable.setting(named: name)?.isSecret ?? foreignSecrets.contains(name.lowercased())
                    lines.drop(index, reason, ([name] + (isSecret ? ["…"] : values)).joined(separator: " "))
                }
            }
        }
        var text = "# Settings of \(SettingError.printable(path)), imported by `escapement import`.\n"
        text += "# `escapement --print-config` explains each, and those that are not here.\n\n"
        for line in lines.complete { text += line + "\n" }
        guard !lines.dropped.isEmpty else { return text }
        text += "\n\n# ---- Not carried over ----\n"
        for line in lines.dropped { text += line + "\n" }
        return text
    }
}

/// The lines of the file, translated so far.
private struct ImportedLines {
    private(set) var dropped: [String] = []
    private var kept: [String] = []
    private var settings = Settings()
    /// In Redis the lines of `save` add up, here the last one wins, so they become one line, in the first one's place.
    /// Nil if there is none.
    private var save: (place: Int, words: [String])?
    /// Redis's rules if there is no line of `save`.
    private static let builtInSave = "save 3600 1 300 100 60 10000"

    mutating func drop(_ index: Int, _ reason: String, _ line: String) {
        dropped += ["", "# line \(index + 1): \(reason)", "#   \(SettingError.printable(line))"]
    }

    /// Keeps a line, or returns why it does not carry over.
    mutating func keep(_ name: String, _ values: [String]) -> String? {
        let lowercased = name.lowercased()
        if lowercased == "include" { return "import the included file on its own" }
        guard let setting = SettingsTable.setting(named: name) else {
            return RedisDirectives.reason(for: name) ?? "there is no such setting"
        }
        var words = values
        if lowercased == "save" { words = values == [""] ? values : (save?.words ?? []) + values }
        do throws(SettingError) {
            try setting.parse(words: words, into: &settings)
        } catch {
            return error.text
        }
        if lowercased == "save" {
            save = (save?.place ?? kept.count, values == [""] ? [] : words)
            return nil
        }
        if let reason = RedisDirectives.reason(againstPlace: lowercased, values.first ?? "") { return reason }
        kept.append(([name] + values.map(ConfigWord.quoted)).joined(separator: " "))
        return nil
    }

    /// The lines kept, and what Redis would do without a line.
    var complete: [String] {
        var lines = kept
        if let save {
            let words = save.words.isEmpty ? [""] : save.words
            lines.insert((["save"] + words.map(ConfigWord.quoted)).joined(separator: " "), at: save.place)
        } else if !settings.appendonly {
            lines += ["", "# There is no line `save`: these rules are built into Redis.", ImportedLines.builtInSave]
        }
        if !settings.appendonly, save?.words.isEmpty == true {
            lines += ["", "# Nothing is kept over a restart, as in Redis: `appendonly no` and no rules of `save`."]
        }
        return lines
    }
}
