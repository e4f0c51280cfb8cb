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
        guard arguments.count == 1, !arguments[0].isEmpty, !arguments[0].hasPrefix("--") else {
            StandardError.write(usage)
            return 2
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
        var kept: [String] = []
        var dropped: [String] = []
        for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            switch ConfigLine(line) {
            case .nothing: continue
            case .unbalancedQuotes:
                // The values may be a password.
                let name = line.drop { $0 <= 0x20 }.prefix { $0 > 0x20 && $0 != 0x22 && $0 != 0x27 }
                dropped += comment(index, "unbalanced quotes", String(decoding: name, as: UTF8.self) + " …")
            case .words(let name, let values):
                if let reason = reason(against: name, values) {
                    let isSecret =
                        SettingsTable.setting(named: name)?.isSecret ?? foreignSecrets.contains(name.lowercased())
                    dropped += comment(index, reason, ([name] + (isSecret ? ["…"] : values)).joined(separator: " "))
                } else {
                    kept.append(([name] + values.map(ConfigWord.quoted)).joined(separator: " "))
                }
            }
        }
        var text = "# Settings of \(SettingError.printable(path)), imported by `escapement import`.\n"
        text += "# `escapement --print-config` explains each, and those that are not here.\n\n"
        for line in kept { text += line + "\n" }
        guard !dropped.isEmpty else { return text }
        text += "\n\n# ---- Not carried over ----\n"
        for line in dropped { text += line + "\n" }
        return text
    }

    private static func comment(_ index: Int, _ reason: String, _ line: String) -> [String] {
        ["", "# line \(index + 1): \(reason)", "#   \(SettingError.printable(line))"]
    }

    /// Why a line does not carry over; nil if it does.
    private static func reason(against name: String, _ values: [String]) -> String? {
        if name.lowercased() == "include" { return "import the included file on its own" }
        guard let setting = SettingsTable.setting(named: name) else {
            return RedisDirectives.reason(for: name) ?? "there is no such setting"
        }
        do throws(SettingError) {
            var settings = Settings()
            try setting.parse(words: values, into: &settings)
            return nil
        } catch {
            return error.text
        }
    }
}
