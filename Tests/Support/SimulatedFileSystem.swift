// An in-memory file system with the failures of kernels and disks: short and interrupted transfers, full disks,
// broken disks, a process that ends between two bytes of a write. DiskImage decides what survives a power loss.
// Without injected faults, these are in-memory files that never fail.
//
// Only calls that change something are counted: a process that ends before a read-only call leaves the same state as
// one that ends before the next change.

import Glibc
package import Persistence

/// System calls as seen by faults and observers.
package enum SystemCall: CaseIterable, Sendable {
    /// `create` is an `open` that creates or truncates a file.
    case open, create, read, write, sync, truncate, rename, remove, syncDirectory

    /// Calls that fail on a full disk.
    package static let writing: Set<SystemCall> = [.create, .write, .truncate, .rename]
    /// Calls that make data durable.
    package static let syncing: Set<SystemCall> = [.sync, .syncDirectory]

    /// Whether the call may change files or names.
    var changes: Bool { self != .read && self != .open }
}

/// In-memory files.
///
/// `@unchecked Sendable`: used by one thread at a time; recoveries in these tests run their workers sequentially.
package final class SimulatedFileSystem: FileSystem, @unchecked Sendable {
    /// The disk's contents.
    package var image: DiskImage
    /// Source of all random choices: faults, lengths of short transfers, what survives.
    package var random: SeededGenerator

    /// Transfers are short, and occasionally interrupted.
    package var isChoppy = false
    /// Which calls fail.
    package var failing: Set<SystemCall> = []
    /// Errors that they fail with, chosen at random.
    package var failureCodes: [Int32] = [ENOSPC, EIO]
    /// Calls in `failing` fail with odds of 1 in this many.
    package var failureOdds = 1
    /// A failed write may leave some of its bytes whatever the error, not only on a full disk.
    package var tearsWrites = false
    /// Paths that cannot be opened, with the error.
    package var unreadable: [String: Int32] = [:]
    /// The number of a single call that fails, whichever call it is, and its error.
    package var failure: (call: Int, code: Int32)?
    /// All calls from `failure` on keep failing.
    package var failsForGood = false

    /// The number of calls so far that change something.
    package private(set) var calls = 0
    /// The process ends in this call; if it is a write, after this many bytes.
    package var stop: (call: Int, bytes: Int)?
    /// The process has ended: its further calls have no effect.
    package private(set) var isStopped = false
    /// Called before every call that changes something; for a write, with its file, offset and bytes.
    package var observer: ((_ call: SystemCall, _ write: (inode: Int, offset: Int, bytes: [UInt8])?) -> Void)?

    /// The number of files open now.
    package fileprivate(set) var openFiles = 0 {
        didSet { mostOpenFiles = max(mostOpenFiles, openFiles) }
    }
    /// The maximum number of open files since this was last set.
    package var mostOpenFiles = 0

    private var locks: Set<String> = []

    /// The files on `image`, with random choices from `seed`.
    package init(image: DiskImage = DiskImage(), seed: UInt64 = 1) {
        self.image = image
        random = SeededGenerator(seed: seed)
    }

    /// Files with these contents by path, all of them durable.
    package convenience init(_ contents: [String: [UInt8]]) {
        self.init()
        self.contents = contents
    }

    /// The contents of all files by path. Values set are durable; a file that already exists remains the same one for
    /// processes that have it open.
    package var contents: [String: [UInt8]] {
        get {
            var contents: [String: [UInt8]] = [:]
            for path in image.paths { contents[path] = image.content(image.inode(path)!) }
            return contents
        }
        set {
            for path in image.paths where newValue[path] == nil { image.remove(path) }
            // In a deterministic order.
            for path in newValue.keys.sorted() {
                let bytes = newValue[path]!
                if let inode = image.inode(path), image.content(inode) == bytes { continue }
                image.plant(bytes, at: path)
            }
            image.syncNames()
        }
    }

    // MARK: Faults

    private enum Course {
        case goesOn
        case ends(afterBytes: Int)
        case fails(StorageError)
    }

    private func begin(_ call: SystemCall, _ path: String, write: (Int, Int, [UInt8])? = nil) -> Course {
        let failed = StorageError("\(call)", path, code: EIO)
        if isStopped { return .fails(failed) }
        if call.changes {
            observer?(call, write)
            calls += 1
            if let stop, stop.call == calls {
                isStopped = true
                return .ends(afterBytes: stop.bytes)
            }
            if let failure, failure.call == calls || failsForGood && failure.call < calls {
                return .fails(StorageError("\(call)", path, code: failure.code))
            }
        }
        if isChoppy, [.read, .write, .sync].contains(call), random.below(6) == 0 {
            return .fails(StorageError("\(call)", path, code: EINTR))
        }
        if failing.contains(call), random.below(failureOdds) == 0 {
            let code = failureCodes[random.below(failureCodes.count)]
            // A full disk can still be read.
            return .fails(StorageError("\(call)", path, code: call == .read ? EIO : code))
        }
        return .goesOn
    }

    /// A call that takes effect completely or not at all.
    private func perform(_ call: SystemCall, _ path: String, _ effect: () -> Void) throws(StorageError) {
        switch begin(call, path) {
        case .goesOn: effect()
        case .ends(let bytes):
            if bytes > 0 { effect() }
            throw StorageError("\(call)", path, code: EIO)
        case .fails(let error): throw error
        }
    }

    // MARK: Calls

    /// Opens a file.
    package func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StorageFile {
        if let code = unreadable[path] { throw StorageError("open", path, code: code) }
        let existing = image.inode(path)
        try perform(mode == .create ? .create : .open, path) {
            guard mode == .create else { return }
            if let existing { image.truncate(to: 0, existing) } else { _ = image.create(path) }
        }
        guard let inode = image.inode(path) else { throw StorageError("open", path, code: ENOENT) }
        return File(self, inode, path)
    }

    /// Renames a file.
    package func rename(_ path: String, to newPath: String) throws(StorageError) {
        guard image.inode(path) != nil else { throw StorageError("rename", path, code: ENOENT) }
        try perform(.rename, path) { image.rename(path, to: newPath) }
    }

    /// Removes a file.
    package func remove(_ path: String) throws(StorageError) {
        guard image.inode(path) != nil else { throw StorageError("unlink", path, code: ENOENT) }
        try perform(.remove, path) { image.remove(path) }
    }

    /// Names in a directory, derived from the paths.
    package func list(_ directory: String) throws(StorageError) -> [String] {
        let prefix = directory + "/"
        let names = image.paths.filter { $0.hasPrefix(prefix) }.map { $0.dropFirst(prefix.count).prefix { $0 != "/" } }
        return Set(names).sorted().map(String.init)
    }

    /// Directories are implied by paths.
    package func createDirectory(_ path: String) throws(StorageError) {}

    /// Makes all names durable.
    package func syncDirectory(_ path: String) throws(StorageError) {
        try perform(.syncDirectory, path) { image.syncNames() }
    }

    /// Whether the file exists.
    package func exists(_ path: String) throws(StorageError) -> Bool { image.inode(path) != nil }

    /// Acquires a lock that is held as long as its reference.
    package func lock(_ path: String) throws(StorageError) -> (any DirectoryLock)? {
        guard locks.insert(path).inserted else { return nil }
        return Lock { [weak self] in self?.locks.remove(path) }
    }

    private final class Lock: DirectoryLock, @unchecked Sendable {
        private let release: () -> Void

        init(_ release: @escaping () -> Void) { self.release = release }

        deinit { release() }
    }

    // MARK: Files

    private final class File: StorageFile, @unchecked Sendable {
        let path: String
        private let system: SimulatedFileSystem
        private let inode: Int

        init(_ system: SimulatedFileSystem, _ inode: Int, _ path: String) {
            self.system = system
            self.inode = inode
            self.path = path
            system.openFiles += 1
        }

        deinit { system.openFiles -= 1 }

        func size() throws(StorageError) -> Int { system.image.size(inode) }

        func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(StorageError) -> Int {
            if case .fails(let error) = system.begin(.read, path) { throw error }
            let left = max(0, system.image.size(inode) - offset)
            var count = min(left, buffer.count)
            if system.isChoppy, count > 1 { count = 1 + system.random.below(count) }
            system.image.content(inode).withUnsafeBytes {
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[min(offset, $0.count)...].prefix(count)))
            }
            return count
        }

        func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(StorageError) -> Int {
            var bytes = Array(bytes)
            if system.isChoppy, bytes.count > 1 { bytes.removeLast(system.random.below(bytes.count)) }
            switch system.begin(.write, path, write: (inode, offset, bytes)) {
            case .goesOn:
                system.image.write(bytes, at: offset, inode)
                return bytes.count
            case .ends(let count):
                system.image.write(Array(bytes.prefix(count)), at: offset, inode)
                throw StorageError("write", path, code: EIO)
            case .fails(let error):
                // What fitted onto the full disk is written; the error covers the rest.
                let leavesPart = error.code == ENOSPC || system.tearsWrites && error.code != EINTR
                guard leavesPart, bytes.count > 1, system.random.below(2) == 0 else { throw error }
                let count = 1 + system.random.below(bytes.count - 1)
                system.image.write(Array(bytes.prefix(count)), at: offset, inode)
                return count
            }
        }

        func sync() throws(StorageError) {
            switch system.begin(.sync, path) {
            case .goesOn: system.image.sync(inode)
            case .ends(let bytes):
                if bytes > 0 { system.image.sync(inode) }
                throw StorageError("fsync", path, code: EIO)
            case .fails(let error):
                if error.code != EINTR { system.image.loseUnsynced(inode, &system.random) }
                throw error
            }
        }

        func truncate(to size: Int) throws(StorageError) {
            try system.perform(.truncate, path) { system.image.truncate(to: size, inode) }
        }
    }
}
