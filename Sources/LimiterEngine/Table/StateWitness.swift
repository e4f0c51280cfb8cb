// The interface of a kind of state: a type without instances, its witness. One file per kind, next to its arithmetic;
// `StateKind` contains the table of them.
//
// A witness is a static generic argument, never a value: `dispatch` of `StateKind` and `Limit.Algorithm` switches once
// and calls a visitor with the type, so the optimizer specializes what is called. No existential, no allocation.
//
// Every state obeys these rules, on which records, journals and the sweep rely:
// (1) it has 8 bytes or more; (2) its first word is the instant at which it expires, except that a counter never does;
// (3) if its length depends on the state, `byteCount` reads only what `initialize` has written;
// (4) bytes that `isValid` accepts can be passed to every other function with any `now` of 0 or more.

/// A kind of state: its layout, its valid contents, and its names.
protocol StateWitness {
    /// The kind this witness belongs to.
    static var kind: StateKind { get }

    // MARK: Names

    /// The answer of TYPE.
    static var name: StaticString { get }
    /// The answer of OBJECT ENCODING.
    static var encoding: StaticString { get }
    /// The noun for such a state in error messages and dumps.
    static var noun: StaticString { get }
    /// Whether keys of this kind are hidden from commands: they are not counted, listed or found by name. They are
    /// journaled and restored like all others.
    static var isHidden: Bool { get }

    // MARK: Layout

    /// Bytes of state; nil if that depends on the state.
    static var fixedSize: Int? { get }
    /// Bytes of a key's first state.
    static var initialSize: Int { get }
    /// Bytes of the longest state.
    static var sizeMax: Int { get }
    /// Bytes of the state at `state`.
    static func byteCount(_ state: UnsafeMutableRawPointer) -> Int
    /// Prepares fresh memory so that `byteCount(_:)` returns `byteCount`. Does nothing for a fixed size.
    static func initialize(_ state: UnsafeMutableRawPointer, byteCount: Int)

    // MARK: Stored bytes

    /// Whether untrusted bytes, of the fixed size if there is one, are a state. O(bytes).
    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool
    /// Whether untrusted bytes are a key of such a state.
    static func isValidKey(_ key: UnsafeRawBufferPointer) -> Bool
    /// Moves a valid state back by `duration` nanoseconds, 0 or more; it stays valid. See `StateShift.swift`.
    static func moveBack(_ state: UnsafeMutableRawPointer, by duration: Int64)
    /// The fields of a state that a dump shows, as named numbers; nil for the bytes in hexadecimal.
    static func fields(_ state: UnsafeMutableRawPointer) -> [(name: StaticString, value: Int64)]?

    // MARK: Units spent

    /// Units in force that count against another algorithm's `limit`; nil for a state that is not a limiter's. A debt
    /// in time is converted at the price at which it was incurred (`Limit.debtPrice`).
    static func unitsInForce(_ state: UnsafeMutableRawPointer, against limit: Limit, now: Int64) -> Int64?
    /// Gives up to `units` back, in the state's own terms. Returns how many there were to give back, and whether
    /// nothing is left: the key must then be removed, and the state is meaningless.
    static func refund(
        _ units: Int64, _ state: UnsafeMutableRawPointer, _ limit: Limit, now: Int64
    ) -> (units: Int64, isFull: Bool)
}

/// A kind of state that decides about limits.
protocol LimiterWitness: StateWitness {
    /// The state that results from a decision.
    associatedtype Next

    // MARK: Limits

    /// A short description of the algorithm for the documentation.
    static var summary: StaticString { get }
    /// Whether a limit has a burst, and its state is a debt in time.
    static var hasBurst: Bool { get }
    /// Whether a limit may have an offset from UTC.
    static var hasOffset: Bool { get }
    /// Whether windows are calendar windows: a limit's period is a `CalendarPeriod`, and it has a zone.
    static var usesCalendar: Bool { get }
    /// Largest number of units of a limit; nil for no bound of its own.
    static var limitMax: Int64? { get }

    // MARK: Deciding

