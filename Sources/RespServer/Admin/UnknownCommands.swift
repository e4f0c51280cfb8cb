// Commands that clients ask for and this server does not have, by name.
//
// An unknown command is answered with an error, and some callers take an error from a limiter for permission: they let
// everything pass, and nothing shows it. So these calls are counted by name in INFO, and the log warns once a name.
// Names come from clients: they are cut, escaped, and only so many are told apart, and only of clients that have
// authenticated.

import RESP
import System

/// Counts unknown commands. Thread-safe.
final class UnknownCommands: Sendable {
    /// Names that are counted, and that are warned about: each at most so many.
    static let namesMax = 128
    /// Longest part of a name, in bytes before escaping.
    static let nameBytesMax = 48

    /// What to log about a call.
    enum Warning: Equatable {
        case none
        case name(String)
        /// One name too many: further ones are only counted.
        case noMoreNames
    }

    /// The counts since the last reset.
    struct Counts: Sendable, Equatable {
        var calls = 0
        /// Calls that no name of `names` was counted for.
        var others = 0
        var names: [String: Int] = [:]
    }

    private struct State {
        var counts = Counts()
        /// Names that have been warned about; kept when the counts are reset.
        var warned: Set<String> = []
        var isSilent = false
    }

    private let state = Locked(State())

    var counts: Counts { state.withLock { $0.counts } }

    /// Sets the counts to 0.
    func reset() { state.withLock { $0.counts = Counts() } }

    /// Counts a call of a client that has not authenticated: without its name.
    func countStranger() {
        state.withLock {
            $0.counts.calls += 1
            $0.counts.others += 1
        }
    }

    /// Counts a call of `command`, or of its unknown subcommand.
    func count(_ command: Argument, subcommand: Argument? = nil) -> Warning {
        var name = UnknownCommands.name(command)
        if let subcommand { name += "|" + UnknownCommands.name(subcommand) }
        return state.withLock { state in
            state.counts.calls += 1
            if state.counts.names[name] != nil || state.counts.names.count < UnknownCommands.namesMax {
                state.counts.names[name, default: 0] += 1
            } else {
                state.counts.others += 1
            }
            guard !state.warned.contains(name), !state.isSilent else { return .none }
            guard state.warned.count < UnknownCommands.namesMax else {
                state.isSilent = true
                return .noMoreNames
            }
            state.warned.insert(name)
            return .name(name)
        }
    }

    /// The name in lower case. Bytes other than letters, digits, `.`, `_` and `-` become `%XX`, so that a name can
    /// neither end a line of INFO nor be taken for a value; a name that was cut ends in `~`.
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
    /// Counts a request for a command that does not exist, or with `isSubcommand` for such a subcommand of one that
    /// does, and logs a name's first one.
    func noteUnknownCommand(from connection: Connection, isSubcommand: Bool = false) {
        guard !connection.resp.flags.contains(.unauthenticated) else { return server.unknownCommands.countStranger() }
        switch server.unknownCommands.count(arguments[0], subcommand: isSubcommand ? arguments[1] : nil) {
        case .none: break
        case .name(let name):
            let library = connection.resp.description?.libraryName ?? []
            let version = connection.resp.description?.libraryVersion ?? []
            server.log.warning(
                "unknown command: a client asks for what this server does not have",
                [
                    "command": "\(name)", "addr": "\(connection.peerAddress)",
                    "name": "\(String(decoding: connection.name, as: UTF8.self))",
                    "lib_name": "\(String(decoding: library, as: UTF8.self))",
                    "lib_ver": "\(String(decoding: version, as: UTF8.self))",
                ])
        case .noMoreNames:
            server.log.warning(
                "unknown commands of further names are only counted, see INFO unknowncommands",
                ["names": .integer(UnknownCommands.namesMax)])
        }
    }
}
