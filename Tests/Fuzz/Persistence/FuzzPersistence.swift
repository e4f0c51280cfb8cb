// The fuzz target of the files on disk, and of the same bytes sent to a replica (scripts/fuzz). Arbitrary bytes as log,
// snapshot, manifest, sync mark and header:
//  1. Nothing crashes, and no length field causes an allocation larger than the file (malloc_limit_mb).
//  2. A start yields an engine whose invariants hold, whatever records were applied.
//  3. The recovered state is recovered identically again, also after a new segment has been begun.
//  4. Check and dump report damage exactly when a start refuses; a repaired directory starts.
//  FuzzStream.swift lists the properties of the stream.
//
// Input: byte 0 the kind of input, byte 1 flags, bytes 2 and 3 where one file ends and the next begins, the rest is
// content. Checksums would keep a fuzzer out, so a flag makes the harness repair headers, batch headers and checksums
// before it feeds them: then arbitrary bytes are records.

import LimiterEngine
import Persistence
import TestSupport

private typealias OneInput = @convention(c) (UnsafePointer<UInt8>, Int) -> CInt

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ oneInput: OneInput
) -> CInt

/// SwiftPM uses this name as an executable's entry point, so libFuzzer's own `main` is never linked; this replaces
/// it.
@_cdecl("fuzz_persistence_main")
public func entry(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> CInt {
    var (count, arguments) = (count, arguments)
    return runDriver(&count, &arguments, fuzzOneInput)
}

/// Runs one input; its first byte selects what to check. Traps if a property does not hold.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    guard size >= 4 else { return 0 }
    let flags = Flags(rawValue: data[1])
    let content = Array(UnsafeBufferPointer(start: data + 4, count: size - 4))
    switch data[0] % 8 {
    case 0: checkManifest(content, flags)
    case 1: checkMark(content, flags)
    case 2: checkHeader(content, flags)
    case 3: checkDirectory([(.log, content)], flags)
    case 4: checkDirectory([(.snapshot, content)], flags)
    case 6:
        // A snapshot, the stream after it, and where the input is split.
        let isSnapshot = flags.contains(.overlapping)
        let middle = Int(data[2]) * content.count / 256
        var bytes = Array(content[(isSnapshot ? middle : 0)...])
        let place = Manifest.Entry(number: 1, offset: 0)
        if flags.contains(.mended) { bytes = Array(mended(bytes, .log, place, isEnded: false)) }
        bytes.removeFirst(min(bytes.count, FileHeader.size))
        if isSnapshot {
            let front = Array(content[..<middle])
            bytes =
                (flags.contains(.mended)
                    ? mended(front, .snapshot, place, isEnded: true, wholeAt: Int64(data[3] & 3)) : front) + bytes
        }
        checkStream(bytes, piece: Int(data[3]), isSnapshot: isSnapshot)
    case 7: checkLink(content, piece: Int(data[2]) + 1, hasState: flags.contains(.mended))
    default:
        let cuts = [Int(data[2]), Int(data[3])].map { $0 * content.count / 256 }.sorted()
        checkDirectory(
            [
                (.snapshot, Array(content[..<cuts[0]])), (.log, Array(content[cuts[0]..<cuts[1]])),
                (.log, Array(content[cuts[1]...])),
            ], flags)
    }
    return 0
}

private struct Flags: OptionSet {
    let rawValue: UInt8
    /// Headers and batches are made valid; their contents stay.
    static let mended = Flags(rawValue: 1)
    /// The last file is left unmodified.
    static let mendedButLast = Flags(rawValue: 2)
    static let severalWorkers = Flags(rawValue: 4)
    /// A sync mark points into the middle of the last file.
    static let marked = Flags(rawValue: 8)
    /// The journal is near its maximum offset.
    static let late = Flags(rawValue: 16)
    /// A snapshot ends with the number of its records.
    static let ended = Flags(rawValue: 32)
    /// The snapshot covers the first half of the log.
    static let overlapping = Flags(rawValue: 64)
}

// MARK: Small formats

private func checkManifest(_ bytes: [UInt8], _ flags: Flags) {
    var bytes = bytes
    if flags.contains(.mended) {
        let sum = String(bytes.withUnsafeBytes { Checksum.crc32c($0) }, radix: 16)
        bytes += "checksum \(String(repeating: "0", count: 8 - sum.count))\(sum)\n".utf8
    }
    guard let manifest = try? Manifest(bytes) else { return }
    guard let again = try? Manifest(manifest.encoded()), again == manifest else {
        fatalError("\(manifest) does not survive a round trip")
    }
    let files = SimulatedFileSystem(["/d/manifest": bytes])
    checkStart(files, Manifest(history: manifest.history), .init())
}

