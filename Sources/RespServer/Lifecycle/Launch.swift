// The path from the command line to a running server and back to an exit code: what `main` calls.

import Glibc
import LimiterEngine
import Persistence
import System
import Transport

/// How the program was built, for `--version`.
public struct BuildDescription: Sendable {
    /// The commit, with `+changes` after it if there were any; empty if unknown.
    let revision: String
    /// The compiler's name and version; empty if unknown.
    let compiler: String

    /// What the build knows of itself; a text may be empty.
    public init(revision: String, compiler: String) {
        self.revision = revision
        self.compiler = compiler
    }

    /// One line: version, revision, compiler and traits.
    var text: String {
        let revision = revision.isEmpty ? "" : " (revision \(revision))"
        let compiler = compiler.isEmpty ? "" : ", built with \(compiler)"
        return "escapement \(Escapement.version)\(revision)\(compiler), traits: none"
    }
}

/// The program.
public enum Escapement {
    /// The version that INFO, `--version` and the first line of the log show.
    public static let version = "0.2.0"
    /// The Redis version whose behaviour clients may expect.
    static let redisVersion = "7.2.4"

    /// Runs the program with these arguments (without the program's own name) until it is told to stop.
    ///
    /// - Returns: The exit code: 0 after an orderly stop; 1 if the server could not start, with the reason on standard
    ///   error in one line.
    public static func run(arguments: [String], build: BuildDescription) -> Int32 {
        if arguments == ["--print-command-docs"] {
            print(CommandManual.limiterPage(), terminator: "")
            return 0
        }
        if arguments == ["--print-redis-command-docs"] {
            print(CommandManual.redisPage(), terminator: "")
            return 0
        }
        if arguments == ["--print-metrics-docs"] {
            print(MetricsDocs.markdown(), terminator: "")
            return 0
        }
        switch arguments.first {
        case "check": return OfflineTools.check(arguments: Array(arguments.dropFirst()))
        case "backup": return BackupCommand.run(arguments: Array(arguments.dropFirst()))
        case "import": return ConfigImport.run(arguments: Array(arguments.dropFirst()))
        case "ping": return PingCommand.run(arguments: Array(arguments.dropFirst()))
        case "dump": return OfflineTools.dump(arguments: Array(arguments.dropFirst()))
        default: break
        }
        switch LaunchRequest(arguments) {
        case .help: print(ConfigText.help(), terminator: "")
        case .version: print(build.text)
        case .printConfig: print(ConfigText.defaultFile(), terminator: "")
        case .failure(let text): return fail(text)
        case .run(let launch): return serve(launch)
        }
        return 0
    }

    /// Reports on standard error why the program does not run.
    ///
    /// - Returns: The exit code.
    public static func refuse(_ text: String) -> Int32 { fail(text) }

    private static func fail(_ text: String) -> Int32 {
        StandardError.write("\(StandardError.isJournal ? "<3>" : "")escapement: \(text)\n")
        return 1
    }

    private static func serve(_ launch: LaunchRequest.Launch) -> Int32 {
        let settings = launch.settings
        ControlThread.blockSignals()
        let log: Log
        do throws(LogFileError) {
            log = try Log(path: settings.logfile, level: settings.loglevel, format: settings.logFormat)
        } catch {
            return fail("\(error.text)")
        }
        log.start()
        let outcome = serve(launch, log)
        log.flush(atMost: logPatience)
        if let failure = outcome.failure { return fail(failure) }
        return outcome.isSafe ? 0 : 1
    }

    /// Maximum time for writing the log's last lines.
    private static let logPatience = Nanoseconds.seconds(2)

    /// How serving ended: with everything on disk or not, or why it never began.
    private struct Outcome {
        var isSafe = false
        var failure: String?

        static func fail(_ text: String) -> Outcome { Outcome(failure: text) }
    }

