// The disk of a simulated node: files in memory that lose with the power what was not synced, and that fail for a
// while when told to.
//
// Owns: what a loss of power may leave. Coarser than the disk that the tests of the log have: what is left of the bytes
// written to a file since its last sync is any beginning of them, and of the names any beginning of their changes.

import Glibc
import Persistence

/// Files in memory.
///
/// `@unchecked Sendable`: a life of simulated nodes runs on one thread.
final class SimulatedFiles: FileSystem, @unchecked Sendable {
    /// What goes wrong.
    struct Fault {
        var code: Int32
        var breaksWrites: Bool
        var breaksSyncs: Bool
        var breaksReads = false
    }

    /// A file's bytes, whatever its name.
    final class Content {
        var bytes: [UInt8] = []
        var durable: [UInt8] = []
        /// Written since the last sync; empty when `bytes` is `durable`.
        var dirty: Range<Int>?
        /// The kernel has given up on these: they are in its memory, and no sync brings them to disk.
        var lost: [Range<Int>] = []
    }

    private enum NameChange {
        case made(String, Content)
        case renamed(String, String)
        case removed(String)
    }

    private var names: [String: Content] = [:]
    private var durableNames: [String: Content] = [:]
    private var changes: [NameChange] = []
    /// What goes wrong at the moment.
    var fault: Fault?
    /// Calls that failed.
    private(set) var failures = 0

    // MARK: Misfortune

    /// The power is lost: of what was not synced a part is there.
    func losePower(_ random: inout LifeGenerator) {
        names = durableNames
        for change in changes.prefix(random.below(changes.count + 1)) { SimulatedFiles.apply(change, to: &names) }
        // In an order that is the same each time.
        for name in names.keys.sorted() { SimulatedFiles.settle(names[name]!, kept: { random.below($0 + 1) }) }
        restart()
    }

    /// What a loss of power would leave at the worst: nothing but what was synced.
    func atWorst() -> SimulatedFiles {
        let copy = SimulatedFiles()
        for (name, content) in durableNames {
            let settled = Content()
            settled.durable = content.durable
            SimulatedFiles.settle(settled, kept: { _ in 0 })
            copy.names[name] = settled
        }
        copy.restart()
        return copy
    }

    /// The kernel has brought everything to disk, but for what it has given up on: it may do so at any time.
    func writeBack() {
        for content in names.values where content.dirty != nil {
            content.durable = content.bytes
            SimulatedFiles.zero(content.lost, &content.durable)
            content.dirty = nil
        }
    }

    private static func settle(_ content: Content, kept: (Int) -> Int) {
        if let dirty = content.dirty {
            let end = min(content.bytes.count, dirty.lowerBound + kept(dirty.count))
            var settled = content.durable
            if end > settled.count { settled += [UInt8](repeating: 0, count: end - settled.count) }
            if end > dirty.lowerBound {
                settled.replaceSubrange(dirty.lowerBound..<end, with: content.bytes[dirty.lowerBound..<end])
            }
            zero(content.lost, &settled)
            content.durable = settled
        }
        content.bytes = content.durable
        content.dirty = nil
        content.lost = []
    }

    private func restart() {
        durableNames = names
        changes = []
    }

    private static func apply(_ change: NameChange, to names: inout [String: Content]) {
        switch change {
        case .made(let name, let content): names[name] = content
        case .renamed(let old, let new): names[new] = names.removeValue(forKey: old) ?? names[new]
        case .removed(let name): names[name] = nil
        }
    }

    private func change(_ change: NameChange) {
        SimulatedFiles.apply(change, to: &names)
        changes.append(change)
    }

    fileprivate static func zero(_ ranges: [Range<Int>], _ bytes: inout [UInt8]) {
        for range in ranges { for place in range.clamped(to: 0..<bytes.count) { bytes[place] = 0 } }
    }

    fileprivate func check(_ call: String, _ path: String, isSync: Bool) throws(StorageError) {
        guard let fault, isSync ? fault.breaksSyncs : fault.breaksWrites else { return }
        failures += 1
        throw StorageError(call, path, code: fault.code)
    }

    fileprivate func checkRead(_ path: String) throws(StorageError) {
        guard let fault, fault.breaksReads else { return }
        failures += 1
        throw StorageError("read", path, code: EIO)
    }

    // MARK: Calls

