// A file system in memory that fails as kernels and disks fail: short and interrupted transfers, full disks, broken
// disks, a process that ends between two bytes of a write. What a loss of power leaves is DiskImage's business. Where
// none of that is asked for, these are files in memory that never fail.
//
// Only calls that change something are counted, since a process that ends before a call that only looks leaves what it
// leaves before the next one that changes.

import Glibc
public import Persistence

/// A call as faults and observers know it.
public enum SystemCall: CaseIterable, Sendable {
    /// `create` is an `open` that makes a file or empties it.
    case open, create, read, write, sync, truncate, rename, remove, syncDirectory

    /// What fails on a full disk.
    public static let writing: Set<SystemCall> = [.create, .write, .truncate, .rename]
    /// What brings things to disk.
    public static let syncing: Set<SystemCall> = [.sync, .syncDirectory]

    /// Whether files or names are other ones afterwards, or may be.
    var changes: Bool { self != .read && self != .open }
}

/// Files in memory.
///
/// `@unchecked Sendable`: used by one thread at a time; recoveries in these tests run their workers one after the
/// other.
public final class SimulatedFileSystem: FileSystem, @unchecked Sendable {
    /// What is there.
    public var image: DiskImage
    /// Decides what chance decides: which faults, how short a transfer, what survives.
    public var random: SeededGenerator

    /// Transfers are short, and interrupted now and then.
    public var isChoppy = false
    /// Which calls fail.
    public var failing: Set<SystemCall> = []
    /// With which of these errors.
    public var failureCodes: [Int32] = [ENOSPC, EIO]
    /// How often: 1 in so many.
    public var failureOdds = 1
    /// Writes that fail may leave some of their bytes whatever the error, not only on a full disk.
    public var tearsWrites = false
    /// Paths that cannot be opened, and why.
    public var unreadable: [String: Int32] = [:]
    /// The number of a call that fails once, whichever it is, and how.
    public var failure: (call: Int, code: Int32)?
    /// Keeps failing from `failure` on.
    public var failsForGood = false

    /// Calls so far that change something.
    public private(set) var calls = 0
    /// The process ends in this call, after so many bytes where it is a write.
    public var stop: (call: Int, bytes: Int)?
    /// The process has ended: nothing it still tries has an effect.
    public private(set) var isStopped = false
    /// Told of every call that changes something before it does; of a write with its file, offset and bytes.
    public var observer: ((_ call: SystemCall, _ write: (inode: Int, offset: Int, bytes: [UInt8])?) -> Void)?

    /// Files open now.
    public fileprivate(set) var openFiles = 0 {
        didSet { mostOpenFiles = max(mostOpenFiles, openFiles) }
    }
    /// The most there were at once since this was last set.
    public var mostOpenFiles = 0

    private var locks: Set<String> = []

    /// What is on `image`; chance is that of `seed`.
    public init(image: DiskImage = DiskImage(), seed: UInt64 = 1) {
        self.image = image
        random = SeededGenerator(seed: seed)
    }

    /// Files with these contents by path, all of it on disk.
    public convenience init(_ contents: [String: [UInt8]]) {
        self.init()
        self.contents = contents
    }

    /// The contents of all files by path. What is set is on disk; a file that stays is the same one to those who have
    /// it open.
    public var contents: [String: [UInt8]] {
        get {
            var contents: [String: [UInt8]] = [:]
            for path in image.paths { contents[path] = image.content(image.inode(path)!) }
            return contents
        }
        set {
            for path in image.paths where newValue[path] == nil { image.remove(path) }
            // In an order that is the same each time.
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
            // Nothing is too full to be read.
            return .fails(StorageError("\(call)", path, code: call == .read ? EIO : code))
        }
        return .goesOn
    }

    /// A call that happens whole or not at all.
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
    public func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StorageFile {
        if let code = unreadable[path] { throw StorageError("open", path, code: code) }
        let existing = image.inode(path)
        try perform(mode == .create ? .create : .open, path) {
            guard mode == .create else { return }
            if let existing { image.truncate(to: 0, existing) } else { _ = image.create(path) }
        }
        guard let inode = image.inode(path) else { throw StorageError("open", path, code: ENOENT) }
        return File(self, inode, path)
    }

    /// Gives a file another name.
    public func rename(_ path: String, to newPath: String) throws(StorageError) {
        guard image.inode(path) != nil else { throw StorageError("rename", path, code: ENOENT) }
        try perform(.rename, path) { image.rename(path, to: newPath) }
    }

    /// Removes a file.
    public func remove(_ path: String) throws(StorageError) {
        guard image.inode(path) != nil else { throw StorageError("unlink", path, code: ENOENT) }
        try perform(.remove, path) { image.remove(path) }
    }

    /// Names in a directory, which is what paths say.
    public func list(_ directory: String) throws(StorageError) -> [String] {
        let prefix = directory + "/"
        let names = image.paths.filter { $0.hasPrefix(prefix) }.map { $0.dropFirst(prefix.count).prefix { $0 != "/" } }
        return Set(names).sorted().map(String.init)
    }

    /// Directories are what paths say.
    public func createDirectory(_ path: String) throws(StorageError) {}

    /// Brings all names to disk.
    public func syncDirectory(_ path: String) throws(StorageError) {
        try perform(.syncDirectory, path) { image.syncNames() }
    }

    /// Whether there is such a file.
    public func exists(_ path: String) throws(StorageError) -> Bool { image.inode(path) != nil }

    /// Takes a lock that holds as long as its reference.
    public func lock(_ path: String) throws(StorageError) -> (any DirectoryLock)? {
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
                // What a full disk still had room for is there, and the caller is told of the rest.
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