private func checkMark(_ bytes: [UInt8], _ flags: Flags) {
    var bytes = bytes
    if flags.contains(.mended), bytes.count >= SyncMark.size {
        bytes.removeLast(bytes.count - SyncMark.size)
        store(bytes.withUnsafeBytes { Checksum.crc32c(UnsafeRawBufferPointer(rebasing: $0[..<8])) }, in: &bytes, at: 8)
    }
    if let offset = SyncMark.decode(bytes) { precondition(SyncMark.encoded(offset) == bytes) }
    // A mark with any offset, next to a shorter log.
    let manifest = Manifest(history: history, logs: [Manifest.Entry(number: 1, offset: 0)])
    let log = FileHeader(content: .log, number: 1, journalOffset: 0, time: EngineTime(nanoseconds: 5)).encoded()
    checkStart(
        SimulatedFileSystem(["/d/manifest": manifest.encoded(), "/d/log-1": log, "/d/synced": bytes]), manifest, flags)
}

private func checkHeader(_ bytes: [UInt8], _ flags: Flags) {
    var bytes = bytes
    if flags.contains(.mended), bytes.count >= FileHeader.size { mendHeaderSum(&bytes) }
    for content in [FileHeader.Content.log, .snapshot] {
        guard let header = try? bytes.withUnsafeBytes({ try FileHeader($0, expecting: content) }) else { continue }
        let entry = Manifest.Entry(number: header.number, offset: header.journalOffset)
        var manifest = Manifest(history: history)
        if content == .log, entry.offset == 0 { manifest.logs = [entry] }
        if content == .snapshot { manifest.snapshot = entry }
        guard let name = manifest.fileNames.first else { continue }
        checkStart(SimulatedFileSystem(["/d/manifest": manifest.encoded(), "/d/\(name)": bytes]), manifest, flags)
    }
}

// MARK: Directories

private let history = String(repeating: "f", count: 40)
private let lastOffset: Int64 = (1 << 62) - 1

private func checkDirectory(_ parts: [(content: FileHeader.Content, bytes: [UInt8])], _ flags: Flags) {
    let files = SimulatedFileSystem()
    var manifest = Manifest(history: history)
    var offset: Int64 = flags.contains(.late) && parts[0].content == .snapshot ? lastOffset : 0
    let journalBytes = parts.filter { $0.content == .log }.reduce(0) { $0 + max(0, $1.bytes.count - FileHeader.size) }
    for (index, part) in parts.enumerated() {
        var entry = Manifest.Entry(number: index + 1, offset: offset)
        if part.content == .snapshot, flags.contains(.overlapping) {
            entry.offset = min(lastOffset, offset + Int64(journalBytes / 2))
        }
        if part.content == .snapshot { manifest.snapshot = entry } else { manifest.logs.append(entry) }
        let name = part.content == .snapshot ? Manifest.snapshotName(index + 1) : Manifest.logName(index + 1)
        var bytes = part.bytes
        if flags.contains(.mended), !flags.contains(.mendedButLast) || index + 1 < parts.count {
            bytes = mended(bytes, part.content, entry, isEnded: flags.contains(.ended))
        }
        files.contents["/d/\(name)"] = bytes
        let middle = offset.addingReportingOverflow(Int64(bytes.count / 2)).partialValue
        if flags.contains(.marked) { files.contents["/d/synced"] = SyncMark.encoded(max(0, middle)) }
        if part.content == .log { offset = min(lastOffset, offset + Int64(max(0, bytes.count - FileHeader.size))) }
    }
    files.contents["/d/manifest"] = manifest.encoded()
    checkStart(files, manifest, flags)
}

private func checkStart(_ files: SimulatedFileSystem, _ manifest: Manifest, _ flags: Flags) {
    let found = DirectoryCheck(files: files, directory: "/d")
    let summary = CheckSummary(found, CheckSummary.Context(path: "/d", now: EngineTime(nanoseconds: 1)))
    precondition((summary.verdict == .ok) == found.isClean && !summary.line.contains("\n"), summary.line)
    precondition(!found.text.isEmpty && !found.json(summary: summary).isEmpty)
    precondition((found.contents != nil) == found.isClean)
    let original = SimulatedFileSystem(files.contents)
    let dumped = dump(files)
    guard let first = recover(files, flags) else {
        precondition(!found.isClean, "refused, but checked as \(found.text)")
        precondition(!dumped, "refused, but dumped without an error")
        checkRepair(original, found, flags)
        return
    }
    precondition(found.isClean, "recovered, but checked as \(found.text)")
    precondition(dumped, "recovered, but not dumped")
    guard let second = recover(files, []) else { fatalError("the second recovery is refused") }
    precondition(second.states == first.states && second.report.end == first.report.end && second.report.cut == nil)
    // A journal at its maximum offset has no next batch.
    guard first.report.end < lastOffset else { return }
    let log = LogDirectory(files: files, path: "/d", recovered: first.report)
    do {
        try log.roll(at: first.report.end, time: first.report.lastTime, continues: true)
    } catch {
        fatalError("cannot begin a new segment: \(error)")
    }
    guard let third = recover(files, flags) else { fatalError("refused after a new segment") }
    precondition(third.states == first.states && third.report.end == first.report.end && third.report.cut == nil)
}

