// The subcommands that examine a directory without a server: `escapement check` and `escapement dump`.
//
// Owns: their arguments, their output and their exit codes. OfflineCheck runs a check; Persistence verifies the
// directory, with the decoders that startup uses.

import Glibc
import LimiterEngine
import Persistence
import System

/// The subcommands that need no server.
public enum OfflineTools {
    private static let checkSynopsis = "usage: escapement check DIR [--fix | --rebase-clock] [--json]\n"
    private static let checkUsage = """
        \(checkSynopsis)
        Verifies the log and the snapshot in DIR, a data directory or a log directory. No server may be running.
        The first line of the output is the verdict:
          ok: …           a server can start from DIR, and with what
          damaged: …      it cannot, until the command in the line has cut the log
          unusable: …     it cannot, and no command repairs it
          repaired: …     what --fix gave up, and what a server starts with now
          rebased: …      how far --rebase-clock moved the times, and what a server starts with now
        One line per file follows.

          --fix           truncates a damaged log after its last valid batch; files changed or dropped are kept as
                          NAME.damaged-N
          --rebase-clock  moves every time back by as much as the last one is ahead of this machine's clock, so
                          no spent unit is forgotten; the old files are kept as NAME.before-rebase-N
          --json          one JSON object on one line
        Exit code: 0 a server can start from it (after a repair: now), 1 it cannot, or the reason on standard error
        prevented the check, 2 wrong arguments

        """
    private static let dumpSynopsis = "usage: escapement dump DIR [--summary]\n"
    private static let dumpUsage = """
        \(dumpSynopsis)
        Prints every record of the snapshot and the log in DIR, a data directory or a log directory, one JSON object per
        line. The first line, of type "summary", has the verdict of a check, the files and the numbers of what follows.
        A server may be running: then this is what it had written when the dump began.
          --summary  prints only the summary, as text
        Exit code: 0 every record was printed, 1 stopped at damage (with --summary: there is damage), 2 wrong arguments

        """

    // MARK: check

    private static let fixFlag = "--fix"
    private static let rebaseFlag = "--rebase-clock"
    private static let jsonFlag = "--json"
    private static let summaryFlag = "--summary"

    /// Runs `escapement check` with the arguments after that word.
    ///
    /// - Returns: The exit code: 0 clean, 1 damaged or unusable, 2 wrong arguments.
    public static func check(arguments: [String]) -> Int32 {
        if arguments.contains("--help") { return show(checkUsage) }
        let words: OfflineArguments
        do throws(OfflineArguments.Failure) {
            words = try OfflineArguments(
                arguments, allowed: [fixFlag, rebaseFlag, jsonFlag], exclusive: [fixFlag, rebaseFlag])
        } catch {
            complain("escapement: check: \(error.text)\n\(checkSynopsis)")
            return 2
        }
        signal(SIGPIPE, SIG_IGN)
        let files = RealFileSystem()
        do throws(ToolFailure) {
            let location = try locate(files, words.directory, for: "check")
            let lock = try lock(files, location, toChange: words.flags != [] && words.flags != [jsonFlag])
            defer { withExtendedLifetime(lock) {} }
            return OfflineCheck(files: files, location: location, words).run(
                isFix: words.flags.contains(fixFlag), isRebase: words.flags.contains(rebaseFlag))
        } catch {
            let text = "cannot check \(CheckSummary.printable(words.directory)): \(error.text)"
            if words.flags.contains(jsonFlag) { _ = print(DirectoryCheck.uncheckedJSON(words.directory, text)) }
            return fail(text)
        }
    }

    private static func locate(
        _ files: RealFileSystem, _ path: String, for subcommand: String
    ) throws(ToolFailure) -> LogLocation {
        do throws(RecoveryError) {
            return try LogLocation(files: files, path: path)
        } catch {
            throw ToolFailure(text: error.reason(for: subcommand, path))
        }
    }

