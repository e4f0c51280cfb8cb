// Moves a directory's time back to the clock. A server that was once started with a clock years ahead keeps that time
// from then on, since engine time never goes back. This tool moves every time in the files back by as much as the last
// of them is ahead of the clock. Every state keeps its distance to the last time, so no consumption is forgotten.
//
// Files are rewritten under new numbers, with the same lengths and offsets, and replace the old ones atomically, with
// the manifest. The history gets a new name: its bytes have changed, so no replica may continue from the old ones.
// Replicas get a full sync.
//
// Owns: the order of the steps, and keeping the old files as NAME.before-rebase-N. Refuses a damaged directory. An
// interrupted run leaves the old state or the new one, and can be repeated.

package import LimiterEngine
package import System

/// Moves a directory's time back to the clock.
package struct ClockRebase {
    /// Smaller differences are ignored.
    private static let shiftMin = Nanoseconds.seconds(1)

    /// By how much every time was moved back.
    package let shift: Nanoseconds
    private var kept: KeptFiles
    /// Names of the copies.
    package var copies: [String] { kept.names }

    private let system: any FileSystem
    private let directory: String
    /// Batches are modified here.
    private let memory: ByteBuffer

    /// Why a directory's time was not changed: one sentence.
    package struct Failure: Error, Equatable, Sendable {
        /// The sentence.
        package let text: String
    }

    /// Moves the times of the directory that `check` has just examined and whose lock the caller holds. Nil when the
    /// last of them is less than a second ahead of `now`.
    ///
    /// - Parameter history: A name that no journal has: forty hexadecimal digits.
    package init?(
        files system: any FileSystem, check: DirectoryCheck, now: EngineTime, history: String
    ) throws(Failure) {
        guard check.isClean else {
            throw Failure(text: "the directory is damaged, so its time is left alone; repair it first")
        }
        shift = check.lastTime - now
        self.system = system
        directory = check.directory
        kept = KeptFiles(system, check.directory, as: "before-rebase")
        memory = ByteBuffer(capacity: JournalBatch.headerSize + JournalBatch.payloadTarget * 2)
        guard let manifest = check.manifest, shift >= ClockRebase.shiftMin else { return nil }
        do throws(RecoveryError) {
            try run(manifest, history: history)
        } catch {
            throw Failure(text: "not finished, and can be run again: \(error)")
        }
    }

    private mutating func run(_ manifest: Manifest, history: String) throws(RecoveryError) {
        var number = try DirectoryLayout(files: system, path: directory).largestNumber
        var next = Manifest(history: history)
        for (entry, content) in StateFile.entries(of: manifest) {
            number += 1
            try rewrite(StateFile(files: system, directory: directory, entry: entry, content: content), as: number)
            let moved = Manifest.Entry(number: number, offset: entry.offset)
            if content == .snapshot { next.snapshot = moved } else { next.logs.append(moved) }
        }
        let (old, system, directory) = (manifest.fileNames, system, directory)
        try RecoveryError.wrapping { () throws(StorageError) in
            try kept.copy(Manifest.fileName)
            // The new files' names have to be on disk before the manifest that names them.
            try system.syncDirectory(directory)
            try system.replace("\(directory)/\(Manifest.fileName)", with: next.encoded(), inDirectory: directory)
            for name in old { try kept.setAside(name) }
            try system.syncDirectory(directory)
        }
    }

    /// Writes a file with its times moved, without a torn tail, and syncs it.
    private func rewrite(_ source: StateFile, as number: Int) throws(RecoveryError) {
        var header = source.header
        header.number = number
        header.time = moved(header.time)
        let name = source.isSnapshot ? Manifest.snapshotName(number) : Manifest.logName(number)
        let reader = source.reader()
        try RecoveryError.wrapping { () throws(StorageError) in
            let target = try system.open("\(directory)/\(name)", .create)
            memory.removeAll(retaining: Int.max)
            header.encoded().withUnsafeBytes { memory.append($0) }
            try target.writeAll(memory.bytes, at: 0)
            var position = FileHeader.size
            while case .batch(let batch, let bytes) = try reader.next() {
                move(batch, bytes)
                try target.writeAll(memory.bytes, at: position)
                position += batch.count
            }
            try target.syncAll()
        }
    }

    /// Copies a valid batch into `memory` with its times moved.
    private func move(_ batch: JournalBatch, _ bytes: UnsafeRawBufferPointer) {
        memory.removeAll(retaining: Int.max)
        memory.append(bytes)
        memory.store(moved(batch.time).nanoseconds, at: 16)
        do throws(BatchError<Never>) {
            try JournalBatch.forEachRecord(in: memory.bytes) { move($0) }
        } catch {
            preconditionFailure("an invalid record in a valid batch")
        }
        memory.store(Checksum.crc32c(UnsafeRawBufferPointer(rebasing: memory.bytes[8...])), at: 4)
    }

    /// `record` refers to `memory`, which is modified in place.
    private func move(_ record: JournalRecord) {
        func mutable(_ bytes: UnsafeRawBufferPointer) -> UnsafeMutableRawBufferPointer {
            UnsafeMutableRawBufferPointer(mutating: bytes)
        }
        switch record {
        case .state(_, let state):
            StateView.moveBack(state.kind, mutable(state.value), by: shift.nanoseconds)
            guard let deadline = state.deadline else { return }
            let place = UnsafeMutableRawPointer(mutating: state.value.baseAddress! + state.value.count)
            place.storeBytes(
                of: StateView.moveBack(deadline: deadline, by: shift.nanoseconds).littleEndian, as: Int64.self)
        case .control(let kind, _, let body):
            if let kind = kind.policyKind { PolicyRecord.moveBack(kind, mutable(body), by: shift.nanoseconds) }
        case .removed: break
        }
    }

    private func moved(_ time: EngineTime) -> EngineTime {
        max(EngineTime(nanoseconds: 0), time + -shift)
    }
}
