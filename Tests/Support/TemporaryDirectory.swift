// A temporary directory for a test's files.

import Glibc

/// A directory in /tmp that is removed with its contents when the object is deallocated.
package final class TemporaryDirectory: Sendable {
    /// The directory's path.
    package let path: String

    /// Creates the directory; its name begins with `escapement-` and `name`.
    package init(_ name: String) {
        var template = Array("/tmp/escapement-\(name)-XXXXXX".utf8CString)
        guard let made = template.withUnsafeMutableBufferPointer({ mkdtemp($0.baseAddress!) }) else {
            fatalError("cannot create a directory for \(name): errno \(errno)")
        }
        path = String(cString: made)
    }

    deinit { TemporaryDirectory.remove(path) }

    /// The path of a file in it.
    package func file(_ name: String) -> String { "\(path)/\(name)" }

    /// The names of its entries, sorted.
    package var names: [String] { TemporaryDirectory.names(path) }

    private static func names(_ path: String) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a symbolic link without following it.
    private static func remove(_ path: String) {
        if unlink(path) == 0 { return }
        for name in names(path) { remove("\(path)/\(name)") }
        rmdir(path)
    }
}
