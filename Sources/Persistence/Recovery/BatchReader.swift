// Reads batches from a file one after the other, validating each before returning it.
//
// Owns: the memory a batch is read into. Does not interpret records or decide what damage means: it reports where and
// what.

/// The result of reading the next batch.
package enum BatchReading {
    /// A valid batch; header and records are valid until the next call.
    case batch(JournalBatch, UnsafeRawBufferPointer)
    /// The file ends here, after a complete batch.
    case end
    /// Not a valid batch; the reason completes a sentence that begins "the batch".
    case invalid(reason: String)
}

/// Reads the batches of one log segment or snapshot. Not thread-safe.
package final class BatchReader {
    private let file: any StorageFile
    private let fileSize: Int
    /// Stream offset of the file's first byte after the header.
    private let streamStart: Int64
    private var memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 19, alignment: 8)
    /// Position in the file of the next batch; after `invalid`, where it should be.
    package private(set) var position = FileHeader.size

    /// A reader of a file of `fileSize` bytes whose header has been read.
    package init(file: any StorageFile, fileSize: Int, streamStart: Int64) {
        self.file = file
        self.fileSize = fileSize
        self.streamStart = streamStart
    }

    deinit { memory.deallocate() }

    /// Reads the next batch.
    package func next() throws(StorageError) -> BatchReading {
        guard let header = try nextHeader() else { return fileSize == position ? .end : ended() }
        switch header {
        case .failure(let problem): return .invalid(reason: problem.reason)
        case .success(let batch):
            if batch.count > memory.count {
                memory.deallocate()
                memory = .allocate(byteCount: batch.count, alignment: 8)
            }
            let bytes = UnsafeMutableRawBufferPointer(rebasing: memory[..<batch.count])
            guard try file.readAll(into: bytes, at: position) == batch.count else { return ended() }
            // Parse the header from the bytes being checked, not from those read a moment ago.
            guard batch == JournalBatch(UnsafeRawBufferPointer(bytes)), batch.matches(UnsafeRawBufferPointer(bytes))
            else { return .invalid(reason: "has a wrong checksum") }
            position += batch.count
            return .batch(batch, UnsafeRawBufferPointer(bytes))
        }
    }

    /// Skips the next batch without reading its records. False when there is none, or its header is invalid.
    package func skip() throws(StorageError) -> Bool {
        guard case .success(let batch) = try nextHeader() else { return false }
        position += batch.count
        return true
    }

    private struct Problem: Error { let reason: String }

    private func nextHeader() throws(StorageError) -> Result<JournalBatch, Problem>? {
        let left = fileSize - position
        guard left >= JournalBatch.headerSize else { return nil }
        let bytes = UnsafeMutableRawBufferPointer(rebasing: memory[..<JournalBatch.headerSize])
        guard try file.readAll(into: bytes, at: position) == bytes.count else { return nil }
        guard let batch = JournalBatch(UnsafeRawBufferPointer(bytes)) else {
            return .failure(Problem(reason: "has a header out of range"))
        }
        guard batch.offset == streamStart + Int64(position - FileHeader.size) else {
            return .failure(Problem(reason: "claims to be at offset \(batch.offset)"))
        }
        guard batch.count <= left else { return .failure(Problem(reason: "is longer than the file")) }
        return .success(batch)
    }

    private func ended() -> BatchReading { .invalid(reason: "is cut off by the end of the file") }
}
