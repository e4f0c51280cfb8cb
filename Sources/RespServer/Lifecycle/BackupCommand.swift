// `escapement backup`: a consistent copy of a server's state, taken while it serves.
//
// The copy is what a replica has after a full sync, and a replica is what takes it: this program starts itself on the
// new directory, follows the server until it has everything, saves, and ends. So a backup has no code of its own for
// the protocol, the formats and the disk, and is verified with the code that a start uses.
//
// A signal that would end this program ends the copy first, and leaves nothing: a replica that was left running would
// follow the server forever. What no waiting mends, such as a wrong password, ends it at once (BackupSource). The copy
// has its final name only when it is complete and verified (BackupDirectory).
//
// Owns: the arguments, the process.

import CLinux
import Glibc
import Persistence
import RESP
import System

/// The subcommand `backup`.
public enum BackupCommand {
    private static let usage = """
        usage: escapement backup HOST:PORT DIR [--timeout SECONDS]

        Copies the complete state of a running server into DIR, which is created or must be empty, and verifies the
        copy. Until it is complete and verified its name is DIR.partial. A server that starts with `--dir DIR` continues
        from it. If the server has a password, set it in the environment variable ESCAPEMENT_PASSWORD. The time-out is
        an hour unless given.
        Exit code: 0 the copy is complete and verified, 1 it is not, and nothing is left of it, 2 wrong arguments

        """

    private static let passwordVariable = "ESCAPEMENT_PASSWORD"

    private struct Request {
        var address: ToolAddress
        var directory: String
        var timeout = Nanoseconds.seconds(3600)

        init(_ arguments: [String]) throws(ToolFailure) {
            let given = try ToolArguments(arguments, most: 2)
            guard let first = given.words.first else { throw ToolFailure(text: "no address is given") }
            address = try ToolArguments.address(first)
            guard address.path == nil else {
                throw ToolArguments.failure(
                    first, "a copy is taken over TCP, as by a replica, not over a socket: give HOST:PORT")
            }
            guard given.words.count == 2, !given.words[1].isEmpty else {
                throw ToolFailure(text: "no directory is given")
            }
            directory = given.words[1]
            guard let word = given.timeout else { return }
            guard let seconds = Int64(word), (1...86_400 * 7).contains(seconds) else {
                throw ToolArguments.failure(word, "the time-out is a number of seconds from 1 to 604800")
            }
            timeout = .seconds(seconds)
        }
    }

