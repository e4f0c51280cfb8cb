// The kinds of state a key may hold, and how many bytes each takes. Knows sizes and names, no arithmetic.
//
//   kind             bytes      state
//   1 gcra               8      theoretical arrival time
//   2 counter            8      a signed integer
//   3 fixedWindow       16      end of the window, units spent in it
//   4 slidingWindow     24      expiry, period, units of the previous and the current window
//   5 slidingLog  16 + 10·c     expiry, a ring of c grants (see `SlidingLog`)
//   6 token             56      expiry and the answer a token was first given (see `Shard+Tokens.swift`)
//
// The first word of every kind but the counter is the instant at which the state is worth nothing any more.

/// What kind of state a key holds. The raw value is the kind byte of journal and snapshot: never reuse one.
/// A record has three bits for it: 1 … 7.
public enum StateKind: UInt8, Sendable, CaseIterable {
    /// The theoretical arrival time of the generic cell rate algorithm: 8 bytes, nanoseconds.
    case gcra = 1
    /// A 64-bit integer: 8 bytes.
    case counter = 2
    /// Units spent in one window of the clock: 16 bytes.
    case fixedWindow = 3
    /// Units spent in two neighbouring windows of the clock: 24 bytes.
    case slidingWindow = 4
    /// Every grant that still counts: 16 bytes and 10 for each of up to `SlidingLog.unitsMax` grants.
    case slidingLog = 5
    /// The answer that an idempotency token was first given: 56 bytes. Keys of this kind are in a namespace of their
    /// own, which no command can reach by a key's name.
    case token = 6

    /// Bytes of state; nil where that depends on the state itself.
    public var fixedSize: Int? {
        switch self {
        case .gcra, .counter: 8
        case .fixedWindow: 16
        case .slidingWindow: 24
        case .slidingLog: nil
        case .token: 56
        }
    }

    /// Whether keys of this kind are kept from commands: they are not counted, listed or found by name, but they are
    /// journaled and restored like all others.
    public var isHidden: Bool { self == .token }

    /// The name that TYPE shows.
    public var name: StaticString {
        switch self {
        case .gcra: "gcra"
        case .counter: "string"
        case .fixedWindow: "fixed-window"
        case .slidingWindow: "sliding-window"
        case .slidingLog: "sliding-log"
        case .token: "token"
        }
    }
}
