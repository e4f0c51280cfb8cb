// The subcommands that examine a directory without a server: `escapement check` and `escapement dump`.
//
// Owns: their arguments, their output and their exit codes. Persistence verifies the directory, with the decoders that
// startup uses.

import Glibc
import LimiterEngine
import Persistence
import Replication
import System

/// The subcommands that need no server.
public enum OfflineTools {
    private static let checkUsage = """
        usage: escapement check DIR [--fix | --rebase-clock] [--json]

        Verifies the log and the snapshot in DIR, a data directory or a log directory. No server may be running.
          --fix           truncates a damaged log after its last valid batch; files changed or dropped are kept as
                          NAME.damaged-N
          --rebase-clock  moves every time back by as much as the last one is ahead of this machine's clock, so
                          no spent unit is forgotten; the old files are kept as NAME.before-rebase-N
          --json          one JSON object on one line
        Exit code: 0 a server can start from it (after a repair: now), 1 it cannot, 2 wrong arguments

        """
    private static let dumpUsage = """
        usage: escapement dump DIR

        Prints every record of the snapshot and the log in DIR, a data directory or a log directory, one JSON object per
        line. A server may be running.
        Exit code: 0 every record was printed, 1 stopped at damage, 2 wrong arguments

        """

    // MARK: check

    /// Runs `escapement check` with the arguments after that word.
    ///
    /// - Returns: The exit code: 0 clean, 1 damaged or unusable, 2 wrong arguments.
    public static func check(arguments: [String]) -> Int32 {
        if arguments.contains("--help") { return show(checkUsage) }
        let flags = arguments.filter { $0.hasPrefix("--") }
        let paths = arguments.filter { !$0.hasPrefix("--") }
        let changes = flags.filter { $0 != "--json" }.compactMap(Change.init(rawValue:))
        guard paths.count == 1, !paths[0].isEmpty, Set(changes).count < 2,
            flags.count == changes.count + flags.count(where: { $0 == "--json" })
        else {
            complain(checkUsage)
            return 2
        }
        signal(SIGPIPE, SIG_IGN)
        do throws(RecoveryError) {
            return try check(paths[0], changes.first, asJSON: flags.contains("--json"))
        } catch {
            return fail("\(error)")
        }
    }

    /// The change that a check makes.
    private enum Change: String {
        case fix = "--fix"
        case rebaseClock = "--rebase-clock"
    }

    private static func check(_ path: String, _ change: Change?, asJSON: Bool) throws(RecoveryError) -> Int32 {
        let files = RealFileSystem()
        let location = try LogLocation(files: files, path: path)
        let lock: RealFileSystem.SharedLock
        do throws(StorageError) {
            if change != nil {
                lock = try files.lock(location.lockPath).map { .held($0) } ?? .inUse
            } else {
                // A check without changes, maybe of a copy, must not create files.
                lock = try files.lockShared(location.lockPath)
            }
        } catch {
            return fail("cannot verify that no server is using it: \(error)")
        }
        if case .inUse = lock {
            return fail("a server is running on \(location.directory): it holds \(location.lockPath)")
        }
        defer { withExtendedLifetime(lock) {} }

        let found = DirectoryCheck(files: files, directory: location.directory)
        switch change {
        case nil: return conclude(asJSON ? found.json() + [0x0A] : Array(found.text.utf8), found.isClean)
        case .fix: return fix(found, files, asJSON: asJSON)
        case .rebaseClock: return rebase(found, files, asJSON: asJSON)
        }
    }

    private static func fix(_ found: DirectoryCheck, _ files: RealFileSystem, asJSON: Bool) -> Int32 {
        do throws(DirectoryRepair.Failure) {
            let repair = try DirectoryRepair(files: files, check: found)
            let now = repair == nil ? found : DirectoryCheck(files: files, directory: found.directory)
            let text = repair.map { found.text + $0.text + now.text } ?? found.text
            return conclude(asJSON ? now.json(repair: repair) + [0x0A] : Array(text.utf8), now.isClean)
        } catch {
            _ = conclude(asJSON ? found.json() + [0x0A] : Array(found.text.utf8), false)
            return fail(error.text)
        }
    }

    private static func rebase(_ found: DirectoryCheck, _ files: RealFileSystem, asJSON: Bool) -> Int32 {
        var generator = SystemRandomNumberGenerator()
        // A state that belonged to no primary still belongs to none after the shift.
        let isUnowned = found.manifest?.history == ReplicationID.unowned.text
        let history = isUnowned ? ReplicationID.unowned : ReplicationID(using: &generator)
        let wall = EngineTime(WallInstant.now())
        do throws(ClockRebase.Failure) {
            let rebase = try ClockRebase(
                files: files, check: found, now: wall, history: history.text)
            let now = rebase == nil ? found : DirectoryCheck(files: files, directory: found.directory)
            guard !asJSON else { return conclude(now.json(rebase: rebase) + [0x0A], now.isClean) }
            var text = "the last time in the files is \(timestamp(found.lastTime)), the clock says \(timestamp(wall))\n"
            if let rebase {
                text += "moved back by \(rebase.shift.secondsRoundedDown) s\n"
                for name in rebase.copies { text += "kept \(name)\n" }
            } else {
                text += "the files are not ahead of the clock; nothing was changed\n"
            }
            return conclude(Array((text + now.text).utf8), now.isClean)
        } catch {
            _ = conclude(asJSON ? found.json() + [0x0A] : Array(found.text.utf8), false)
            return fail(error.text)
        }
    }

    private static func timestamp(_ time: EngineTime) -> String { LogLine.timestamp(time.nanoseconds / 1_000_000) }

    /// Prints the findings. A reader that uses only the exit code may close the pipe early.
    private static func conclude(_ output: [UInt8], _ isClean: Bool) -> Int32 {
        let failure = print(output)
        guard failure == 0 || failure == EPIPE else { return failOutput(failure) }
        return isClean ? 0 : 1
    }

    // MARK: dump

    /// Runs `escapement dump` with the arguments after that word. Takes no lock: for a running server it shows what has
    /// been written so far.
    ///
    /// - Returns: The exit code: 0 at the end, or if the reader has closed the pipe; 1 at damage; 2 wrong arguments.
    public static func dump(arguments: [String]) -> Int32 {
        if arguments.contains("--help") { return show(dumpUsage) }
        guard arguments.count == 1, !arguments[0].isEmpty, !arguments[0].hasPrefix("--") else {
            complain(dumpUsage)
            return 2
        }
        signal(SIGPIPE, SIG_IGN)
        var failure: Int32 = 0
        do throws(RecoveryError) {
            let files = RealFileSystem()
            let location = try LogLocation(files: files, path: arguments[0])
            let outcome = try RecordDump(files: files, directory: location.directory).run { bytes in
                failure = print(bytes)
                return failure == 0
            }
            if case .torn(let path, let position, let reason) = outcome {
                complain(
                    "escapement: \(path), byte \(position): torn tail, will be cut at start: the batch \(reason)\n")
            }
        } catch {
            return fail("\(error)")
        }
        return failure == 0 || failure == EPIPE ? 0 : failOutput(failure)
    }

    // MARK: Output

    private static func show(_ text: String) -> Int32 { print(Array(text.utf8)) == 0 ? 0 : 1 }

    private static func failOutput(_ code: Int32) -> Int32 {
        fail("standard output: \(String(cString: strerror(code)))")
    }

    private static func fail(_ text: String) -> Int32 {
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
