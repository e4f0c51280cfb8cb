// The entry type of the settings table, the single definition of a setting, and the error for a refused value. The
// file, the flags, CONFIG GET / SET / REWRITE, --help and the shipped escapement.conf all use these entries.

/// A value that a setting refused.
struct SettingError: Error, Equatable, Sendable {
    enum Kind: Sendable, Equatable {
        /// Not valid in any version.
        case invalid
        /// A value that needs a feature this version does not have.
        case unsupported
        /// No value was given.
        case missing
    }

    /// The setting's name.
    var setting: String
    /// The offending value, shortened and printable; nil if it must not be shown.
    var value: String?
    /// The allowed values, as a phrase: `an integer from 1 to 1000000`.
    var allowed: String
    var kind = Kind.invalid
    /// The reason as worded by Redis's CONFIG SET; nil if Redis has none.
    var clientReason: String?

    /// One line with the setting, the value and the allowed values.
    var text: String { "\(setting): \(complaint)" }

    /// The reason in the reply of CONFIG SET.
    var reasonForClient: String { clientReason ?? complaint }

    private var complaint: String {
        let shown = value.map { "'\($0)'" } ?? "this value"
        return switch kind {
        case .invalid: "\(shown) is not valid; allowed: \(allowed)"
        case .unsupported: "\(shown) is not supported by this version; allowed: \(allowed)"
        case .missing: "a value is missing; allowed: \(allowed)"
        }
    }

    /// `text` for a one-line message: control characters escaped, at most `lengthMax` characters.
    static func printable(_ text: String, lengthMax: Int = 64) -> String {
        var shown = ""
        var count = 0
        for scalar in text.unicodeScalars {
            guard count < lengthMax else { return shown + "…" }
            let isControl = scalar.value < 0x20 || (scalar.value >= 0x7F && scalar.value < 0xA0)
            shown += isControl ? "\\x" + hexadecimal(UInt8(scalar.value)) : String(scalar)
            count += 1
        }
        return shown
    }
}

/// Two hexadecimal digits.
func hexadecimal(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16)
    return byte < 16 ? "0" + digits : digits
}

/// The part of the documentation a setting belongs to, in the order of the file.
enum SettingSection: String, Sendable, CaseIterable {
    case network = "Network"
    case http = "HTTP"
    case clients = "Clients"
    case memory = "Memory and keys"
    case limits = "Limits"
    case observation = "Log and observation"
    case durability = "Lifecycle and durability"
    case replication = "Replication"
}

/// One entry of the settings table.
struct Setting: Sendable {
    typealias Read = @Sendable (Settings) -> String
    typealias Parse = @Sendable (inout Settings, String) throws(SettingError) -> Void

    /// In lower case, as in the file.
    let name: String
    let section: SettingSection
    /// Description without the allowed values: lines of at most 110 characters each.
    let summary: [String]
    /// The allowed values, as a phrase.
    var allowed: String
    /// The value as CONFIG GET shows it.
    let read: Read
    /// The value as written in the file, without quotes; differs from `read` if the file uses units.
    let fileText: Read
    /// Sets a value or refuses it; does not change `Settings` if it throws.
    var parse: Parse
    /// Whether the value is a list of separate words.
    let isList: Bool

    /// Other names for the same setting; CONFIG GET shows each.
    var aliases: [String] = []
    /// Whether CONFIG SET may change it.
    var isMutable = true
    /// Whether its value is hidden from logs and error texts.
    var isSecret = false
    /// Whether the shipped file sets it; the others are commented out.
    var isActiveInFile = false

    /// Every name, the primary one first.
    var names: [String] { [name] + aliases }

    /// The default as CONFIG GET would show it.
    var defaultText: String { read(Settings()) }

    /// The value for a log line.
    func readForLog(_ settings: Settings) -> String { isSecret ? "(hidden)" : read(settings) }

    /// The setting's line in a file: name and value, quoted if necessary.
    func line(_ settings: Settings) -> String { "\(name) \(fileValue(settings))" }

    /// The value as written in a file after the name.
    func fileValue(_ settings: Settings) -> String {
        let value = fileText(settings)
        // Words of lists never need quotes: parsing restricts their characters.
        return isList && !value.isEmpty ? value : ConfigWord.quoted(value)
    }

    /// Sets the value from the words after the name in a file or on the command line.
    func parse(words: [String], into settings: inout Settings) throws(SettingError) {
        guard !words.isEmpty else {
            throw SettingError(setting: name, value: nil, allowed: allowed, kind: .missing)
        }
        let text = words.joined(separator: " ")
        guard isList || words.count == 1 else {
            throw SettingError(
                setting: name, value: isSecret ? nil : SettingError.printable(text), allowed: allowed)
        }
        try parse(&settings, text)
    }
}

// Modifiers for the table's less common properties.
extension Setting {
    /// Adds further names.
    func alias(_ names: String...) -> Setting { with { $0.aliases = names } }
    /// Cannot be changed at run time.
    var immutable: Setting { with { $0.isMutable = false } }
    /// Hidden from logs and error texts.
    var secret: Setting {
        let shown = parse
        return with { entry in
            entry.isSecret = true
            entry.parse = { (settings: inout Settings, text: String) throws(SettingError) in
                do throws(SettingError) {
                    try shown(&settings, text)
                } catch {
                    var hidden = error
                    hidden.value = nil
                    throw hidden
                }
            }
        }
    }
    /// Set, rather than commented out, in the shipped file.
    var activeInFile: Setting { with { $0.isActiveInFile = true } }

    /// For a feature that this version does not have: only the default is accepted, so that no user relies on a setting
    /// without effect.
    var defaultOnly: Setting {
        let everyValue = self
        let onlyValue = ConfigWord.quoted(fileText(Settings()))
        return with { entry in
            entry.allowed = onlyValue
            entry.parse = { (settings: inout Settings, text: String) throws(SettingError) in
                var changed = Settings()
                do throws(SettingError) {
                    try everyValue.parse(&changed, text)
                } catch {
                    var narrowed = error
                    narrowed.allowed = onlyValue
                    throw narrowed
                }
                guard changed == Settings() else {
                    throw SettingError(
                        setting: everyValue.name, value: SettingError.printable(text), allowed: onlyValue,
                        kind: .unsupported)
                }
                try everyValue.parse(&settings, text)
            }
        }
    }

    private func with(_ change: (inout Setting) -> Void) -> Setting {
        var copy = self
        change(&copy)
        return copy
    }
}
