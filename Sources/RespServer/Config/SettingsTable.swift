// The settings table: every setting, in the order of the shipped file. The entries are in one file per subject; this
// file looks names up, and suggests a name for a misspelled one.

enum SettingsTable {
    /// Every setting, section by section.
    static let all: [Setting] =
        network + http + gateway + clients + memory + limits + observation + durability + replication

    private static let byName: [String: Setting] = Dictionary(
        uniqueKeysWithValues: all.flatMap { setting in setting.names.map { ($0, setting) } })

    /// The setting with this name or alias, case-insensitive.
    static func setting(named name: String) -> Setting? { byName[name.lowercased()] }

    /// The known name closest to a misspelled one, if close enough to be intended.
    static func suggestion(for name: String) -> String? {
        let wanted = Array(name.lowercased().utf8)
        // Longer ones differ from every name by more than the accepted distance.
        guard wanted.count <= 64 else { return nil }
        let nearest = all.flatMap(\.names)
            .map { (name: $0, distance: editDistance(wanted, Array($0.utf8))) }
            .min { $0.distance < $1.distance }
        guard let nearest, nearest.distance <= max(1, wanted.count / 3) else { return nil }
        return nearest.name
    }

    /// `; did you mean 'maxclients'?`, or the reason why this server does not have a setting of Redis, or nothing.
    static func hint(for name: String) -> String {
        if let reason = RedisDirectives.reason(for: name) { return ": \(reason)" }
        return suggestion(for: name).map { "; did you mean '\($0)'?" } ?? ""
    }

    /// Number of insertions, deletions, substitutions and swaps of adjacent bytes that turn `a` into `b`.
    static func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
        var beforePrevious: [Int] = []
        var previous = Array(0...b.count)
        for i in 1...a.count {
            var current = [i]
            for j in 1...b.count {
                let replaced = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)
                var best = min(previous[j] + 1, current[j - 1] + 1, replaced)
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                    best = min(best, beforePrevious[j - 2] + 1)
                }
                current.append(best)
            }
            beforePrevious = previous
            previous = current
        }
        return previous[b.count]
    }
}
