// The project's own load generator and benchmark. It neither starts nor stops servers: it measures the ones it is
// pointed at. README.md in this directory explains how the figures are produced and how to read them; scripts/bench
// runs all of it.

import Glibc
import ProgramArguments

private let usage = """
    usage: loadtest load     --port N [--pid N] [--connections 50] [--pipeline 1] [--requests N | --seconds S]
                             [--keys 100000] [--rate COMMANDS_PER_SECOND] COMMAND WORD …
           loadtest compare  --peer NAME=PORT:PID:WORD,WORD… … [--depths 1,16,64] [--repetitions 5] [--seconds 2]
                             [--connections 50] [--keys 100000] [--base NAME] [--target DEPTH:NAME<=FACTOR*NAME+US …]
           loadtest idle     --port N --pid N [--connections 10000]
           loadtest memory   --port N --pid N [--keys 10000000] COMMAND WORD …
           loadtest keyspace --port N --pid N [--few 100000] [--many 10000000] [--pipeline 64] COMMAND WORD …
           loadtest lag      --port N --replica-port N [--probes 500] [--pause-ms 7]
           loadtest call     --port N COMMAND WORD …
    __rand_int__ in a word becomes 12 random digits below the number of keys, __seq_int__ 0, 1, 2 and so on.
    """

/// Prints a message for the user on standard error, so that it is not mixed with the tables.
func progress(_ text: String) {
    let line = Array("loadtest: \(text)\n".utf8)
    _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

private func readArguments() throws(Failure) -> [String] {
    do throws(ProgramArgumentsError) {
        return try ProgramArguments.read()
    } catch {
        throw .usage(error.text)
    }
}

do throws(Failure) {
    let arguments = try readArguments()
    let rest = Array(arguments.dropFirst())
    switch arguments.first {
    case "load": try runLoad(rest)
    case "compare": try runCompare(rest)
    case "idle": try runIdle(rest)
    case "memory": try runMemory(rest)
    case "keyspace": try runKeyspace(rest)
    case "lag": try runLag(rest)
    case "call": try runCall(rest)
    case "--help", "help": print(usage)
    case let other: throw .usage(other.map { "unknown subcommand '\($0)'" } ?? "a subcommand is missing")
    }
} catch {
    progress(error.isUsage ? "\(error.message)\n\(usage)" : error.message)
    exit(error.isUsage ? 2 : 1)
}
