// Files that a tool changes or drops, kept next to the originals as NAME.WORD-N: no server reads or removes them.

/// The copies of one run of a tool.
struct KeptFiles {
    private let system: any FileSystem
    private let directory: String
    private let word: String
    private var suffix: String?
    /// Names of the copies.
    private(set) var names: [String] = []

    init(_ system: any FileSystem, _ directory: String, as word: String) {
        self.system = system
        self.directory = directory
        self.word = word
    }

    private func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// Keeps a copy of a file. On return the copy is synced, except for its directory entry.
    mutating func copy(_ name: String) throws(StorageError) {
        let kept = try name + unusedSuffix()
        let source = try system.open(path(name), .read)
        let target = try system.open(path(kept), .create)
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 8)
        defer { memory.deallocate() }
        var position = 0
        while true {
            let count = try source.readAll(into: memory, at: position)
            if count == 0 { break }
            try target.writeAll(UnsafeRawBufferPointer(rebasing: memory[..<count]), at: position)
            position += count
        }
        try target.syncAll()
        names.append(kept)
    }

    /// Keeps a file by renaming it to the copy's name. Does nothing if it does not exist.
    mutating func setAside(_ name: String) throws(StorageError) {
        let kept = try name + unusedSuffix()
        guard try system.exists(path(name)) else { return }
        try system.rename(path(name), to: path(kept))
        names.append(kept)
    }

    /// The first unused `.WORD-N`, the same throughout a run.
    private mutating func unusedSuffix() throws(StorageError) -> String {
        if let suffix { return suffix }
        let names = try system.list(directory)
        var number = 1
        while names.contains(where: { $0.hasSuffix(".\(word)-\(number)") }) { number += 1 }
        let found = ".\(word)-\(number)"
        suffix = found
        return found
    }
}