private func checkRepair(_ files: SimulatedFileSystem, _ found: DirectoryCheck, _ flags: Flags) {
    guard (try? DirectoryRepair(files: files, check: found)) != nil else { return }
    let now = DirectoryCheck(files: files, directory: "/d")
    precondition(now.isClean, "repaired, but checked as \(now.text)")
    precondition(recover(files, flags) != nil, "repaired, but refused")
}

/// Whether the dump completed.
private func dump(_ files: SimulatedFileSystem) -> Bool {
    do {
        _ = try RecordDump(files: files, directory: "/d").run { bytes in
            precondition(bytes.last == UInt8(ascii: "\n"))
            return true
        }
        return true
    } catch {
        return false
    }
}

private struct Recovered {
    let report: RecoveryReport
    let states: [[UInt8]: KeyState]
}

private func recover(_ files: SimulatedFileSystem, _ flags: Flags) -> Recovered? {
    let engine = Engine(shards: 4, seed: HashSeed(1, 2, 3))
    let horizon = EngineTime(nanoseconds: 1)
    let recovery = Recovery(
        files: files, path: "/d", engine: engine, horizon: horizon, workers: flags.contains(.severalWorkers) ? 4 : 1)
    let report = try? recovery.run(history: history, cutsTornTail: true)
    precondition(engine.violatedInvariants().isEmpty, "\(engine.violatedInvariants())")
    guard let report else { return nil }
    let session = KeyspaceSession(engine: engine)
    var states: [[UInt8]: KeyState] = [:]
    var keys: [[UInt8]] = []
    session.forEachKey(now: horizon) { key, _ in keys.append(Array(key)) }
    for key in keys { states[key] = key.withUnsafeBytes { session.state(of: $0, now: horizon) } }
    precondition(keys.count == states.count, "a key is in the engine twice")
    return Recovered(report: report, states: states)
}

// MARK: Mending

private func store<Number: FixedWidthInteger>(_ number: Number, in bytes: inout [UInt8], at offset: Int) {
    withUnsafeBytes(of: number.littleEndian) { bytes.replaceSubrange(offset..<offset + $0.count, with: $0) }
}

private func load(_ bytes: [UInt8], at offset: Int) -> Int64 {
    bytes.withUnsafeBytes { Int64(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: Int64.self)) }
}

private func mendHeaderSum(_ bytes: inout [UInt8]) {
    store(bytes.withUnsafeBytes { Checksum.crc32c(UnsafeRawBufferPointer(rebasing: $0[..<52])) }, in: &bytes, at: 52)
}

/// A file whose header and batches are valid; the input determines the time, the announced number of keys, the
/// lengths of batches and the records.
private func mended(
    _ input: [UInt8], _ content: FileHeader.Content, _ entry: Manifest.Entry, isEnded: Bool, wholeAt: Int64? = nil
) -> [UInt8] {
    var bytes = input
    while bytes.count < FileHeader.size { bytes.append(0) }
    let header = FileHeader(
        content: content, number: entry.number, journalOffset: entry.offset,
        time: EngineTime(nanoseconds: load(bytes, at: 32) & Int64.max), keys: Int(load(bytes, at: 40) & Int64.max))
    bytes.replaceSubrange(0..<FileHeader.size, with: header.encoded())
    let streamStart = content == .log ? entry.offset : 0
    var (position, records) = (FileHeader.size, 0)
    while bytes.count - position >= JournalBatch.headerSize {
        let left = bytes.count - position - JournalBatch.headerSize
        let length = min(left, Int(bytes[position]) | Int(bytes[position + 1] & 3) << 8)
        let end = position + JournalBatch.headerSize + length
        store(UInt32(length), in: &bytes, at: position)
        store(streamStart + Int64(position - FileHeader.size), in: &bytes, at: position + 8)
        store(load(bytes, at: position + 16) & Int64.max, in: &bytes, at: position + 16)
        let sum = bytes.withUnsafeBytes { Checksum.crc32c(UnsafeRawBufferPointer(rebasing: $0[(position + 8)..<end])) }
        store(sum, in: &bytes, at: position + 4)
        bytes.withUnsafeBytes { bytes in
            let batch = UnsafeRawBufferPointer(rebasing: bytes[position..<end])
            try? JournalBatch.forEachRecord(in: batch) { _ throws(Never) in records += 1 }
        }
        position = end
    }
    guard content == .snapshot, isEnded else { return bytes }
    let encoder = BatchEncoder(offset: Int64(position - FileHeader.size))
    // In a stream it also contains the journal offset at which the state is complete.
    let numbers = [Int64(records)] + (wholeAt.map { [$0] } ?? [])
    numbers.map(\.littleEndian).withUnsafeBytes {
        encoder.addControl(.endOfSnapshot, key: UnsafeRawBufferPointer(start: nil, count: 0), body: $0)
    }
    encoder.end()
    return bytes[..<position] + Array(encoder.buffer.bytes)
}
