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

    private enum Work: Sendable {
        case answer(Job, PendingReply)
        /// SIGHUP: the time zones and the rules file; no client waits.
        case reloadRules
    }

    private struct Queue {
        var work: [Work] = []
        var isThreadRunning = false
    }

    private let queue = Locked(Queue(), rank: .mailbox)

    /// Queues a job, which answers when it is done. Returns at once.
    func submit(_ job: Job, for reply: PendingReply, _ server: Server) { add(.answer(job, reply), for: server) }

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
            case .answer(let job, let pending): answer(job, pending, server)
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

    private func answer(_ job: Job, _ pending: PendingReply, _ server: Server) {
        let reply = ReplyBuffer(capacity: 256)
        reply.version = pending.version
        var hasChanged = false
        switch job {
        case .rewriteConfiguration: server.rewriteConfiguration(reply)
        case .reloadRules(let force, let client):
            server.reloadZones()
            hasChanged = server.reloadRules(reply, force: force, client: client)
        case .saveOverrides: server.saveOverrides()
        }
        pending.answer(Array(reply.bytes), hasChanged: hasChanged)
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