    private static func serve(_ launch: LaunchRequest.Launch, _ log: Log) -> Outcome {
        let settings = launch.settings
        let lock: any DirectoryLock
        do throws(DataDirectoryError) {
            lock = try Storage.lock(settings)
        } catch {
            return .fail("dir: \(error.text)")
        }
        ZoneLoading.load(settings.zoneinfo, log: log)
        if let problem = problemOfRules(settings) { return .fail(problem) }
        if let problem = settings.contradiction { return .fail("\(problem.setting): \(problem.text)") }
        let openFiles = OpenFiles(settings)
        if let problem = openFiles.prepare(maxclients: settings.maxclients, log: log) { return .fail(problem) }
        do {
            let current = CurrentSettings(settings, changed: launch.flagNames, file: launch.configPath)
            let server = try Server(settings: current, log: log, openFiles: openFiles)
            // Detached threads use it until the process ends.
            _ = Unmanaged.passRetained(server)
            let listeners = try listen(settings)
            return serve(server, listeners, Storage(server: server, lock: lock))
        } catch let error as ListenError {
            return .fail(error.text)
        } catch {
            return .fail("\(error)")
        }
    }

    /// Why the rules file cannot be used; nil if the file on its own is valid.
    private static func problemOfRules(_ settings: Settings) -> String? {
        guard !settings.rulesFile.isEmpty else { return nil }
        do throws(RulesFileError) {
            _ = try RulesFile(path: settings.rulesFile)
            return nil
        } catch {
            return "rules-file: \(error.text)"
        }
    }

    private static func listen(_ settings: Settings) throws(ListenError) -> [Listener] {
        var listeners: [Listener] = []
        let ports: [(port: Int, words: [String], kind: Listener.Kind)] = [
            (settings.port, settings.bind, .resp), (settings.httpPort, settings.httpBind, .http),
            (settings.adminPort, settings.adminBind, .admin),
        ]
        for (port, words, kind) in ports where port > 0 {
            for address in Settings.addresses(words) {
                do throws(ListenError) {
                    listeners.append(
                        try Listener(
                            .tcp(host: address.host, port: port), kind: kind, security: .plain,
                            backlog: settings.tcpBacklog))
                } catch {
                    if !address.mayFail { throw error }
                }
            }
        }
        if !settings.unixsocket.isEmpty {
            listeners.append(
                try Listener(
                    .unix(path: settings.unixsocket, mode: settings.unixsocketperm), kind: .resp, security: .plain,
                    backlog: settings.tcpBacklog))
        }
        guard !listeners.isEmpty else {
            throw ListenError(
                text: "nothing to listen on: port is 0 and unixsocket is not set, or no bind address is usable")
        }
        return listeners
    }

    private static func serve(_ server: Server, _ listeners: [Listener], _ storage: Storage) -> Outcome {
        server.startLoops()
        let settings = server.currentSettings.value
        server.log.notice(
            "server started",
            [
                "version": "\(version)", "pid": .integer(Int(getpid())), "port": .integer(settings.port),
                "bind": "\(settings.bind.joined(separator: " "))", "io_threads": .integer(server.loops.count),
                "shards": .integer(settings.shards),
            ])
        for (name, port, bind) in [
            ("admin", settings.adminPort, settings.adminBind), ("http", settings.httpPort, settings.httpBind),
        ] where port > 0 {
            server.log.notice(
                "listening for HTTP",
                ["listener": "\(name)", "port": .integer(port), "bind": "\(bind.joined(separator: " "))"])
        }
        var control = ControlThread(server: server, listeners: listeners)
        storage.start()
        server.serviceManager?.start(for: server)
        SweepThread.start(for: server)
        let isSafe = control.run(storage: storage)
        if let failure = server.shutdownRequest?.failure { return .fail(failure) }
        var fields: LogFields = ["everything_on_disk": isSafe && server.keepsState ? "yes" : "no"]
        if !server.keepsState { fields.append("because", "there is no log (appendonly), and no snapshot was taken") }
        server.log.notice("server stopped", fields)
        return Outcome(isSafe: isSafe)
    }
}

extension Server {
    /// Whether a snapshot is taken at the end.
    var savesAtEnd: Bool { shutdownRequest?.savesSnapshot ?? !currentSettings.value.save.rules.isEmpty }

    /// Whether the disk has the state after an orderly end. One that is still being loaded has not changed.
    fileprivate var keepsState: Bool { isLoading || currentSettings.value.appendonly || savesAtEnd }
}
