// A directory for the files of one test.

import Glibc

/// A directory in /tmp that goes, with all that is in it, when the object does.
public final class TemporaryDirectory: Sendable {
    /// Where it is.
    public let path: String

    /// Makes it; its name begins with `escapement-` and `name`.
    public init(_ name: String) {
        var template = Array("/tmp/escapement-\(name)-XXXXXX".utf8CString)
        guard let made = template.withUnsafeMutableBufferPointer({ mkdtemp($0.baseAddress!) }) else {
            fatalError("no directory for \(name): errno \(errno)")
        }
        path = String(cString: made)
    }

    deinit { TemporaryDirectory.remove(path) }

    /// The path of a file in it.
    public func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Names of what is in it, in their order.
    public var names: [String] { TemporaryDirectory.names(path) }

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

    /// A link is removed, and not followed.
    private static func remove(_ path: String) {
        if unlink(path) == 0 { return }
        for name in names(path) { remove("\(path)/\(name)") }
        rmdir(path)
    }
}
