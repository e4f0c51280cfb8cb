// The types of settings. Each builder creates an entry for a field of Settings: formatting, parsing, and the error
// texts, both ours and Redis's.

extension Setting {
    /// A field of Settings. Sendable, since the table's closures capture it.
    typealias Field<Value> = any WritableKeyPath<Settings, Value> & Sendable

    /// An integer in `range`, with an optional unit for the documentation. Accepts only the canonical decimal form: no
    /// `+`, no leading zero, no space.
    static func integer(
        _ name: String, _ field: Field<Int>, _ range: ClosedRange<Int>,
        unit: String? = nil, _ section: SettingSection, _ summary: String...
    ) -> Setting {
        let allowed = "an integer from \(range.lowerBound) to \(range.upperBound)" + (unit.map { " (\($0))" } ?? "")
        return make(name, section, summary, allowed: allowed) {
            String($0[keyPath: field])
        } parse: { text throws(Refusal) in
            guard let value = decimal(text) else { throw Refusal("argument couldn't be parsed into an integer") }
            guard range.contains(value) else { throw Refusal(outside: range) }
            return { $0[keyPath: field] = value }
        }
    }

    /// A power of two in `range`.
    static func powerOfTwo(
        _ name: String, _ field: Field<Int>, _ range: ClosedRange<Int>,
        _ section: SettingSection, _ summary: String...
    ) -> Setting {
        let allowed = "a power of two from \(range.lowerBound) to \(range.upperBound)"
        return make(name, section, summary, allowed: allowed) {
            String($0[keyPath: field])
        } parse: { text throws(Refusal) in
            guard let value = decimal(text) else { throw Refusal("argument couldn't be parsed into an integer") }
            guard range.contains(value) else { throw Refusal(outside: range) }
            guard value > 0, value & (value - 1) == 0 else { throw Refusal("argument must be a power of two") }
            return { $0[keyPath: field] = value }
        }
    }

