// `escapement backup`: a consistent copy of a server's state, taken while it serves.
//
// The copy is what a replica has after a full sync, and a replica is what takes it: this program starts itself on the
// new directory, follows the server until it has everything, saves, and ends. So a backup has no code of its own for
// the protocol, the formats and the disk, and is verified with the code that a start uses.
//
// A signal that would end this program ends the copy first, and leaves nothing: a replica that was left running would
// follow the server forever.
//
// Owns: the arguments, the directory until it is complete, the process. Refuses a directory that contains anything.

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
        copy. A server that starts with `--dir DIR` continues from it. If the server has a password, set it in the
        environment variable ESCAPEMENT_PASSWORD. The time-out is an hour unless given.
        Exit code: 0 the copy is complete and verified, 1 it is not, and DIR is removed, 2 wrong arguments

        """

    private static let passwordVariable = "ESCAPEMENT_PASSWORD"

    private struct Request {
        var address: ToolAddress
        var directory: String
        var timeout = Nanoseconds.seconds(3600)

        init?(_ words: [String]) {
            guard words.count == 2 || words.count == 4, let address = ToolAddress(words[0]), address.path == nil,
                !words[1].isEmpty, !words[1].hasPrefix("--")
            else { return nil }
            self.address = address
            directory = words[1]
            guard words.count == 4 else { return }
            guard words[2] == "--timeout", let seconds = Int64(words[3]), (1...86_400 * 7).contains(seconds) else {
                return nil
            }
            timeout = .seconds(seconds)
        }
    }

    /// Runs `escapement backup` with the arguments after that word.
    ///
    /// - Returns: The exit code.
    public static func run(arguments: [String]) -> Int32 {
        if arguments.contains("--help") {
            try? FileDescriptor.standardOutput.writeAll(Array(usage.utf8))
            return 0
        }
        guard let request = Request(arguments) else {
            StandardError.write(usage)
            return 2
        }
        signal(SIGPIPE, SIG_IGN)
        do throws(ToolFailure) {
            try claim(request.directory)
        } catch {
            StandardError.write("escapement: \(request.directory): \(error.text)\n")
            return 1
        }
        do throws(ToolFailure) {
            // Told apart from a replica that waits for its primary.
            _ = try ToolConnection(to: request.address, until: SteadyInstant.now() + .seconds(10))
            try copy(request)
        } catch {
            remove(request.directory)
            StandardError.write("escapement: \(request.address.text): \(error.text)\n")
            return 1
        }
        return OfflineTools.check(arguments: [request.directory])
    }

    // MARK: The directory

    /// Creates the directory, or makes sure that it is empty.
    private static func claim(_ path: String) throws(ToolFailure) {
        if mkdir(path, 0o700) == 0 { return }
        guard errno == EEXIST else { throw ToolFailure(text: SystemError.text(errno)) }
        guard let names = names(in: path) else { throw ToolFailure(text: SystemError.text(errno)) }
        if let name = names.first {
            throw ToolFailure(text: "the directory is not empty: it contains \(SettingError.printable(name))")
        }
    }

    /// The entries of a directory; nil if it cannot be read.
    private static func names(in path: String) -> [String]? {
        guard let directory = opendir(path) else { return nil }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Removes what an incomplete copy has left: everything in the directory was written by this program.
    private static func remove(_ path: String) {
        for name in names(in: path) ?? [] {
            // A directory's own entries first; anything else has none.
            if unlink("\(path)/\(name)") != 0 { remove("\(path)/\(name)") }
        }
        rmdir(path)
    }

    // MARK: The replica

    private static func copy(_ request: Request) throws(ToolFailure) {
        let deadline = SteadyInstant.now() + request.timeout
        let interruptions = Interruptions()
        defer { interruptions.allow() }
        let place = try temporaryDirectory()
        defer { remove(place) }
        let replica = try start(request, in: place)
        defer { replica.end() }
        let connection = try connect("\(place)/socket", to: replica, until: deadline, interruptions)
        var reported = ""
        while try !isSaved(connection) {
            let line = replica.lastLine(place)
            guard replica.isRunning else { throw ToolFailure(text: "the copy ended early: \(line)") }
            guard SteadyInstant.now() < deadline else {
                throw ToolFailure(text: "no copy within the time-out: \(line)")
            }
            try interruptions.check()
            report(line, &reported)
            Thread.sleep(.milliseconds(50))
        }
        // The reply is the end of the connection.
        _ = try? connection.call("SHUTDOWN", "NOSAVE")
        replica.wait()
        // The copy begins a history of its own, as a primary.
        unlink("\(request.directory)/\(RoleFile.name)")
    }

    /// Prints a warning of the replica, such as why it has no link, unless it is a repetition of the last one. The
    /// server may become available within the time-out, so this is not the end.
    private static func report(_ line: String, _ reported: inout String) {
        guard let start = line.firstRange(of: " warning ")?.upperBound else { return }
        let text = String(line[start...])
        let cause = String(text.prefix(upTo: text.firstRange(of: " attempts=")?.lowerBound ?? text.endIndex))
        guard cause != reported else { return }
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

    /// Starts this program as a replica without a port, whose settings only this user can read.
    private static func start(_ request: Request, in place: String) throws(ToolFailure) -> Replica {
        var settings = """
            dir \(ConfigWord.quoted(request.directory))
            port 0
            unixsocket \(ConfigWord.quoted("\(place)/socket"))
            logfile \(ConfigWord.quoted("\(place)/log"))
            replicaof \(ConfigWord.quoted(request.address.host)) \(request.address.port)
            replica-serve-stale-data no
            maxmemory 0

            """
        if let password = getenv(passwordVariable).map({ String(cString: $0) }), !password.isEmpty {
            settings += "masterauth \(ConfigWord.quoted(password))\n"
        }
        let path = "\(place)/escapement.conf"
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

/// Signals that would end this process, blocked until `allow`.
private struct Interruptions {
    private let signals = [SIGINT, SIGTERM, SIGHUP]
    private let blocked: sigset_t

    init() {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        blocked = set
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

    func allow() {
        // One that has arrived has had its effect.
        for signal in signals { Glibc.signal(signal, SIG_IGN) }
        var set = blocked
        sigprocmask(SIG_UNBLOCK, &set, nil)
        for signal in signals { Glibc.signal(signal, SIG_DFL) }
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
