// `escapement ping`: asks a server over the network whether it serves, for health checks.
//
// Owns its arguments, its output and its exit codes. Sends one PING and reads one line; waits a bounded time. Refuses
// to authenticate: a password on a command line is visible to every user of the machine, and a server that asks for one
// has answered.

import Glibc
import System

/// The subcommand `ping`.
public enum PingCommand {
    private static let usage = """
        usage: escapement ping [HOST:PORT | SOCKET] [--timeout SECONDS]

        Asks a server whether it serves. The default address is 127.0.0.1:6379; a Unix socket is a path with a slash.
        The time-out is 2 seconds unless given.
        Exit code: 0 it answers PONG, or asks for a password first; 1 it does not answer, or not yet, with the reason on
        standard error; 2 wrong arguments

        """

    private static let timeoutSecondsMax = 3600.0

    /// Runs `escapement ping` with the arguments after that word.
    ///
    /// - Returns: The exit code.
    public static func run(arguments: [String]) -> Int32 {
        if arguments.contains("--help") {
            try? FileDescriptor.standardOutput.writeAll(Array(usage.utf8))
            return 0
        }
        let address: ToolAddress
        let timeout: Nanoseconds
        do throws(ToolFailure) {
            let given = try ToolArguments(arguments, most: 1)
            address = try given.words.first.map(ToolArguments.address) ?? ToolAddress()
            timeout = try given.timeout.map(duration) ?? .seconds(2)
        } catch {
            return ToolArguments.refuse("ping", error, usage: usage)
        }
        signal(SIGPIPE, SIG_IGN)
        do throws(ToolFailure) {
            let connection = try ToolConnection(to: address, until: SteadyInstant.now() + timeout)
            let line = try connection.firstLine(of: "PING")
            guard line == "+PONG" || line.hasPrefix("-NOAUTH") else {
                throw ToolFailure(text: "answers '\(SettingError.printable(String(line.prefix(128))))'")
            }
            try? FileDescriptor.standardOutput.writeAll(Array("\(line.dropFirst())\n".utf8))
            return 0
        } catch {
            StandardError.write("escapement: \(address.text): \(error.text)\n")
            return 1
        }
    }

    private static func duration(_ word: String) throws(ToolFailure) -> Nanoseconds {
        guard let seconds = Double(word), seconds > 0, seconds <= timeoutSecondsMax else {
            throw ToolArguments.failure(word, "the time-out is a number of seconds above 0, 3600 at most")
        }
        return .microseconds(Int64(seconds * 1_000_000))
    }
}
