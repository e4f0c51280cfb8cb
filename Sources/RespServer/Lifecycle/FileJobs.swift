// Work that waits for files, on a thread of its own: writing the configuration file, reading the rules file and the
// time zones, and storing the commands' overrides of it.
//
// Owns: the order of that work, which is the order of the requests, and its replies. Neither a loop nor the thread that
// handles signals ever waits for a file, however slow its disk; a client waits only for its own request.

import LimiterEngine
import RESP
import Synchronization
import System

/// Performs the server's file operations. Thread-safe.
final class FileJobs: Sendable {
    enum Job: Sendable {
        /// CONFIG REWRITE.
        case rewriteConfiguration
        /// RL.RULE RELOAD, requested by a client with this address.
        case reloadRules(force: Bool, client: String)
        /// A command has overridden or removed an entry of the rules file. Has no reply: the command has replied
        /// already.
        case saveOverrides
    }

    /// The work requested by one command or one transaction.
    struct Request: Sendable {
        let jobs: [Job]
        /// The bytes of the reply before each job's reply, and those after the last.
        let pieces: [[UInt8]]
        let version: ProtocolVersion
        /// The command has also changed data in memory.
        let hasChanged: Bool
        /// The connection that waits for the reply.
        let connection: Connection
    }

    private enum Work: Sendable {
        case answer(Request)
        /// SIGHUP: the time zones and the rules file; no client waits.
        case reloadRules
    }

    private struct Queue {
        var work: [Work] = []
        var isThreadRunning = false
    }

    private let queue = Locked(Queue(), rank: .mailbox)

    /// Queues work; the connection gets its reply when it is done. Returns at once.
    func submit(_ request: Request) { add(.answer(request), for: request.connection.loop.server) }

    /// Requests a reload of the rules file. Returns at once. A queued reload that has not begun serves all requests
    /// made meanwhile.
    func reloadRules(of server: Server) {
        let isPending = queue.withLock { queue in
            queue.work.contains { if case .reloadRules = $0 { true } else { false } }
        }
        if !isPending { add(.reloadRules, for: server) }
    }

    private func add(_ work: Work, for server: Server) {
        let startsThread = queue.withLock { queue in
            queue.work.append(work)
            defer { queue.isThreadRunning = true }
            return !queue.isThreadRunning
        }
        if startsThread { Thread.detach(name: "files") { [self] in run(server) } }
    }

    /// The thread exits when the queue is empty.
    private func run(_ server: Server) {
        while let work = next() {
            switch work {
            case .answer(let request): answer(request, server)
            case .reloadRules:
                server.serviceManager?.reloading()
                server.reloadZones()
                server.reloadRulesForSignal()
                server.serviceManager?.reloaded(server)
            }
        }
    }

    private func next() -> Work? {
        queue.withLock { queue in
            guard !queue.work.isEmpty else {
                queue.isThreadRunning = false
                return nil
            }
            return queue.work.removeFirst()
        }
    }

    private func answer(_ request: Request, _ server: Server) {
        let reply = ReplyBuffer(capacity: 256)
        reply.version = request.version
        var hasChanged = request.hasChanged
        for (job, piece) in zip(request.jobs, request.pieces) {
            reply.append(piece)
            switch job {
            case .rewriteConfiguration: server.rewriteConfiguration(reply)
            case .reloadRules(let force, let client):
                server.reloadZones()
                hasChanged = server.reloadRules(reply, force: force, client: client) || hasChanged
            case .saveOverrides: server.saveOverrides()
            }
        }
        reply.append(request.pieces[request.jobs.count])
        let loop = request.connection.loop
        loop.mailbox.post(.filesDone(request.connection, Array(reply.bytes), hasChanged: hasChanged))
    }
}

extension Server {
    /// Rewrites the configuration file, and answers CONFIG REWRITE.
    fileprivate func rewriteConfiguration(_ reply: ReplyBuffer) {
        guard let file = currentSettings.file else {
            return reply.error("ERR The server is running without a config file")
        }
        do throws(ConfigFileError) {
            let old = try ConfigFile.read(file, isRegular: true)
            let new = ConfigRewrite.text(old, settings: currentSettings.value, changed: currentSettings.changed)
            try ConfigFile.replace(file, with: new)
        } catch {
            log.warning("CONFIG REWRITE failed", ["error": "\(error.text)"])
            return reply.error("ERR Rewriting config file: \(error.text)")
        }
        log.notice("CONFIG REWRITE done", ["file": "\(file)"])
        reply.ok()
    }

    /// Reloads the time zones, since the rules file may refer to them.
    fileprivate func reloadZones() { ZoneLoading.load(currentSettings.value.zoneinfo, log: log) }

    /// Reads the rules file and answers RL.RULE RELOAD. Returns whether policies and rules may have changed.
    fileprivate func reloadRules(_ reply: ReplyBuffer, force: Bool, client: String) -> Bool {
        do throws(RulesFileError) {
            guard let report = try loadRulesFile(now: clock.now(), force: force, checksRole: true) else {
                reply.error("ERR rules-file is not set")
                return false
            }
            log(report, client: client)
            PolicyReply.report(report, to: reply)
            return true
        } catch {
            reply.error("ERR \(error.text)")
            return false
        }
    }

    /// Reloads the rules file on SIGHUP, and logs the result.
    fileprivate func reloadRulesForSignal() {
        // Startup reads the file again once the state is loaded.
        guard !isLoading else { return }
        guard !replication.isReplica else {
            if !currentSettings.value.rulesFile.isEmpty {
                log.notice("rules file not read: policies and rules come from the primary")
            }
            return
        }
        do throws(RulesFileError) {
            if let report = try loadRulesFile(now: clock.now(), checksRole: true) { log(report) }
        } catch {
            log.warning("rules file rejected; policies and rules are unchanged", ["error": "\(error.text)"])
        }
    }
}
