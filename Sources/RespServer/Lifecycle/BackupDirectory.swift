// The directory of a backup: `DIR.partial` while the copy is incomplete, and DIR once it is complete and verified.
//
// So no interruption, not even the end of the machine, leaves a part of a state under the name of a copy. Owns both
// names. Refuses a DIR that contains anything, and a `DIR.partial` that exists: another copy may be writing it.

import Glibc
import System

struct BackupDirectory {
    /// The final name.
    let path: String
    /// Mode and owner that an existing directory keeps.
    private let existing: stat?

    /// The name until the copy is complete.
    var partial: String { "\(path).partial" }

    /// Creates `partial`, after making sure that nothing keeps it from getting its final name.
    init(_ path: String) throws(ToolFailure) {
        var path = path
        while path.hasSuffix("/"), path.utf8.count > 1 { path.removeLast() }
        var found = stat()
        if stat(path, &found) == 0 {
            guard let names = BackupDirectory.names(in: path) else { throw ToolFailure(text: SystemError.text(errno)) }
            if let name = names.first {
                throw ToolFailure(text: "the directory is not empty: it contains \(SettingError.printable(name))")
            }
            // A link remains one, and gets the copy where it points.
            guard let resolved = realpath(path, nil) else { throw ToolFailure(text: SystemError.text(errno)) }
            path = String(cString: resolved)
            free(resolved)
            var parent = stat()
            guard stat("\(path)/..", &parent) == 0, parent.st_dev == found.st_dev, parent.st_ino != found.st_ino else {
                throw ToolFailure(text: "it is a mount point, which cannot be replaced: name a new directory in it")
            }
            existing = found
        } else if lstat(path, &found) == 0 {
            throw ToolFailure(text: "it is a symbolic link whose target cannot be reached")
        } else {
            existing = nil
        }
        self.path = path
        guard mkdir(partial, 0o700) != 0 else { return }
        let code = errno
        guard code == EEXIST else {
            throw ToolFailure(text: "\(SystemError.text(code)): \(BackupDirectory.shown(partial)) cannot be created")
        }
        throw ToolFailure(
            text: "\(BackupDirectory.shown(partial)) exists: another backup is writing it, or one that was killed has "
                + "left it; remove it in that case")
    }

    /// Gives the copy its final name, on disk as well.
    func complete() throws(ToolFailure) {
        if let existing {
            // Whether the owner may be changed is up to the system; the copy is readable by this user in any case.
            _ = chown(partial, existing.st_uid, existing.st_gid)
            chmod(partial, existing.st_mode & 0o7777)
        }
        try BackupDirectory.sync(partial)
        guard rename(partial, path) == 0 else {
            let reason = SystemError.text(errno)
            throw ToolFailure(text: "the copy cannot get its final name: \(reason)")
        }
        do throws(ToolFailure) {
            let slash = path.lastIndex(of: "/")
            try BackupDirectory.sync(slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? ".")
        } catch {
            // Nothing under the final name may depend on luck.
            BackupDirectory.remove(path)
            throw error
        }
    }

    /// Removes what an incomplete copy has left.
    func remove() { BackupDirectory.remove(partial) }

    /// A path for messages, whole.
    static func shown(_ path: String) -> String { SettingError.printable(path, lengthMax: Int(PATH_MAX)) }

    private static func sync(_ path: String) throws(ToolFailure) {
        do throws(SystemError) {
            let descriptor = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
            defer { descriptor.close() }
            try descriptor.sync()
        } catch {
            throw ToolFailure(text: "\(shown(path)): \(error)")
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

    /// Removes a directory in which this program has written everything.
    static func remove(_ path: String) {
        for name in names(in: path) ?? [] {
            // A directory's own entries first; anything else has none.
            if unlink("\(path)/\(name)") != 0 { remove("\(path)/\(name)") }
        }
        rmdir(path)
    }
}
