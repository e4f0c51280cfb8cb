// The slow log: the newest commands that took at least a threshold. Owns truncated copies of their arguments, so that a
// huge request cannot pin its memory here. Reads no clock and writes no reply.

import RESP
import Synchronization
import System

/// A bounded, thread-safe log of slow commands. One short lock, taken only for commands that are slow.
final class SlowLog: Sendable {
    /// One slow command.
    struct Entry: Equatable, Sendable {
        /// Counts up from 0 for the life of the server; SLOWLOG RESET does not restart it.
        var id: Int64
        /// When it ended.
        var unixSeconds: Int64
        var took: Nanoseconds
        /// At most 32 arguments of about 128 bytes; a note replaces what was cut.
        var arguments: [[UInt8]]
        var clientAddress: String
        var clientName: String
    }

    static let argumentsMax = 32
    static let argumentBytesMax = 128
    /// Upper bound of `slowlog-max-len`.
    static let lengthMaxMax = 1 << 20

    fileprivate struct State {
        /// A ring buffer once it is full: the next entry overwrites the one at `oldest`.
        var ring: [Entry] = []
        var oldest = 0
        var nextID: Int64 = 0
    }

    private let thresholdLength: Atomic<Nanoseconds>
    private let lengthLimit: Atomic<Int>
    private let state = Locked(State())

    /// A log of commands that take at least `threshold`: zero logs every command, `.forever` none.
    init(threshold: Nanoseconds = .milliseconds(10), lengthMax: Int = 128) {
        thresholdLength = Atomic(threshold)
        lengthLimit = Atomic(min(max(lengthMax, 0), Self.lengthMaxMax))
    }

    /// `slowlog-log-slower-than`: zero logs every command, `.forever` none. Cheap to read.
    var threshold: Nanoseconds {
        get { thresholdLength.load(ordering: .relaxed) }
        set { thresholdLength.store(newValue, ordering: .relaxed) }
    }

    /// `slowlog-max-len`: how many entries are kept. Lowering it drops the oldest.
    var lengthMax: Int {
        get { lengthLimit.load(ordering: .relaxed) }
        set {
            let limit = min(max(newValue, 0), Self.lengthMaxMax)
            state.withLock { state in
                lengthLimit.store(limit, ordering: .relaxed)
                state.ring = Array(state.inOrder.suffix(limit))
                state.oldest = 0
            }
        }
    }

    /// Whether a command that took this long belongs in the log. One relaxed load.
    @inline(__always)
    func isSlow(_ took: Nanoseconds) -> Bool { took >= threshold }

    /// Logs a command, without its hidden arguments.
    func add(
        _ arguments: ArgumentList, hidden: HiddenArguments = .none, took: Nanoseconds, unixSeconds: Int64,
        clientAddress: String, clientName: String
    ) {
        let kept = Self.cut(arguments, hidden: hidden)
        state.withLock { state in
            let limit = lengthLimit.load(ordering: .relaxed)
            let entry = Entry(
                id: state.nextID, unixSeconds: unixSeconds, took: took, arguments: kept,
                clientAddress: clientAddress, clientName: clientName)
            state.nextID += 1
            guard limit > 0 else { return }
            if state.ring.count < limit {
                // The ring has not wrapped yet: `oldest` is 0 and the newest entry is at the end.
                state.ring.append(entry)
            } else {
                state.ring[state.oldest] = entry
                state.oldest = (state.oldest + 1) % state.ring.count
            }
        }
    }

    /// The newest `count` entries, newest first; all of them if negative.
    func entries(_ count: Int) -> [Entry] {
        state.withLock { state in
            let wanted = count < 0 ? state.ring.count : min(count, state.ring.count)
            return state.inOrder.suffix(wanted).reversed()
        }
    }

    /// How many entries there are.
    var count: Int { state.withLock { $0.ring.count } }

    /// Drops all entries. Ids continue from the last one.
    func reset() {
        state.withLock { state in
            state.ring = []
            state.oldest = 0
        }
    }

    /// Copies of the arguments, truncated to the bounds; the notes about what was cut are worded as in Redis.
    static func cut(_ arguments: ArgumentList, hidden: HiddenArguments) -> [[UInt8]] {
        let shown = min(arguments.count, argumentsMax)
        return (0..<shown).map { index in
            if shown != arguments.count, index == shown - 1 {
                return Array("... (\(arguments.count - shown + 1) more arguments)".utf8)
            }
            if hidden.contains(index) { return Array(HiddenArguments.text.utf8) }
            let bytes = arguments[index].buffer
            guard bytes.count > argumentBytesMax else { return Array(bytes) }
            let rest = "... (\(bytes.count - argumentBytesMax) more bytes)"
            return Array(bytes.prefix(argumentBytesMax)) + Array(rest.utf8)
        }
    }
}

extension SlowLog.State {
    /// Oldest first.
    fileprivate var inOrder: [SlowLog.Entry] { Array(ring[oldest...] + ring[..<oldest]) }
}
