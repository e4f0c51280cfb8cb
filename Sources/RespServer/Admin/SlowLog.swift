// The slow log: the commands that took longer than a threshold, the newest kept. Owns copies of their arguments, cut to
// a bound, so that one huge request cannot be held here. Reads no clock and writes no reply.

import RESP
import Synchronization
import System

/// A bounded, thread-safe log of slow commands. One short lock, taken only for commands that are slow.
final class SlowLog: Sendable {
    /// One slow command.
    struct Entry: Equatable, Sendable {
        /// Counts up from 0 for the life of the server, also over a reset.
        var id: Int64
        /// When it ended.
        var unixSeconds: Int64
        var took: Nanoseconds
        /// At most 32 arguments of about 128 bytes; what was left out is said in their place.
        var arguments: [[UInt8]]
        var clientAddress: String
        var clientName: String
    }

    static let argumentsMax = 32
    static let argumentBytesMax = 128
    /// The most entries that can be asked to be kept.
    static let lengthMaxMax = 1 << 20

    fileprivate struct State {
        /// A ring once it is full: `oldest` is where the next entry goes.
        var ring: [Entry] = []
        var oldest = 0
        var nextID: Int64 = 0
    }

    private let thresholdLength: Atomic<Nanoseconds>
    private let lengthLimit: Atomic<Int>
    private let state = Locked(State())

    /// A log of commands that take `threshold` or longer: zero is every command, `.forever` none.
    init(threshold: Nanoseconds = .milliseconds(10), lengthMax: Int = 128) {
        thresholdLength = Atomic(threshold)
        lengthLimit = Atomic(min(max(lengthMax, 0), Self.lengthMaxMax))
    }

    /// `slowlog-log-slower-than`: zero is every command, `.forever` none. Cheap to read.
    var threshold: Nanoseconds {
        get { thresholdLength.load(ordering: .relaxed) }
        set { thresholdLength.store(newValue, ordering: .relaxed) }
    }

    /// `slowlog-max-len`: how many entries are kept. Fewer than there are drops the oldest.
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

    /// Logs a command, without the arguments that are hidden.
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
                // Not full means not yet turned: `oldest` is 0 and the end is the newest.
                state.ring.append(entry)
            } else {
                state.ring[state.oldest] = entry
                state.oldest = (state.oldest + 1) % state.ring.count
            }
        }
    }

    /// The newest `count` entries, newest first; negative is all of them.
    func entries(_ count: Int) -> [Entry] {
        state.withLock { state in
            let wanted = count < 0 ? state.ring.count : min(count, state.ring.count)
            return state.inOrder.suffix(wanted).reversed()
        }
    }

    /// How many entries there are.
    var count: Int { state.withLock { $0.ring.count } }

    /// Drops all entries. The next one's id goes on from the last.
    func reset() {
        state.withLock { state in
            state.ring = []
            state.oldest = 0
        }
    }

    /// Copies of the arguments within the bounds, with Redis's own words for what is missing.
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
