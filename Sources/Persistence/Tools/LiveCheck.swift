// A check of a directory that a server may be writing to, for tools that only read.
//
// A server appends to the last log, and replaces files only together with the manifest. What a check has read is
// therefore consistent if the manifest is still the same, whatever has been appended meanwhile.
//
// Owns: deciding that a result is due to the server's work and not to damage. Takes no lock.

package import LimiterEngine

extension DirectoryCheck {
    /// Attempts to read a directory between two replacements of its files. They are minutes apart, except while a
    /// client sends nothing but SAVE.
    private static let attemptsMax = 100

    /// Checks a directory whose lock is not held, again if its files are replaced meanwhile.
    ///
    /// - Returns: The check, and whether the files have changed since: a server is running.
    package static func whileInUse(
        files: any FileSystem, directory: String, now: EngineTime
    ) -> (check: DirectoryCheck, isInUse: Bool) {
        var attempt = 1
        while true {
            let check = DirectoryCheck(files: files, directory: directory, now: now)
            let isReplaced = check.isReplaced(files)
            if check.isClean || !isReplaced || attempt == attemptsMax {
                return (check, isReplaced || check.hasGrown(files))
            }
            attempt += 1
        }
    }

    /// Whether the manifest has changed since.
    private func isReplaced(_ system: any FileSystem) -> Bool {
        do throws(RecoveryError) {
            return try DirectoryLayout(files: system, path: directory).manifest != manifest
        } catch {
            return problem == nil
        }
    }

    /// Whether the last log has grown since.
    private func hasGrown(_ system: any FileSystem) -> Bool {
        guard let last = files.last(where: { $0.role == .log }) else { return false }
        do throws(StorageError) {
            return try system.open("\(directory)/\(last.name)", .read).size() != last.bytes
        } catch {
            return false
        }
    }
}