    func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StorageFile {
        if mode == .create {
            try check("open", path, isSync: false)
            if let content = names[path] {
                content.dirty = 0..<max(content.bytes.count, content.dirty?.upperBound ?? 0)
                content.bytes = []
            } else {
                change(.made(path, Content()))
            }
        }
        guard let content = names[path] else { throw StorageError("open", path, code: ENOENT) }
        return File(self, content, path)
    }

    func rename(_ path: String, to newPath: String) throws(StorageError) {
        try check("rename", path, isSync: false)
        guard names[path] != nil else { throw StorageError("rename", path, code: ENOENT) }
        change(.renamed(path, newPath))
    }

    func remove(_ path: String) throws(StorageError) {
        guard names[path] != nil else { throw StorageError("unlink", path, code: ENOENT) }
        change(.removed(path))
    }

    func list(_ directory: String) throws(StorageError) -> [String] {
        names.keys.filter { $0.hasPrefix(directory + "/") }.map { String($0.dropFirst(directory.count + 1)) }
    }

    func createDirectory(_ path: String) throws(StorageError) {}

    func syncDirectory(_ path: String) throws(StorageError) {
        try check("fsync", path, isSync: true)
        restart()
    }

    func exists(_ path: String) throws(StorageError) -> Bool { names[path] != nil }

    func lock(_ path: String) throws(StorageError) -> (any DirectoryLock)? { nil }
}

/// `@unchecked Sendable`: a life of simulated nodes runs on one thread.
private final class File: StorageFile, @unchecked Sendable {
    let path: String
    private let files: SimulatedFiles
    private let content: SimulatedFiles.Content

    init(_ files: SimulatedFiles, _ content: SimulatedFiles.Content, _ path: String) {
        self.files = files
        self.content = content
        self.path = path
    }

    func size() throws(StorageError) -> Int { content.bytes.count }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(StorageError) -> Int {
        try files.checkRead(path)
        let count = min(buffer.count, max(0, content.bytes.count - offset))
        content.bytes.withUnsafeBytes {
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[min(offset, $0.count)...].prefix(count)))
        }
        return count
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(StorageError) -> Int {
        do throws(StorageError) {
            try files.check("write", path, isSync: false)
        } catch {
            // A full disk takes what it has room for.
            store(UnsafeRawBufferPointer(rebasing: bytes.prefix(bytes.count / 2)), at: offset)
            throw error
        }
        store(bytes, at: offset)
        return bytes.count
    }

    private func store(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
        guard bytes.count > 0 else { return }
        let end = offset + bytes.count
        if content.bytes.count == offset {
            content.bytes.append(contentsOf: bytes)
        } else {
            if content.bytes.count < end {
                content.bytes += [UInt8](repeating: 0, count: end - content.bytes.count)
            }
            content.bytes.replaceSubrange(offset..<end, with: bytes)
        }
        note(offset..<end)
        guard !content.lost.isEmpty else { return }
        content.lost = content.lost.flatMap { lost in
            [
                lost.lowerBound..<max(lost.lowerBound, min(lost.upperBound, offset)),
                min(lost.upperBound, max(lost.lowerBound, end))..<lost.upperBound,
            ]
        }.filter { !$0.isEmpty }
    }

    private func note(_ range: Range<Int>) {
        let dirty = content.dirty ?? range
        content.dirty = min(dirty.lowerBound, range.lowerBound)..<max(dirty.upperBound, range.upperBound)
    }

    func sync() throws(StorageError) {
        do throws(StorageError) {
            try files.check("fsync", path, isSync: true)
        } catch {
            // The kernel says so once; from here on it takes the bytes for written.
            if let dirty = content.dirty { content.lost.append(dirty) }
            throw error
        }
        content.durable = content.bytes
        SimulatedFiles.zero(content.lost, &content.durable)
        content.dirty = nil
    }

    func truncate(to size: Int) throws(StorageError) {
        try files.check("truncate", path, isSync: false)
        guard size != content.bytes.count else { return }
        let old = content.bytes.count
        if size < old {
            content.bytes.removeLast(old - size)
        } else {
            content.bytes += [UInt8](repeating: 0, count: size - old)
        }
        note(min(size, old)..<max(size, old))
        content.lost = content.lost.map { $0.clamped(to: 0..<size) }.filter { !$0.isEmpty }
    }
}
