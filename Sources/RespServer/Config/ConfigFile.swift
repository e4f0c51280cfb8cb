// The configuration file as it is read: `name value …` lines, `#` comments, quotes as in redis.conf. The last of
// several lines for one setting wins.
//
// Reads the settings table and nothing else; writing the file back is ConfigRewrite.

import Glibc
import Persistence

/// Why a configuration file was not taken. `text` is one line that names the file, and the line where there is one.
struct ConfigFileError: Error, Equatable, Sendable {
    var text: String
}

enum ConfigFile {
    /// Larger files are refused.
    static let bytesMax = 1 << 20

    /// Applies the lines of `bytes` to `settings`. `path` is only for the error, which names the line.
    static func apply(
        _ bytes: [UInt8], path: String, to settings: inout Settings
    ) throws(ConfigFileError) {
        for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            let place = "\(path):\(index + 1): "
            switch ConfigLine(line) {
            case .nothing: continue
            case .unbalancedQuotes: throw ConfigFileError(text: place + "unbalanced quotes")
            case .words(let name, let values):
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
    }

    /// The bytes of the file at `path`. Waits for as long as a pipe is silent, unless the file has to be regular.
    ///
    /// - Parameter isRegular: A pipe or a device, which could not be written anew, is an error.
    static func read(_ path: String, isRegular: Bool = false) throws(ConfigFileError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | (isRegular ? O_NONBLOCK : 0))
        guard descriptor >= 0 else { throw failure(path) }
        defer { close(descriptor) }
        guard !isRegular || RegularFile.isRegular(descriptor) else {
            throw ConfigFileError(text: "cannot rewrite configuration file '\(path)': not a regular file")
        }
        var bytes = [UInt8](repeating: 0, count: bytesMax + 1)
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress! + filled, $0.count - filled)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw failure(path)
            }
            if count == 0 { return Array(bytes[..<filled]) }
            filled += count
        }
        throw ConfigFileError(text: "cannot read configuration file '\(path)': larger than \(bytesMax) bytes")
    }

    private static func failure(_ path: String) -> ConfigFileError {
        ConfigFileError(text: "cannot read configuration file '\(path)': \(String(cString: strerror(errno)))")
    }
}

/// What one line of the file says.
enum ConfigLine: Equatable {
    /// White space or a comment.
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
