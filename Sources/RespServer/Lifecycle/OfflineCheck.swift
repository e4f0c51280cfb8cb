// One run of `escapement check`, with the directory's lock held: check, change if asked to, check again, print.
//
// Owns: the order of the output. Its first line is the summary, whatever was asked for.

import LimiterEngine
import Persistence
import Replication
import System

/// A check of a directory, and the change that it makes.
struct OfflineCheck {
    private let files: RealFileSystem
    private let directory: String
    private let context: CheckSummary.Context
    private let isJSON: Bool

    init(files: RealFileSystem, location: LogLocation, _ words: OfflineArguments) {
        self.files = files
        directory = location.directory
        isJSON = words.flags.contains("--json")
        context = CheckSummary.Context(
            path: words.directory, now: EngineTime(WallInstant.now()), role: OfflineCheck.role(location))
    }

    /// The exit code.
    func run(isFix: Bool, isRebase: Bool) -> Int32 {
        let found = check()
        if isFix { return fix(found) }
        if isRebase { return rebase(found) }
        return conclude(found)
    }

    private func check() -> DirectoryCheck { DirectoryCheck(files: files, directory: directory, now: context.now) }

    /// Prints a check that changed nothing.
    private func conclude(_ found: DirectoryCheck, after action: CheckSummary.Action = .none) -> Int32 {
        let summary = CheckSummary(found, context, after: action)
        let output = isJSON ? found.json(summary: summary) + [0x0A] : Array("\(summary.line)\n\(found.text)".utf8)
        return OfflineTools.conclude(output, found.isClean)
    }

    private func fix(_ found: DirectoryCheck) -> Int32 {
        do throws(DirectoryRepair.Failure) {
            guard let repair = try DirectoryRepair(files: files, check: found) else {
                return conclude(found, after: .fix(nil))
            }
            let now = check()
            let summary = CheckSummary(now, context, after: .fix(repair))
            guard !isJSON else {
                return OfflineTools.conclude(now.json(summary: summary, repair: repair) + [0x0A], now.isClean)
            }
            let text = "\(summary.line)\n\nBefore:\n\(found.text)\nRepair:\n\(repair.text)\nAfter:\n\(now.text)"
            return OfflineTools.conclude(Array(text.utf8), now.isClean)
        } catch {
            _ = conclude(found)
            return OfflineTools.fail(error.text)
        }
    }

    private func rebase(_ found: DirectoryCheck) -> Int32 {
        var generator = SystemRandomNumberGenerator()
        // A state that belonged to no primary still belongs to none after the shift.
        let isUnowned = found.manifest?.history == ReplicationID.unowned.text
        let history = isUnowned ? ReplicationID.unowned : ReplicationID(using: &generator)
        do throws(ClockRebase.Failure) {
            let rebase = try ClockRebase(files: files, check: found, now: context.now, history: history.text)
            let now = rebase == nil ? found : check()
            let summary = CheckSummary(now, context, after: .rebase(rebase))
            guard !isJSON else {
                return OfflineTools.conclude(now.json(summary: summary, rebase: rebase) + [0x0A], now.isClean)
            }
            var text = "\(summary.line)\n"
            text += "the last time in the files was \(OfflineCheck.timestamp(found.lastTime)), "
            text += "the clock says \(OfflineCheck.timestamp(context.now))\n"
            if let rebase {
                text += "moved back by \(rebase.shift.secondsRoundedDown) s\n"
                for name in rebase.copies { text += "kept \(name)\n" }
            }
            return OfflineTools.conclude(Array((text + now.text).utf8), now.isClean)
        } catch {
            _ = conclude(found)
            return OfflineTools.fail(error.text)
        }
    }

    private static func timestamp(_ time: EngineTime) -> String {
        Timestamp.text(milliseconds: time.nanoseconds / 1_000_000)
    }

    /// The role with which a server starts from a data directory, if a file in it sets one.
    static func role(_ location: LogLocation) -> String? {
        let source = "(set by its file \(RoleFile.name), which overrides replicaof)"
        // A server that cannot read the file uses its settings.
        switch try? RoleFile.read(directory: location.dataDirectory) {
        case .role(.replica(let address)), .handingOver(let address):
            let host = address.host.contains(":") ? "[\(address.host)]" : address.host
            return "as a replica of \(host):\(address.port) \(source)"
        case .role(.primary): return "as a primary \(source)"
        case .configured, .configuredReplica, nil: return nil
        }
    }
}
