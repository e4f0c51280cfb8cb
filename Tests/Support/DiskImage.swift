// The contents of a disk, both durable and cached: the state of the simulated file system.
//
// Owns: what survives a power loss. A file has bytes as seen by processes, bytes on disk, and the changes in between,
// which reach the disk one sector at a time and in any order. Likewise a directory has names as seen, names on disk,
// and the changes in between. A value type: a copy is another disk.

/// The state of a disk at one instant.
package struct DiskImage {
    /// Bytes that reach the disk atomically.
    package static let sectorSize = 512

    /// What a power loss does to names that were not synced.
    package enum Metadata: CaseIterable {
        /// A journaling file system: a prefix of the changes, in order, is on disk.
        case ordered
        /// The worst case that POSIX permits: any subset of the changes.
        case unordered
    }

    private enum Change {
        case write(at: Int, [UInt8])
        case truncate(to: Int)

        func sizeAfter(_ size: Int) -> Int {
            switch self {
            case .write(let offset, let bytes): max(size, offset + bytes.count)
            case .truncate(let size): size
            }
        }
    }

    private struct Inode {
        var content: [UInt8] = []
        var durable: [UInt8] = []
        var pending: [Change] = []
    }

    private enum NameChange {
        case link(String, Int)
        case unlink(String)
        case rename(from: String, to: String, Int)
    }

    private var inodes: [Inode] = []
    private var names: [String: Int] = [:]
    private var durableNames: [String: Int] = [:]
    private var pendingNames: [NameChange] = []

    /// An empty disk.
    package init() {}

    // MARK: Names

    /// The paths of all files.
    package var paths: [String] { names.keys.sorted() }

    /// The file's number, which is independent of its name; nil if the name does not exist.
    package func inode(_ path: String) -> Int? { names[path] }

    /// Creates an empty file.
    mutating func create(_ path: String) -> Int {
        inodes.append(Inode())
        names[path] = inodes.count - 1
        pendingNames.append(.link(path, inodes.count - 1))
        return inodes.count - 1
    }

    /// Removes a name. Open files keep their contents.
    mutating func remove(_ path: String) {
        names[path] = nil
        pendingNames.append(.unlink(path))
    }

    /// Renames a file.
    mutating func rename(_ path: String, to newPath: String) {
        let inode = names.removeValue(forKey: path)!
        names[newPath] = inode
        pendingNames.append(.rename(from: path, to: newPath, inode))
    }

    /// Makes the names durable as seen by processes.
    mutating func syncNames() {
        durableNames = names
        pendingNames = []
    }

    // MARK: Bytes

    /// A file's bytes as seen by processes.
    package func content(_ inode: Int) -> [UInt8] { inodes[inode].content }
    /// The number of bytes in a file.
    package func size(_ inode: Int) -> Int { inodes[inode].content.count }

    /// Writes to the page cache: visible at once, on disk later.
    package mutating func write(_ bytes: [UInt8], at offset: Int, _ inode: Int) {
        DiskImage.put(bytes, at: offset, into: &inodes[inode].content)
        inodes[inode].pending.append(.write(at: offset, bytes))
    }

    /// Truncates a file, or extends it with zeros.
    package mutating func truncate(to size: Int, _ inode: Int) {
        DiskImage.resize(&inodes[inode].content, to: size)
        inodes[inode].pending.append(.truncate(to: size))
    }

    /// Makes everything written to a file durable.
    mutating func sync(_ inode: Int) {
        for change in inodes[inode].pending {
            switch change {
            case .write(let offset, let bytes): DiskImage.put(bytes, at: offset, into: &inodes[inode].durable)
            case .truncate(let size): DiskImage.resize(&inodes[inode].durable, to: size)
            }
        }
        inodes[inode].pending = []
    }

    /// A failed write-back: the kernel reports it once, marks the pages clean, and still shows their contents.
    mutating func loseUnsynced(_ inode: Int, _ random: inout SeededGenerator) {
        inodes[inode].durable = DiskImage.survivors(inodes[inode], &random)
        inodes[inode].pending = []
    }

    /// Flips one bit of a file, on disk and in memory.
    package mutating func flip(bit: Int, ofByte position: Int, _ inode: Int) {
        sync(inode)
        inodes[inode].content[position] ^= 1 << UInt8(bit)
        inodes[inode].durable[position] ^= 1 << UInt8(bit)
    }

    /// Places a file as an operator would.
    package mutating func plant(_ bytes: [UInt8], at path: String) {
        let inode = names[path] ?? create(path)
        truncate(to: 0, inode)
        write(bytes, at: 0, inode)
        sync(inode)
        syncNames()
    }

    // MARK: Power

    /// The state of the disk after a power loss.
    package func afterPowerLoss(_ metadata: Metadata, _ random: inout SeededGenerator) -> DiskImage {
        var after = self
        for number in inodes.indices {
            after.inodes[number].durable = DiskImage.survivors(inodes[number], &random)
            after.inodes[number].content = after.inodes[number].durable
            after.inodes[number].pending = []
        }
        let upTo = random.below(pendingNames.count + 1)
        for (position, change) in pendingNames.enumerated() {
            switch metadata {
            case .ordered: if position >= upTo { continue }
            case .unordered: if random.below(2) == 0 { continue }
            }
            switch change {
            case .link(let path, let inode): after.durableNames[path] = inode
            case .unlink(let path): after.durableNames[path] = nil
            case .rename(let path, let newPath, let inode):
                if after.durableNames[path] == inode { after.durableNames[path] = nil }
                after.durableNames[newPath] = inode
            }
        }
        after.names = after.durableNames
        after.pendingNames = []
        return after
    }

    /// The worst case of a power loss: only synced state survives.
    package var atWorst: DiskImage {
        var after = self
        for number in inodes.indices {
            after.inodes[number].content = inodes[number].durable
            after.inodes[number].pending = []
        }
        after.names = durableNames
        after.pendingNames = []
        return after
    }

    /// The kernel writes back the bytes of all files, but not their names, as it may at any time.
    package mutating func writeBack() {
        for inode in inodes.indices where !inodes[inode].pending.isEmpty { sync(inode) }
    }

    /// The bytes on disk with a subset of the changes: all, none, those up to one instant, or for each sector those
    /// up to its own instant. The size is treated as one more sector.
    private static func survivors(_ inode: Inode, _ random: inout SeededGenerator) -> [UInt8] {
        let pending = inode.pending
        guard !pending.isEmpty else { return inode.durable }
        var sizes = [inode.durable.count]
        for change in pending { sizes.append(change.sizeAfter(sizes.last!)) }
        let style = random.below(4)
        let common = style == 0 ? 0 : style == 1 ? pending.count : random.below(pending.count + 1)
        func instant() -> Int { style < 3 ? common : random.below(pending.count + 1) }
        let size = sizes[instant()]
        var bytes = [UInt8](repeating: 0, count: size)
        for start in stride(from: 0, to: size, by: sectorSize) {
            let sector = start..<min(start + sectorSize, size)
            copy(inode.durable, at: 0, to: &bytes, within: sector)
            for change in pending.prefix(instant()) {
                switch change {
                case .write(let offset, let written): copy(written, at: offset, to: &bytes, within: sector)
                case .truncate(let end):
                    for position in sector where position >= end { bytes[position] = 0 }
                }
            }
        }
        return bytes
    }

    /// Copies the part of `source`, which begins at `offset`, that overlaps `range`.
    private static func copy(_ source: [UInt8], at offset: Int, to bytes: inout [UInt8], within range: Range<Int>) {
        let part = range.clamped(to: offset..<offset + source.count)
        guard !part.isEmpty else { return }
        bytes.replaceSubrange(part, with: source[part.lowerBound - offset..<part.upperBound - offset])
    }

    private static func put(_ bytes: [UInt8], at offset: Int, into content: inout [UInt8]) {
        if content.count < offset + bytes.count { resize(&content, to: offset + bytes.count) }
        content.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }

    private static func resize(_ content: inout [UInt8], to size: Int) {
        if size <= content.count {
            content.removeLast(content.count - size)
        } else {
            content.append(contentsOf: [UInt8](repeating: 0, count: size - content.count))
        }
    }
}
