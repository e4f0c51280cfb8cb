// Memory sizes such as `1kb`, `64mb`, `100`. The units are Redis's: `k`, `m`, `g` are powers of 1000, `kb`, `mb`, `gb`
// powers of 1024; case-insensitive. Fractions and signs are refused.

enum MemorySize {
    private static let units: [(suffix: String, bytes: Int)] = [
        ("kb", 1 << 10), ("mb", 1 << 20), ("gb", 1 << 30),
        ("k", 1000), ("m", 1_000_000), ("g", 1_000_000_000), ("b", 1),
    ]

    /// The size in bytes; nil if `text` is not a memory size or exceeds 63 bits.
    static func parse(_ text: String) -> Int? {
        var digits = text.lowercased()[...]
        var unitBytes = 1
        if let unit = units.first(where: { digits.hasSuffix($0.suffix) }) {
            digits = digits.dropLast(unit.suffix.utf8.count)
            unitBytes = unit.bytes
        }
        guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let count = Int(digits) else {
            return nil
        }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: unitBytes)
        return overflow ? nil : bytes
    }

    /// The units that `text` uses, the largest first.
    private static let shown: [(suffix: String, bytes: Int)] = [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)]

    /// The shortest exact text: `16mb`, `1000`. `parse` returns the same number.
    @inline(never)
    static func text(_ bytes: Int) -> String {
        guard let unit = shown.first(where: { bytes != 0 && bytes % $0.bytes == 0 }) else { return "\(bytes)" }
        return "\(bytes / unit.bytes)\(unit.suffix)"
    }
}