    private static var password: String? {
        getenv(passwordVariable).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Runs `escapement backup` with the arguments after that word.
    ///
    /// - Returns: The exit code.
    public static func run(arguments: [String]) -> Int32 {
        if arguments.contains("--help") {
            try? FileDescriptor.standardOutput.writeAll(Array(usage.utf8))
            return 0
        }
        let request: Request
        do throws(ToolFailure) {
            request = try Request(arguments)
        } catch {
            return ToolArguments.refuse("backup", error, usage: usage)
        }
        signal(SIGPIPE, SIG_IGN)
        do throws(ToolFailure) {
            // Told apart from a replica that waits for its primary.
            let patience = min(request.timeout, .seconds(10))
            try BackupSource.examine(request.address, password: password, until: SteadyInstant.now() + patience)
        } catch {
            return fail(request.address.text, error)
        }
        let interruptions = Interruptions()
        let directory: BackupDirectory
        do throws(ToolFailure) {
            directory = try BackupDirectory(request.directory)
        } catch {
            return fail(request.directory, error)
        }
        do throws(ToolFailure) {
            try copy(request, into: directory.partial, interruptions)
        } catch {
            directory.remove()
            return fail(request.address.text, error)
        }
        do throws(ToolFailure) {
            guard OfflineTools.check(arguments: [directory.partial]) == 0 else {
                throw ToolFailure(text: "the copy is not usable")
            }
            try interruptions.check()
            try directory.complete()
        } catch {
            directory.remove()
            return fail(request.directory, error)
        }
        let line = "\(BackupDirectory.shown(directory.path)): complete\n"
        try? FileDescriptor.standardOutput.writeAll(Array(line.utf8))
        return 0
    }

    private static func fail(_ subject: String, _ failure: ToolFailure) -> Int32 {
        StandardError.write("escapement: \(BackupDirectory.shown(subject)): \(failure.text)\n")
        return 1
    }

    // MARK: The replica

    private static func copy(
        _ request: Request, into directory: String, _ interruptions: Interruptions
    ) throws(ToolFailure) {
        do throws(ToolFailure) {
            try copyUninterrupted(request, into: directory, interruptions)
        } catch {
            // A signal from a terminal ends the replica as well, which may be noticed first.
            try interruptions.check()
            throw error
        }
    }

    private static func copyUninterrupted(
        _ request: Request, into directory: String, _ interruptions: Interruptions
    ) throws(ToolFailure) {
        let deadline = SteadyInstant.now() + request.timeout
        let place = try temporaryDirectory()
        defer { BackupDirectory.remove(place) }
        let replica = try start(request, into: directory, place)
        defer { replica.end() }
        let connection = try connect("\(place)/socket", to: replica, until: deadline, interruptions)
        // It has been read. It may contain the password, and remains if this program is killed.
        unlink(configuration(place))
        var reported = ""
        while try !isSaved(connection) {
            let line = replica.lastLine(place)
            guard replica.isRunning else { throw ToolFailure(text: "the copy ended early: \(line)") }
            guard SteadyInstant.now() < deadline else {
                throw ToolFailure(text: "no copy within the time-out: \(line)")
            }
            try interruptions.check()
            try report(line, &reported)
            Thread.sleep(.milliseconds(50))
        }
        // The reply is the end of the connection.
        _ = try? connection.call("SHUTDOWN", "NOSAVE")
        replica.wait()
        // The copy begins a history of its own, as a primary.
        unlink("\(directory)/\(RoleFile.name)")
    }

    /// Prints a warning of the replica, such as why it has no link, unless it is a repetition of the last one. The
    /// server may become available within the time-out, so this is not the end, unless the server itself has refused
    /// for a reason that remains.
    private static func report(_ line: String, _ reported: inout String) throws(ToolFailure) {
        guard let start = line.firstRange(of: " warning ")?.upperBound else { return }
        let text = String(line[start...])
        let cause = String(text.prefix(upTo: text.firstRange(of: " attempts=")?.lowerBound ?? text.endIndex))
        guard cause != reported else { return }
        if let refusal = BackupSource.lastingRefusal(in: cause) { throw refusal }
        reported = cause
        StandardError.write("escapement: waiting: \(text)\n")
    }

    /// Whether the replica has received everything, and has just written all of it into a snapshot.
    private static func isSaved(_ connection: ToolConnection) throws(ToolFailure) -> Bool {
        let fields = try connection.call("INFO", "replication").text ?? ""
        let hasEverything = ["master_link_status:up", "master_sync_in_progress:0"].allSatisfy {
            fields.contains("\r\n\($0)\r\n")
        }
        guard hasEverything else { return false }
        guard case .error(let text) = try connection.call("SAVE") else { return true }
        // A replica saves by itself after a full sync.
        guard text.contains("in progress") else { throw ToolFailure(text: "the copy cannot be saved: \(text)") }
        return false
    }

    private static func temporaryDirectory() throws(ToolFailure) -> String {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var path = Array("\(parent)/escapement-backup-XXXXXX".utf8CString)
        guard mkdtemp(&path) != nil else {
            throw ToolFailure(text: "no directory in \(parent): \(SystemError.text(errno))")
        }
        return String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func configuration(_ place: String) -> String { "\(place)/escapement.conf" }

    /// Starts this program as a replica without a port, whose settings only this user can read.
    private static func start(
        _ request: Request, into directory: String, _ place: String
    ) throws(ToolFailure) -> Replica {
        var settings = """
            dir \(ConfigWord.quoted(directory))
            port 0
            unixsocket \(ConfigWord.quoted("\(place)/socket"))
            logfile \(ConfigWord.quoted("\(place)/log"))
            replicaof \(ConfigWord.quoted(request.address.host)) \(request.address.port)
            replica-serve-stale-data no
            maxmemory 0

            """
        if let password { settings += "masterauth \(ConfigWord.quoted(password))\n" }
        let path = configuration(place)
        do throws(SystemError) {
            let file = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
            defer { file.close() }
            try file.writeAll(Array(settings.utf8))
        } catch {
            throw ToolFailure(text: "\(path): \(error)")
        }
        return try Replica(configuration: path)
    }

    /// Connects to the replica, which answers also when the time for the copy is over.
    private static func connect(
        _ path: String, to replica: Replica, until deadline: SteadyInstant, _ interruptions: Interruptions
    ) throws(ToolFailure) -> ToolConnection {
        while true {
            try interruptions.check()
            do throws(ToolFailure) {
                return try ToolConnection(to: ToolAddress(path: path), until: deadline + .seconds(60))
            } catch {
                guard replica.isRunning, SteadyInstant.now() < deadline else { throw error }
                Thread.sleep(.milliseconds(20))
            }
        }
    }
}

/// Signals that would end this process, blocked from now on.
private struct Interruptions {
    private let signals = [SIGINT, SIGTERM, SIGHUP]

    init() {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        sigprocmask(SIG_BLOCK, &set, nil)
    }

    /// Throws if one of them has arrived.
    func check() throws(ToolFailure) {
        var pending = sigset_t()
        sigpending(&pending)
        guard !signals.contains(where: { sigismember(&pending, $0) == 1 }) else {
            throw ToolFailure(text: "the copy was interrupted")
        }
    }
}

/// The process that takes the copy. Ends with the object at the latest, and with this process.
private final class Replica {
    private let process: pid_t
    private var hasEnded = false

    init(configuration: String) throws(ToolFailure) {
        var program = [CChar](repeating: 0, count: Int(PATH_MAX))
        guard readlink("/proc/self/exe", &program, program.count - 1) > 0 else {
            throw ToolFailure(text: "/proc/self/exe: \(SystemError.text(errno))")
        }
        let words: [UnsafeMutablePointer<CChar>?] = ["escapement", configuration].map { (word: String) in strdup(word) }
        defer { for word in words { free(word) } }
        var vector = words + [nil]
        let process = clinux_start_tied(program, &vector)
        guard process > 0 else { throw ToolFailure(text: "cannot start the copy: \(SystemError.text(errno))") }
        self.process = process
    }

    /// Whether it has not ended.
    var isRunning: Bool {
        if !hasEnded, waitpid(process, nil, WNOHANG) != 0 { hasEnded = true }
        return !hasEnded
    }

    /// Waits for its end.
    func wait() {
        if !hasEnded { waitpid(process, nil, 0) }
        hasEnded = true
    }

    /// Ends it at once if it still runs.
    func end() {
        guard isRunning else { return }
        kill(process, SIGKILL)
        wait()
    }

    /// The last line of its log, which says why there is no copy.
    func lastLine(_ place: String) -> String {
        guard let file = try? FileDescriptor.open("\(place)/log", O_RDONLY) else { return "no log" }
        defer { file.close() }
        let bytes = (try? file.readAll(limit: 1 << 20)) ?? []
        let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n").last ?? "no log"
        return SettingError.printable(String(line), lengthMax: 512)
    }
}
