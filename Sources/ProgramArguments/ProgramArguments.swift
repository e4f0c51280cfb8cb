// Command-line arguments, for every executable of this package.
//
// Not `CommandLine.arguments`: the runtime loses all of them when a preloaded library has moved `environ`, and replaces
// bytes that are not UTF-8. A server that loses its arguments runs with defaults: on the standard port, on other data
// and without its password.

import CLinux

/// Why a program cannot use its arguments, in one line for the operator.
public struct ProgramArgumentsError: Error, Equatable, Sendable {
    /// The line, without the program's name.
    public let text: String
}

/// The program's command-line arguments.
public enum ProgramArguments {
    /// The arguments without the program's name, each as it was given; an empty one is an empty string.
    ///
    /// Throws when the process was started without an argument vector, since the intent is then unknown, and when an
    /// argument is not UTF-8, since decoding it would yield a different path or password.
    public static func read() throws(ProgramArgumentsError) -> [String] {
        let count = Int(clinux_argument_count())
        guard count > 0 else {
            throw ProgramArgumentsError(text: "started without arguments, not even the program's name")
        }
        return try decode((1..<max(1, count)).map { clinux_argument(Int32($0)) })
    }

    static func decode(_ arguments: [UnsafePointer<CChar>?]) throws(ProgramArgumentsError) -> [String] {
        var words: [String] = []
        for argument in arguments {
            guard let argument, let word = String(validatingCString: argument) else {
                throw ProgramArgumentsError(text: "\(place(after: words)) is not valid UTF-8")
            }
            words.append(word)
        }
        return words
    }

    /// Names the argument by position, without its bytes: they may be a password.
    private static func place(after words: [String]) -> String {
        let number = "argument \(words.count + 1)"
        guard let last = words.last, last.hasPrefix("--") else { return number }
        let name = last.prefix { $0 != "=" }
        let isPrintable = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        return isPrintable && name.utf8.count <= 64 ? "\(number), after '\(name)'," : number
    }
}
