// A file system in memory that fails as kernels and disks fail: short and interrupted transfers, full disks, broken
// disks, a process that ends between two bytes of a write. What a loss of power leaves is DiskImage's business.
//
// Only calls that change something are counted, since a process that ends before a call that only looks leaves what it
// leaves before the next one that changes.

import Glibc
import Persistence
import TestSupport

/// A call as faults and observers know it.
enum SystemCall: CaseIterable {
    case open, read, write, sync, truncate, rename, remove, syncDirectory

    var changes: Bool { self != .read && self != .open }
}

/// Files in memory.
///
/// `@unchecked Sendable`: used by one thread at a time; recoveries in these tests run their workers one after the
/// other.
final class SimulatedFileSystem: FileSystem, @unchecked Sendable {
    /// What is there.
    var image: DiskImage
    var random: SeededGenerator

    /// Transfers are short, and interrupted now and then.
    var isChoppy = false
    /// Which calls fail, with which of these errors, how often: 1 in so many.
    var failing: Set<SystemCall> = []
    var failureCodes: [Int32] = [ENOSPC, EIO]
    var failureOdds = 1
    /// The number of a call that fails once, whichever it is, and how.
    var failure: (call: Int, code: Int32)?
    /// Keeps failing from `failure` on.
    var failsForGood = false

    /// Calls so far that change something.
    private(set) var calls = 0
    /// The process ends in this call, after so many bytes where it is a write.
    var stop: (call: Int, bytes: Int)?
    /// The process has ended: nothing it still tries has an effect.
    private(set) var isStopped = false
    /// Told of every call that changes something before it does; of a write with its file, offset and bytes.
    var observer: ((_ call: SystemCall, _ write: (inode: Int, offset: Int, bytes: [UInt8])?) -> Void)?

    private var locks: Set<String> = []

    init(image: DiskImage = DiskImage(), seed: UInt64 = 1) {
        self.image = image
        random = SeededGenerator(seed: seed)
    }

    // MARK: Faults

    private enum Course {
        case goesOn
        case ends(afterBytes: Int)
        case fails(StorageError)
    }

    private func begin(
        _ call: SystemCall, _ path: String, changes: Bool? = nil, write: (Int, Int, [UInt8])? = nil
    ) -> Course {
        let failed = StorageError("\(call)", path, code: EIO)
        if isStopped { return .fails(failed) }
        if changes ?? call.changes {
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
            return .fails(StorageError("\(call)", path, code: failureCodes[random.below(failureCodes.count)]))
        }
        return .goesOn
    }

    /// A call that happens whole or not at all.
    private func perform(
        _ call: SystemCall, _ path: String, changes: Bool? = nil, _ effect: () -> Void
    ) throws(StorageError) {
        switch begin(call, path, changes: changes) {
        case .goesOn: effect()
        case .ends(let bytes):
            if bytes > 0 { effect() }
            throw StorageError("\(call)", path, code: EIO)
        case .fails(let error): throw error
        }
    }

    // MARK: Calls

    func open(_ path: String, _ mode: OpenMode) throws(StorageError) -> any StorageFile {
        let existing = image.inode(path)
        try perform(.open, path, changes: mode == .create) {
            guard mode == .create else { return }
            if let existing { image.truncate(to: 0, existing) } else { _ = image.create(path) }
        }
        guard let inode = image.inode(path) else { throw StorageError("open", path, code: ENOENT) }
        return File(self, inode, path)
    }

    func rename(_ path: String, to newPath: String) throws(StorageError) {
        try perform(.rename, path) { image.rename(path, to: newPath) }
    }

    func remove(_ path: String) throws(StorageError) {
        guard image.inode(path) != nil else { throw StorageError("unlink", path, code: ENOENT) }
        try perform(.remove, path) { image.remove(path) }
    }

    func list(_ directory: String) throws(StorageError) -> [String] {
        let prefix = directory + "/"
        return image.paths.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
    }

    func createDirectory(_ path: String) throws(StorageError) {}

    func syncDirectory(_ path: String) throws(StorageError) {
        try perform(.syncDirectory, path) { image.syncNames() }
    }

    func exists(_ path: String) throws(StorageError) -> Bool { image.inode(path) != nil }

    func lock(_ path: String) throws(StorageError) -> (any DirectoryLock)? {
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
        }

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
                guard error.code == ENOSPC, bytes.count > 1, system.random.below(2) == 0 else { throw error }
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
