// The words after `escapement check` and `escapement dump`: one directory and flags.
//
// Owns: naming the word that is wrong. Which flags there are, and which of them exclude each other, is the caller's.

/// The arguments of a subcommand that examines a directory.
struct OfflineArguments: Equatable {
    /// The directory, as written.
    let directory: String
    /// The flags given.
    let flags: Set<String>

    /// Why the arguments are wrong: the rest of a sentence that begins with the subcommand.
    struct Failure: Error, Equatable {
        let text: String
    }

    /// - Parameters:
    ///   - allowed: All flags.
    ///   - exclusive: Flags of which at most one may be given.
    init(_ words: [String], allowed: [String], exclusive: [String] = []) throws(Failure) {
        var directories: [String] = []
        var flags: Set<String> = []
        for word in words {
            let shown = SettingError.printable(word)
            if word.hasPrefix("--") {
                guard allowed.contains(word) else {
                    let near = allowed.first { word.count > 3 && $0.hasPrefix(word) }
                    let hint = near.map { "; did you mean '\($0)'?" } ?? ""
                    throw Failure(text: "unknown option '\(shown)'\(hint)")
                }
                flags.insert(word)
            } else if directories.isEmpty {
                directories.append(word)
            } else {
                throw Failure(text: "unexpected argument '\(shown)' after the directory")
            }
        }
        let excluding = exclusive.filter(flags.contains)
        guard excluding.count < 2 else {
            throw Failure(text: "'\(excluding[0])' and '\(excluding[1])' exclude each other")
        }
        guard let directory = directories.first else { throw Failure(text: "the directory is missing") }
        guard !directory.isEmpty else { throw Failure(text: "the directory is ''") }
        self.directory = directory
        self.flags = flags
    }
}