    private static func lock(
        _ files: RealFileSystem, _ location: LogLocation, toChange: Bool
    ) throws(ToolFailure) -> RealFileSystem.SharedLock {
        let lock: RealFileSystem.SharedLock
        do throws(StorageError) {
            if toChange {
                lock = try files.lock(location.lockPath).map { .held($0) } ?? .inUse
            } else {
                // A check without changes, maybe of a copy, must not create files.
                lock = try files.lockShared(location.lockPath)
            }
        } catch {
            throw ToolFailure(text: "it is unknown whether a server is using it: \(error)")
        }
        guard case .inUse = lock else { return lock }
        throw ToolFailure(
            text: "a server is running on it (it holds \(location.lockPath)); stop the server first, or use "
                + "`escapement dump DIR --summary`, which reads what it has written")
    }

    // MARK: dump

    /// Runs `escapement dump` with the arguments after that word. Takes no lock: for a running server it shows what has
    /// been written so far.
    ///
    /// - Returns: The exit code: 0 at the end, or if the reader has closed the pipe; 1 at damage; 2 wrong arguments.
    public static func dump(arguments: [String]) -> Int32 {
        if arguments.contains("--help") { return show(dumpUsage) }
        let words: OfflineArguments
        do throws(OfflineArguments.Failure) {
            words = try OfflineArguments(arguments, allowed: [summaryFlag])
        } catch {
            complain("escapement: dump: \(error.text)\n\(dumpSynopsis)")
            return 2
        }
        signal(SIGPIPE, SIG_IGN)
        let files = RealFileSystem()
        let location: LogLocation
        do throws(ToolFailure) {
            location = try locate(files, words.directory, for: "dump")
        } catch {
            return fail("cannot dump \(CheckSummary.printable(words.directory)): \(error.text)")
        }
        let now = EngineTime(WallInstant.now())
        let (check, isInUse) = DirectoryCheck.whileInUse(files: files, directory: location.directory, now: now)
        let context = CheckSummary.Context(
            path: words.directory, now: now, role: OfflineCheck.role(location), isInUse: isInUse)
        let summary = CheckSummary(check, context)
        guard !words.flags.contains(summaryFlag) else {
            return conclude(Array("\(summary.line)\n\(check.kindsText)\(check.text)".utf8), check.isClean)
        }
        let failure = print(check.dumpLine(summary: summary, isInUse: isInUse))
        guard failure == 0 else { return failure == EPIPE ? 0 : failOutput(failure) }
        return dump(files, check)
    }

    private static func dump(_ files: RealFileSystem, _ check: DirectoryCheck) -> Int32 {
        var failure: Int32 = 0
        do throws(RecoveryError) {
            let outcome = try RecordDump(files: files, check: check).run { bytes in
                failure = print(bytes)
                return failure == 0
            }
            if case .torn(let path, let position, let reason) = outcome {
                complain(
                    "escapement: \(path), byte \(position): torn tail, will be cut at start: the batch \(reason)\n")
            }
        } catch {
            let hint = check.isClean ? "; a server has replaced this file since the dump began, so run it again" : ""
            return fail("\(error)\(hint)")
        }
        return failure == 0 || failure == EPIPE ? 0 : failOutput(failure)
    }

    // MARK: Output

    /// Prints the findings. A reader that uses only the exit code may close the pipe early.
    static func conclude(_ output: [UInt8], _ isClean: Bool) -> Int32 {
        let failure = print(output)
        guard failure == 0 || failure == EPIPE else { return failOutput(failure) }
        return isClean ? 0 : 1
    }

    private static func show(_ text: String) -> Int32 { print(Array(text.utf8)) == 0 ? 0 : 1 }

    private static func failOutput(_ code: Int32) -> Int32 {
        fail("standard output: \(String(cString: strerror(code)))")
    }

    static func fail(_ text: String) -> Int32 {
        complain("escapement: \(text)\n")
        return 1
    }

    private static func complain(_ text: String) {
        try? FileDescriptor.standardError.writeAll(Array(text.utf8))
    }

    /// Writes all of it to standard output. Returns 0 or the kernel's error number.
    private static func print(_ bytes: [UInt8]) -> Int32 { bytes.withUnsafeBytes { print($0) } }

    private static func print(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        do throws(SystemError) {
            try FileDescriptor.standardOutput.writeAll(bytes)
            return 0
        } catch {
            return error.code
        }
    }
}
