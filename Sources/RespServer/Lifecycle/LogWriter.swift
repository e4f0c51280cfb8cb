// The queue of log lines, and the thread that writes them.
//
// A pipe whose reader stalls, a full terminal or a slow disk makes write(2) block. Event loops log lines with locks
// held, so they only queue them. The queue is bounded: lines that do not fit are dropped and counted, and once the
// thread catches up, one line in their place reports how many are missing. Lines keep their order.

import Synchronization
import System

/// Lines in order, to one output.
final class LogWriter: Sendable {
    /// Maximum number of queued bytes, including the overhead per line. The writer thread may hold as many again.
    static let queueBytesMax = 1 << 20
    /// Memory overhead of a queued line.
    private static let lineOverhead = 64

    /// Formats the line that reports the outcome of a reopen; nil for none.
    typealias ReopenNote = @Sendable (LogFileError?) -> [UInt8]?
    /// Formats the line that reports how many lines were dropped.
    typealias DroppedNote = @Sendable (Int) -> [UInt8]

    private enum Entry {
        case line([UInt8])
        case reopen(ReopenNote)
    }

    private struct Queue {
        var entries: [Entry] = []
        var bytes = 0
        /// Lines dropped after the last of `entries`. While there are any, no line is queued, or a short line would
        /// overtake the note about a long one.
        var dropped = 0
        var hasReopen = false
        /// Entries ever queued.
        var accepted = 0
    }

    /// Lines dropped.
    let dropped = Atomic<Int>(0)
    /// Lines that could not be written completely.
    let failures = Atomic<Int>(0)

    private let queueBytesMax: Int
    private let queue = Locked(Queue())
    /// Held while writing: by callers before the thread runs, by the thread alone from then on.
    private let output: Locked<LogOutput>
    private let isFile: Bool
    private let isRunning = Atomic<Bool>(false)
    private let work = Doorbell()
    private let progress = Doorbell()
    /// Number of entries completed, of those ever queued.
    private let completed = Atomic<Int>(0)

    init(_ output: sending LogOutput, queueBytesMax: Int = LogWriter.queueBytesMax) {
        isFile = !output.path.isEmpty
        self.output = Locked(output)
        self.queueBytesMax = queueBytesMax
    }

    /// Starts the thread. Called once.
    func start(droppedNote: @escaping DroppedNote) {
        isRunning.store(true, ordering: .releasing)
        Thread.detach(name: "log") { [self] in
            while true {
                let seen = work.count
                let batch = next(droppedNote)
                for entry in batch {
                    perform(entry)
                    completed.add(1, ordering: .releasing)
                }
                progress.ring()
                if batch.isEmpty { work.wait(since: seen, atMost: .seconds(3600)) }
            }
        }
    }

    /// Drains the queue, appending the note about dropped lines.
    private func next(_ droppedNote: DroppedNote) -> [Entry] {
        var (entries, missing) = queue.withLock { queue in
            let taken = (queue.entries, queue.dropped)
            queue.accepted += queue.dropped > 0 ? 1 : 0
            queue.entries = []
            queue.bytes = 0
            queue.dropped = 0
            queue.hasReopen = false
            return taken
        }
        if missing > 0 { entries.append(.line(droppedNote(missing))) }
        return entries
    }

    private func perform(_ entry: Entry) {
        switch entry {
        case .line(let line): write(line)
        case .reopen(let note): reopenNow(note)
        }
    }

    private func write(_ line: [UInt8]) {
        let isWritten = output.withLock { $0.write(line) }
        if !isWritten { failures.add(1, ordering: .relaxed) }
    }

    private func reopenNow(_ note: ReopenNote) {
        var failure: LogFileError?
        do throws(LogFileError) {
            try output.withLock { output throws(LogFileError) in try output.reopen() }
        } catch {
            failure = error
        }
        if let line = note(failure) { write(line) }
    }

    // MARK: For any thread

    /// Lines that are queued or being written.
    var unwritten: Int {
        let accepted = queue.withLock { $0.accepted + ($0.dropped > 0 ? 1 : 0) }
        return max(0, accepted - completed.load(ordering: .acquiring))
    }

    /// Queues a line, or drops it if the queue is full.
    func add(_ line: [UInt8]) {
        guard isRunning.load(ordering: .acquiring) else { return write(line) }
        let cost = line.count + LogWriter.lineOverhead
        let isQueued = queue.withLock { queue in
            guard queue.dropped == 0, queue.bytes + cost <= queueBytesMax else {
                queue.dropped += 1
                return false
            }
            queue.entries.append(.line(line))
            queue.bytes += cost
            queue.accepted += 1
            return true
        }
        if isQueued { work.ring() } else { dropped.add(1, ordering: .relaxed) }
    }

    /// Reopens the file after the lines queued so far are written. Never dropped; several pending requests are merged
    /// into one.
    func reopen(_ note: @escaping ReopenNote) {
        guard isFile else { return }
        guard isRunning.load(ordering: .acquiring) else { return reopenNow(note) }
        queue.withLock { queue in
            guard !queue.hasReopen else { return }
            queue.hasReopen = true
            queue.entries.append(.reopen(note))
            queue.accepted += 1
        }
        work.ring()
    }

    /// Waits until everything queued so far is written, for `limit` at most.
    func flush(atMost limit: Nanoseconds) {
        guard isRunning.load(ordering: .acquiring) else { return }
        let deadline = SteadyInstant.now() + limit
        let wanted = queue.withLock { $0.accepted + ($0.dropped > 0 ? 1 : 0) }
        while true {
            let seen = progress.count
            let left = deadline - SteadyInstant.now()
            guard completed.load(ordering: .acquiring) < wanted, left > .zero else { return }
            // The ring may wake another thread instead.
            progress.wait(since: seen, atMost: min(left, .milliseconds(20)))
        }
    }
}
