// What each kind of state implements: a type without instances of its own, its witness. One file a kind, beside its
// arithmetic; `StateKind` has the table of them.
//
// A witness is a static generic argument, never a value: `dispatch` of `StateKind` and `Limit.Algorithm` switches once
// and calls a visitor with the type, so the optimizer specializes what is called. No existential, no allocation.
//
// Every state obeys these rules, on which records, journals and the sweep rely:
// (1) it has 8 bytes or more; (2) its first word is the instant at which it expires, except that a counter never does;
// (3) where its length depends on the state, `byteCount` needs nothing but what `initialize` has written;
// (4) bytes that `isValid` accepts can be handed to every other function with any `now` of 0 or more.

/// A kind of state: its layout, what of it may be stored, and how it is called.
protocol StateWitness {
    /// The kind of which this is the witness.
    static var kind: StateKind { get }

    // MARK: Names

    /// What TYPE answers.
    static var name: StaticString { get }
    /// What OBJECT ENCODING answers.
    static var encoding: StaticString { get }
    /// What error messages and dumps call such a state.
    static var noun: StaticString { get }
    /// Keys of this kind cannot be reached by commands: they are not counted, listed or found by name. They are
    /// journaled and restored like all others.
    static var isHidden: Bool { get }

    // MARK: Layout

    /// Bytes of state; nil where that depends on the state.
    static var fixedSize: Int? { get }
    /// Bytes of a key's first state.
    static var initialSize: Int { get }
    /// Bytes of the longest state.
    static var sizeMax: Int { get }
    /// Bytes of the state at `state`.
    static func byteCount(_ state: UnsafeMutableRawPointer) -> Int
    /// Prepares fresh memory, so that `byteCount` is `byteCount`. A fixed size needs nothing.
    static func initialize(_ state: UnsafeMutableRawPointer, byteCount: Int)

    // MARK: Stored bytes

    /// Whether bytes from outside, of the fixed size where there is one, are a state. O(bytes).
    static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool
    /// Whether bytes from outside are a key of such a state.
    static func isValidKey(_ key: UnsafeRawBufferPointer) -> Bool
    /// Moves a valid state back by `duration` nanoseconds, 0 or more; it stays valid. See `StateShift.swift`.
    static func moveBack(_ state: UnsafeMutableRawPointer, by duration: Int64)
    /// What a dump shows of a state, as numbers with their names; nil for the bytes in hexadecimal.
    static func fields(_ state: UnsafeMutableRawPointer) -> [(name: StaticString, value: Int64)]?

    // MARK: Units spent

    /// Units in force that count against another algorithm's `limit`; nil for a state that is no limiter's. A debt in
    /// time is converted at the price at which it was made (`Limit.debtPrice`).
    static func unitsInForce(_ state: UnsafeMutableRawPointer, against limit: Limit, now: Int64) -> Int64?
    /// Gives up to `units` back, in the state's own terms. Returns how many there were to give back, and whether
    /// nothing is left: then the key is to be removed, and the state means nothing.
    static func refund(
        _ units: Int64, _ state: UnsafeMutableRawPointer, _ limit: Limit, now: Int64
    ) -> (units: Int64, isFull: Bool)
}

/// A kind of state that decides about limits.
protocol LimiterWitness: StateWitness {
    /// What a state becomes when a decision is carried out.
    associatedtype Next

    // MARK: Limits

    /// What the algorithm is, in half a sentence for the documentation.
    static var summary: StaticString { get }
    /// A limit has a burst, and its state is a debt in time.
    static var hasBurst: Bool { get }
    /// A limit may have an offset from UTC.
    static var hasOffset: Bool { get }
    /// Windows are those of the calendar: a limit's period is a `CalendarPeriod`, and it has a zone.
    static var usesCalendar: Bool { get }
    /// The most units a limit may have; nil for no bound of its own.
    static var limitMax: Int64? { get }

    // MARK: Deciding

    /// Decides a demand over the state at `state`; nil is a full limit. Changes nothing.
    ///
    /// - Returns: The decision as after the call, and what the state becomes; meaningful only when something was
    ///   granted.
    static func decide(
        _ limit: Limit, _ demand: Demand, state: UnsafeMutableRawPointer?, now: Int64
    ) -> (decision: LimitDecision, next: Next)
    /// Bytes that the state at `state` must have before `store`; more than it has where the key has to move.
    static func sizeNeeded(_ next: Next, _ state: UnsafeMutableRawPointer, _ limit: Limit, now: Int64) -> Int
    /// Copies the state to larger memory, which has been initialized.
    static func copy(_ state: UnsafeMutableRawPointer, to larger: UnsafeMutableRawPointer)
    /// Carries a decision out that has granted `granted` units. Memory of a new key has been initialized.
    static func store(_ next: Next, granted: Int64, to state: UnsafeMutableRawPointer, isNew: Bool, now: Int64)
    /// Bytes by which one call may make the state longer, at most.
    static func growthMax(_ state: UnsafeMutableRawPointer) -> Int

    // MARK: Carrying over

    /// The most spent units that a state can hold.
    static func carriedMax(_ limit: Limit) -> Int64
    /// Writes a state of `initialSize` in which `units`, 1 … `carriedMax`, have just been spent. Any outcome but
    /// `allowed` is why there is no such state, such as `outOfRange` where it would end after the last representable
    /// instant.
    static func carry(
        _ units: Int64, _ limit: Limit, now: Int64, to memory: UnsafeMutableRawPointer
    ) -> LimitDecision.Outcome
}

// MARK: - What most kinds have in common

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

/// What is done with the witness of a kind.
protocol StateVisitor {
    associatedtype Result
    func visit<Witness: StateWitness>(_ witness: Witness.Type) -> Result
}

/// What is done with the witness of an algorithm's kind.
protocol LimiterVisitor {
    associatedtype Result
    func visit<Witness: LimiterWitness>(_ witness: Witness.Type) -> Result
}
