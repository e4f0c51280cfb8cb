// The part of the fuzz target for input that a replica reads from an untrusted primary:
//  1. The same bytes produce the same events, or the same error, however they are split.
//  2. Decoded events can be applied to an engine, whose invariants then hold.
//  3. Whatever a link receives, it sends only what its state allows, and acknowledges only what it has passed on.

import LimiterEngine
import Persistence
import Replication
import System

/// Bytes as a snapshot with the stream after it, or as a stream alone, read whole and in pieces.
func checkStream(_ bytes: [UInt8], piece: Int, isSnapshot: Bool) {
    let whole = read(bytes, piece: bytes.count, isSnapshot)
    let pieces = read(bytes, piece: piece, isSnapshot)
    precondition(whole == pieces, "whole: \(whole)\nin pieces of \(piece): \(pieces)")
}

private func read(_ bytes: [UInt8], piece: Int, _ isSnapshot: Bool) -> [String] {
    let decoder = isSnapshot ? StreamDecoder() : StreamDecoder(offset: 0)
    let engine = Engine(shards: 4, seed: HashSeed(1, 2, 3))
    let applier = BatchApplier(engine: engine)
    var events: [String] = []
    // Memory freed after a piece must not be read again.
    for start in stride(from: 0, to: bytes.count, by: max(1, piece)) {
        let part = Array(bytes[start..<min(bytes.count, start + max(1, piece))])
        let isOver = part.withUnsafeBytes { part in
            var rest = part
            do throws(StreamError) {
                while let event = try decoder.next(&rest) { events.append(apply(event, applier)) }
                precondition(rest.isEmpty)
                return false
            } catch {
                events.append("\(error)")
                return true
            }
        }
        if isOver { break }
    }
    precondition(engine.violatedInvariants().isEmpty, "\(engine.violatedInvariants())")
    return events
}

private func apply(_ event: StreamDecoder.Event, _ applier: BatchApplier) -> String {
    switch event {
    case .header(let header):
        applier.beginSnapshot()
        return "header \(header.journalOffset)"
    case .snapshotEnd(let keys, let wholeAt):
        applier.endSnapshot()
        return "end \(keys) \(wholeAt)"
    case .snapshotBatch(let batch, let bytes), .batch(let batch, let bytes):
        do throws(RecordError) {
            try applier.apply(bytes, horizon: EngineTime(nanoseconds: 1))
        } catch {
            fatalError("decoded, but refused: \(error)")
        }
        return "batch \(batch.offset) \(batch.count)"
    }
}

/// Bytes as everything a primary sends. The first connection gets all of them, later connections the remainder.
func checkLink(_ bytes: [UInt8], piece: Int, hasState: Bool) {
    let link = UpstreamLink(settings: UpstreamLink.Settings(listeningPort: 1))
    let id = ReplicationID(String(repeating: "a", count: 40))!
    var (now, isConnected, handedOn): (SteadyInstant, Bool, Int64) = (.boot, false, 0)
    var connections = 0
    func perform(_ action: UpstreamLink.Action) {
        switch action {
        case .connect:
            precondition(!isConnected)
            connections += 1
        case .send(let words):
            precondition(isConnected && !words.isEmpty)
            let text = String(decoding: words, as: UTF8.self)
            guard text.contains("\r\nACK\r\n") else { return }
            precondition(link.isUp && text.contains("\r\n\(handedOn)\r\n"), "acknowledged \(text), had \(handedOn)")
        case .disconnect: isConnected = false
        case .beginSnapshot(_, let header): handedOn = header.journalOffset
        case .batch(let batch, _):
            precondition(batch.offset == handedOn)
            handedOn += Int64(batch.count)
        case .tookOver, .follow, .snapshotBatch, .endSnapshot, .becameWhole, .online: break
        }
    }
    link.start(position: hasState ? StreamPosition(id: id, offset: 0) : nil, horizon: nil, now: now, perform)
    for start in stride(from: 0, to: bytes.count, by: max(1, piece)) {
        if link.state == .connecting {
            isConnected = true
            link.connected(now: now, perform)
        }
        bytes[start..<min(bytes.count, start + max(1, piece))].withUnsafeBytes {
            link.received($0, now: now, synced: -1, perform)
        }
        now += .milliseconds(200)
        link.tick(now: now, synced: -1, perform)
        precondition(connections < 200, "reconnects without a delay")
    }
    link.stop(perform)
}