    /// Decides a demand over the state at `state`; nil is a full limit. Changes nothing.
    ///
    /// - Returns: The state of the limit after the call, and the resulting state; the latter is meaningful only when
    ///   something was granted.
    static func decide(
        _ limit: Limit, _ demand: Demand, state: UnsafeMutableRawPointer?, now: Int64
    ) -> (decision: LimitDecision, next: Next)
    /// Bytes that the state at `state` must have before `store`; more than it has if the record has to move.
    static func sizeNeeded(_ next: Next, _ state: UnsafeMutableRawPointer, _ limit: Limit, now: Int64) -> Int
    /// Copies the state to larger memory, which has been initialized.
    static func copy(_ state: UnsafeMutableRawPointer, to larger: UnsafeMutableRawPointer)
    /// Applies a decision that has granted `granted` units. Memory of a new key has been initialized.
    static func store(_ next: Next, granted: Int64, to state: UnsafeMutableRawPointer, isNew: Bool, now: Int64)
    /// Upper bound on the growth of the state in one call, in bytes.
    static func growthMax(_ state: UnsafeMutableRawPointer) -> Int

    // MARK: Carrying over

    /// The most spent units that a state can hold.
    static func carriedMax(_ limit: Limit) -> Int64
    /// Writes a state of `initialSize` in which `units`, 1 … `carriedMax`, have just been spent. Any outcome but
    /// `allowed` is the reason why there is no such state, such as `outOfRange` if it would end after the last
    /// representable instant.
    static func carry(
        _ units: Int64, _ limit: Limit, now: Int64, to memory: UnsafeMutableRawPointer
    ) -> LimitDecision.Outcome
}

// MARK: - Defaults

extension StateWitness {
    static var encoding: StaticString { name }
    static var noun: StaticString { name }
    static var isHidden: Bool { false }

    static var initialSize: Int { fixedSize! }
    static var sizeMax: Int { fixedSize! }

    @inline(__always)
    static func byteCount(_ state: UnsafeMutableRawPointer) -> Int { fixedSize! }

    @inline(__always)
    static func initialize(_ state: UnsafeMutableRawPointer, byteCount: Int) {}

    static func isValidKey(_ key: UnsafeRawBufferPointer) -> Bool { true }

    static func moveBack(_ state: UnsafeMutableRawPointer, by duration: Int64) {
        state.storeBytes(of: StateView.movedBack(state.loadUnaligned(as: Int64.self), by: duration), as: Int64.self)
    }

    static func fields(_ state: UnsafeMutableRawPointer) -> [(name: StaticString, value: Int64)]? { nil }

    static func unitsInForce(_ state: UnsafeMutableRawPointer, against limit: Limit, now: Int64) -> Int64? { nil }

    static func refund(
        _ units: Int64, _ state: UnsafeMutableRawPointer, _ limit: Limit, now: Int64
    ) -> (units: Int64, isFull: Bool) {
        (0, false)
    }
}

extension LimiterWitness {
    static var hasBurst: Bool { false }
    static var hasOffset: Bool { false }
    static var usesCalendar: Bool { false }
    static var limitMax: Int64? { nil }

    @inline(__always)
    static func sizeNeeded(_ next: Next, _ state: UnsafeMutableRawPointer, _ limit: Limit, now: Int64) -> Int {
        fixedSize!
    }

    static func copy(_ state: UnsafeMutableRawPointer, to larger: UnsafeMutableRawPointer) {
        larger.copyMemory(from: state, byteCount: byteCount(state))
    }

    @inline(__always)
    static func growthMax(_ state: UnsafeMutableRawPointer) -> Int { 0 }

    static func carriedMax(_ limit: Limit) -> Int64 { limitMax ?? Int64.max }
}

// MARK: - Visitors

/// An operation on the witness of a kind.
protocol StateVisitor {
    associatedtype Result
    func visit<Witness: StateWitness>(_ witness: Witness.Type) -> Result
}

/// An operation on the witness of an algorithm's kind.
protocol LimiterVisitor {
    associatedtype Result
    func visit<Witness: LimiterWitness>(_ witness: Witness.Type) -> Result
}
