// Calls that were refused because this server lacks what they need, by name: unknown commands and subcommands, unknown
// scripts, and values other than 64-bit integers.
//
// The reply is an error, and some callers fail open: they treat an error from a limiter as permission, so that
// everything passes unnoticed. So INFO counts these calls by name, and each name is logged once.
// Names come from clients: they are truncated and escaped, their number is bounded, and only those of authenticated
// clients are kept.

import RESP
import System

/// What a call needed that this server lacks.
enum Unsupported {
    /// A command.
    case command(Argument)
    /// A subcommand of a command.
    case subcommand(Argument, of: Argument)
    /// Storing a value that is not a 64-bit integer, with this command.
    case value(Argument)
    /// The script with this SHA-1, in hexadecimal digits.
    case script(String)

    /// Whether the client only asks whether the server has something, and does without it. redis-py sends
    /// `CLIENT MAINT_NOTIFICATIONS` on each new connection; Redis, too, answers with an error unless it is managed.
    var isProbe: Bool {
        guard case .subcommand(let subcommand, let command) = self else { return false }
        return command.matches("CLIENT") && subcommand.matches("MAINT_NOTIFICATIONS")
    }

    /// The name under which the call is counted.
    var name: String {
        switch self {
        case .command(let command): UnsupportedCalls.name(command)
        case .subcommand(let subcommand, let command):
            UnsupportedCalls.name(command) + "|" + UnsupportedCalls.name(subcommand)
        case .value(let command): UnsupportedCalls.name(command) + "|value-not-an-integer"
        case .script(let digits): "script|" + digits
        }
    }

    /// The log message.
    var message: String {
        switch self {
        case .command, .subcommand: "unknown command: this server does not have it"
        case .value: "refused value: this server stores only 64-bit integers"
        case .script: "unknown script: this server runs only the scripts of known libraries"
        }
    }
}

/// Counts unsupported calls. Thread-safe.
final class UnsupportedCalls: Sendable {
    /// Upper bound on the names counted, and on the names logged.
    static let namesMax = 128
    /// Longer names are truncated to this many bytes before escaping.
    static let nameBytesMax = 48

    /// What to log about a call.
    enum Warning: Equatable {
        case none
        case name(String)
        /// The bound is reached: further names are only counted.
        case noMoreNames
    }

    /// The counts since the last reset.
    struct Counts: Sendable, Equatable {
        var calls = 0
        /// Calls not counted under any of `names`.
        var others = 0
        var names: [String: Int] = [:]
    }

    private struct State {
        var counts = Counts()
        /// Names already logged; kept when the counts are reset.
        var warned: Set<String> = []
        var isSilent = false
    }

    private let state = Locked(State())

    var counts: Counts { state.withLock { $0.counts } }

    /// Sets the counts to 0.
    func reset() { state.withLock { $0.counts = Counts() } }

    /// Counts a call by an unauthenticated client, without the command's name.
    func countStranger() {
        state.withLock {
            $0.counts.calls += 1
            $0.counts.others += 1
        }
    }

    /// Counts a call under `name`.
    func count(_ name: String) -> Warning {
        state.withLock { state in
            state.counts.calls += 1
            if state.counts.names[name] != nil || state.counts.names.count < UnsupportedCalls.namesMax {
                state.counts.names[name, default: 0] += 1
            } else {
                state.counts.others += 1
            }
            guard !state.warned.contains(name), !state.isSilent else { return .none }
            guard state.warned.count < UnsupportedCalls.namesMax else {
                state.isSilent = true
                return .noMoreNames
            }
            state.warned.insert(name)
            return .name(name)
        }
    }

    /// The name in lower case. Bytes other than letters, digits, `.`, `_` and `-` become `%XX`, so that a name can
    /// neither end a line of INFO nor be mistaken for a value; a truncated name ends in `~`.
    static func name(_ argument: Argument) -> String {
        var name = ""
        for byte in argument.buffer.prefix(nameBytesMax) {
            let lower = byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
            switch lower {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
                UInt8(ascii: "_"), UInt8(ascii: "-"):
                name.unicodeScalars.append(Unicode.Scalar(lower))
            default: name += "%" + hexadecimal(byte).uppercased()
            }
        }
        return argument.count > nameBytesMax ? name + "~" : name
    }
}

extension EventLoop {
    /// Counts a call that was refused because this server lacks what it needs. Logs the first call for each name.
    func noteUnsupported(_ lacking: Unsupported, from connection: Connection) {
        guard !lacking.isProbe else { return }
        guard !connection.resp.flags.contains(.unauthenticated) else { return server.unsupportedCalls.countStranger() }
        switch server.unsupportedCalls.count(lacking.name) {
        case .none: break
        case .name(let name):
            let library = connection.resp.description?.libraryName ?? []
            let version = connection.resp.description?.libraryVersion ?? []
            server.log.warning(
                lacking.message,
                [
                    "command": "\(name)", "addr": "\(connection.peerAddress)",
                    "name": "\(String(decoding: connection.name, as: UTF8.self))",
                    "lib_name": "\(String(decoding: library, as: UTF8.self))",
                    "lib_ver": "\(String(decoding: version, as: UTF8.self))",
                    "see": "docs/libraries.md",
                ])
        case .noMoreNames:
            server.log.warning(
                "too many different unsupported calls: further names are only counted, see INFO unknowncommands",
                ["names": .integer(UnsupportedCalls.namesMax)])
        }
    }
}