    /// Mode bits in octal.
    static func octal(
        _ name: String, _ field: Field<Int>, max: Int, _ section: SettingSection,
        _ summary: String...
    ) -> Setting {
        let maxText = String(max, radix: 8)
        return make(name, section, summary, allowed: "an octal number from 0 to \(maxText)") {
            String($0[keyPath: field], radix: 8)
        } parse: { text throws(Refusal) in
            let isOctal = !text.isEmpty && text.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x37 }
            guard isOctal, text.utf8.count <= 12, let value = Int(text, radix: 8) else {
                throw Refusal("argument couldn't be parsed as an octal number")
            }
            guard value <= max else { throw Refusal("argument must be between 0 and \(maxText) inclusive") }
            return { $0[keyPath: field] = value }
        }
    }

    /// A number of bytes in `range`, with or without a unit.
    static func memory(
        _ name: String, _ field: Field<Int>, _ range: ClosedRange<Int>,
        _ section: SettingSection, _ summary: String...
    ) -> Setting {
        let bounds = "\(MemorySize.text(range.lowerBound)) to \(MemorySize.text(range.upperBound))"
        return make(name, section, summary, allowed: "a memory size from \(bounds) (bytes, or with kb, mb, gb)") {
            String($0[keyPath: field])
        } fileText: {
            MemorySize.text($0[keyPath: field])
        } parse: { text throws(Refusal) in
            guard let value = MemorySize.parse(text) else { throw Refusal("argument must be a memory value") }
            guard range.contains(value) else { throw Refusal(outside: range) }
            return { $0[keyPath: field] = value }
        }
    }

    /// `yes` or `no`.
    static func flag(
        _ name: String, _ field: Field<Bool>, _ section: SettingSection,
        _ summary: String...
    ) -> Setting {
        make(name, section, summary, allowed: "yes, no") {
            $0[keyPath: field] ? "yes" : "no"
        } parse: { text throws(Refusal) in
            switch text.lowercased() {
            case "yes": return { $0[keyPath: field] = true }
            case "no": return { $0[keyPath: field] = false }
            default: throw Refusal("argument must be 'yes' or 'no'")
            }
        }
    }

    /// One of an enumeration's raw values, case-insensitive.
    static func choice<Value>(
        _ name: String, _ field: Field<Value>, _ section: SettingSection,
        _ summary: String...
    ) -> Setting where Value: RawRepresentable<String> & CaseIterable & Sendable {
        let allowed = Value.allCases.map(\.rawValue).joined(separator: ", ")
        return make(name, section, summary, allowed: allowed) {
            $0[keyPath: field].rawValue
        } parse: { text throws(Refusal) in
            guard let value = Value(rawValue: text.lowercased()) else {
                throw Refusal("argument(s) must be one of the following: \(allowed)")
            }
            return { $0[keyPath: field] = value }
        }
    }

    /// Any UTF-8 text of at most `bytesMax` bytes without NUL. Invalid UTF-8 arrives here as U+FFFD and is refused: a
    /// password or path must never be altered silently.
    static func text(
        _ name: String, _ field: Field<String>, bytesMax: Int,
        isRequired: Bool = false, _ section: SettingSection, _ summary: String...
    ) -> Setting {
        let allowed = "text in UTF-8 of \(isRequired ? "1 to" : "at most") \(bytesMax) bytes"
        return make(name, section, summary, allowed: allowed) {
            $0[keyPath: field]
        } parse: { text throws(Refusal) in
            let isAcceptable = text.unicodeScalars.allSatisfy { $0.value != 0 && $0.value != 0xFFFD }
            guard isAcceptable, text.utf8.count <= bytesMax, !isRequired || !text.isEmpty else {
                throw Refusal("argument must be \(allowed)")
            }
            return { $0[keyPath: field] = text }
        }
    }

    /// The name of a file or directory, without a path.
    static func fileName(
        _ name: String, _ field: Field<String>, _ section: SettingSection, _ summary: String...
    ) -> Setting {
        make(name, section, summary, allowed: "a name of 1 to 80 letters, digits, dots, - or _") {
            $0[keyPath: field]
        } parse: { text throws(Refusal) in
            let isName = text.utf8.allSatisfy { byte in
                (byte >= 0x30 && byte <= 0x39) || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A)
                    || [0x2D, 0x2E, 0x5F].contains(byte)
            }
            guard isName, (1...80).contains(text.utf8.count), text != ".", text != ".." else {
                throw Refusal("\(name) can't be a path, just a dirname")
            }
            return { $0[keyPath: field] = text }
        }
    }

    /// At most `countMax` words, each of which `element` converts to a value, or to nil to refuse it.
    static func list<Element: Sendable>(
        _ name: String, _ field: Field<[Element]>, countMax: Int, allowed: String,
        _ section: SettingSection, _ summary: String...,
        fileText: @escaping @Sendable (Element) -> String, element: @escaping @Sendable (String) -> Element?
    ) -> Setting {
        make(name, section, summary, allowed: allowed, isList: true) {
            $0[keyPath: field].map(fileText).joined(separator: " ")
        } parse: { text throws(Refusal) in
            let words = ConfigWord.split(text)
            let values = words.compactMap(element)
            guard words.count <= countMax, values.count == words.count else {
                throw Refusal("argument must be \(allowed)")
            }
            return { $0[keyPath: field] = values }
        }
    }

    /// Creates an entry; converts a refusal to an error with the setting, the value and the allowed values.
    static func make(
        _ name: String, _ section: SettingSection, _ summary: [String], allowed: String, isList: Bool = false,
        read: @escaping Read, fileText: Read? = nil,
        parse: @escaping @Sendable (String) throws(Refusal) -> Change
    ) -> Setting {
        Setting(
            name: name, section: section, summary: summary, allowed: allowed, read: read, fileText: fileText ?? read,
            parse: { (settings: inout Settings, text: String) throws(SettingError) in
                let change: Change
                do throws(Refusal) {
                    change = try parse(text)
                } catch {
                    throw SettingError(
                        setting: name, value: SettingError.printable(text), allowed: allowed,
                        clientReason: error.clientReason)
                }
                change(&settings)
            }, isList: isList)
    }

    /// Stores an accepted value. Created only after the whole value has been checked, so a refusal changes nothing.
    typealias Change = @Sendable (inout Settings) -> Void

    /// Why a value is refused, worded as in Redis.
    struct Refusal: Error {
        var clientReason: String

        init(_ clientReason: String) { self.clientReason = clientReason }

        init(outside range: ClosedRange<Int>) {
            clientReason = "argument must be between \(range.lowerBound) and \(range.upperBound) inclusive"
        }
    }

    /// The integer in canonical decimal form; nil for `+1`, `01`, `-0` and everything else.
    static func decimal(_ text: some StringProtocol) -> Int? {
        guard let value = Int(text), String(value) == text else { return nil }
        return value
    }
}
