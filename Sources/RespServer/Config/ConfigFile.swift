// Reads the configuration file: `name value …` lines, `#` comments, quotes as in redis.conf. The last of several lines
// for a setting wins. `include FILE …` inserts the lines of other files; names may be patterns.
//
// Depends on the settings table and on files; ConfigRewrite writes the file back.

import Glibc
import Persistence
import System

/// Why a configuration file was rejected. `text` is one line with the file name and, if known, the line number.
struct ConfigFileError: Error, Equatable, Sendable {
    var text: String
}

/// Access to configuration files, real or in a test.
struct ConfigFiles {
    /// Reads a file.
    var read: (String) throws(ConfigFileError) -> [UInt8]
    /// Lists the files whose names match a pattern, in order.
    var matching: (String) -> [String]

    /// The files of this machine.
    ///
    /// - Parameter areRegular: Reject anything but regular files.
    static func real(areRegular: Bool = false) -> ConfigFiles {
        ConfigFiles(
            read: { path throws(ConfigFileError) in try ConfigFile.read(path, isRegular: areRegular) },
            matching: ConfigFile.matching)
    }
}

enum ConfigFile {
    /// Larger files are rejected.
    static let bytesMax = 1 << 20
    /// Maximum nesting of includes.
    static let depthMax = 16

    /// Applies the lines of `bytes`, and of included files, to `settings`. Errors begin with the file's name, `path`.
    /// As in Redis, names of included files are relative to the working directory.
    static func apply(
        _ bytes: [UInt8], path: String, to settings: inout Settings, files: ConfigFiles = .real()
    ) throws(ConfigFileError) {
        try walk(bytes, path: path, files) { place, name, values throws(ConfigFileError) in
            guard let setting = SettingsTable.setting(named: name) else {
                let shown = SettingError.printable(name)
                throw ConfigFileError(text: place + "unknown setting '\(shown)'\(SettingsTable.hint(for: name))")
            }
            do throws(SettingError) {
                try setting.parse(words: values, into: &settings)
            } catch {
                throw ConfigFileError(text: place + error.text)
            }
        }
    }

    /// The defaults with the lines of `bytes` and of included files applied, and the names of the settings set there.
    /// Ignores lines that are no longer valid, and files that cannot be read.
    static func content(
        of bytes: [UInt8], files: ConfigFiles
    ) -> (settings: Settings, names: Set<String>) {
        var settings = Settings()
        var names: Set<String> = []
        var lenient = files
        lenient.read = { path throws(ConfigFileError) in (try? files.read(path)) ?? [] }
        for line in bytes.split(separator: 0x0A) {
            // One by one, so that an invalid line does not prevent the others from being read.
            try? walk(Array(line), path: "", lenient) { _, name, values throws(ConfigFileError) in
                guard let setting = SettingsTable.setting(named: name) else { return }
                names.insert(setting.name)
                try? setting.parse(words: values, into: &settings)
            }
        }
        return (settings, names)
    }

    /// Calls `body` with the place, name and values of each line that sets something.
    private static func walk(
        _ bytes: [UInt8], path: String, _ files: ConfigFiles, depth: Int = 0,
        _ body: (_ place: String, _ name: String, _ values: [String]) throws(ConfigFileError) -> Void
    ) throws(ConfigFileError) {
        for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            let place = "\(path):\(index + 1): "
            switch ConfigLine(line) {
            case .nothing: continue
            case .unbalancedQuotes: throw ConfigFileError(text: place + "unbalanced quotes")
            case .words(let name, let values) where name.lowercased() == "include":
                guard !values.isEmpty else { throw ConfigFileError(text: place + "include needs a file name") }
                guard depth < depthMax else {
                    throw ConfigFileError(text: place + "includes are nested more than \(depthMax) deep")
                }
                for value in values {
                    let isPattern = value.utf8.contains { "*?[".utf8.contains($0) }
                    for included in isPattern ? files.matching(value) : [value] {
                        let more: [UInt8]
                        do throws(ConfigFileError) {
                            more = try files.read(included)
                        } catch {
                            throw ConfigFileError(text: place + error.text)
                        }
                        try walk(more, path: included, files, depth: depth + 1, body)
                    }
                }
            case .words(let name, let values): try body(place, name, values)
            }
        }
    }

    /// The files whose names match a pattern, sorted by name.
    static func matching(_ pattern: String) -> [String] {
        var found = glob_t()
        defer { globfree(&found) }
        guard glob(pattern, 0, nil, &found) == 0 else { return [] }
        return (0..<Int(found.gl_pathc)).map { String(cString: found.gl_pathv[$0]!) }
    }

    /// The bytes of the file at `path`. Blocks on a pipe without a writer, unless `isRegular`.
    ///
    /// - Parameter isRegular: Reject pipes and devices, which cannot be rewritten.
    static func read(_ path: String, isRegular: Bool = false) throws(ConfigFileError) -> [UInt8] {
        let bytes: [UInt8]?
        var isRefused = false
        do throws(SystemError) {
            let file = try FileDescriptor.open(path, O_RDONLY | (isRegular ? O_NONBLOCK : 0))
            defer { file.close() }
            isRefused = isRegular && !file.isRegular
            bytes = isRefused ? [] : try file.readAll(limit: bytesMax)
        } catch {
            throw failure(path, error)
        }
        guard !isRefused else {
            throw ConfigFileError(text: "cannot rewrite configuration file '\(path)': not a regular file")
        }
        guard let bytes else {
            throw ConfigFileError(text: "cannot read configuration file '\(path)': larger than \(bytesMax) bytes")
        }
        return bytes
    }

    private static func failure(_ path: String, _ error: SystemError) -> ConfigFileError {
        ConfigFileError(text: "cannot read configuration file '\(path)': \(SystemError.text(error.code))")
    }
}

/// A parsed line of the file.
enum ConfigLine: Equatable {
    /// Whitespace or a comment.
    case nothing
    case unbalancedQuotes
    case words(name: String, values: [String])

    init(_ line: some Collection<UInt8>) {
        let first = line.first { $0 != 0x20 && !($0 >= 0x09 && $0 <= 0x0D) }
        guard let first, first != UInt8(ascii: "#") else {
            self = .nothing
            return
        }
        guard let words = ConfigWord.split(line: line), let name = words.first else {
            self = .unbalancedQuotes
            return
        }
        self = .words(name: name, values: Array(words.dropFirst()))
    }
}
