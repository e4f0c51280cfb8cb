// SIGHUP's reading of the rules file: on a thread of its own, since a file of 100,000 rules takes half a second and the
// thread that hears signals also accepts connections. Never two at a time; what comes while one is under way is one
// more.

import Synchronization

/// Reads the rules file when asked to, and tells the log how that went. Thread-safe.
final class RulesReload: Sendable {
    private let server: Server
    /// Requests that no reading has taken up, and those of the one under way.
    private let requests = Atomic<Int>(0)

    init(server: Server) { self.server = server }

    /// Has the file read as it is now or later, and returns.
    func request() {
        guard requests.add(1, ordering: .acquiringAndReleasing).oldValue == 0 else { return }
        Thread.detach(name: "rules") { [self] in
            var taken: Int
            repeat {
                taken = requests.load(ordering: .acquiring)
                read()
            } while requests.subtract(taken, ordering: .acquiringAndReleasing).newValue > 0
        }
    }

    private func read() {
        // The start reads the file once more when the state is there.
        guard !server.isLoading else { return }
        guard !server.replication.isReplica else {
            if !server.currentSettings.value.rulesFile.isEmpty {
                server.log.notice("rules file not read: policies and rules come from the primary")
            }
            return
        }
        do throws(RulesFileError) {
            guard let counts = try server.loadRulesFile(now: server.clock.now(), checksRole: true) else { return }
            server.log.notice(
                "rules file loaded", ["policies": .integer(counts.policies), "rules": .integer(counts.rules)])
        } catch {
            server.log.warning("rules file not taken; policies and rules stay as they were", ["error": "\(error.text)"])
        }
    }
}
