// Changing policies and rules: one editor at a time, a draft, a new table, one swap. Readers never wait.

import Synchronization
import System

/// An engine's policies and rules: the table in force, and the one way to change it. Thread-safe.
///
/// `@unchecked Sendable`: `draft` is touched with `editing` held, `current` is replaced with both held and read with
/// either; the version is atomic.
public final class PolicyRegistry: @unchecked Sendable {
    /// Held for a whole edit.
    private let editing = Lock.allocate(rank: .policyEditor)
    /// Held to read or replace a reference. May be taken under any lock, and takes none.
    private let lock = Lock.allocate(rank: .policyTable)
    private var draft = PolicyDraft()
    private var current: PolicyTable
    private let published = Atomic<UInt64>(0)
    private let unsavedOverrides = Atomic<Bool>(false)

    init(seed: HashSeed) {
        current = PolicyTable(seed: seed)
    }

    deinit {
        editing.deallocate()
        lock.deallocate()
    }

    /// Goes up with every change: whoever keeps a table compares it. One load.
    public var version: UInt64 { published.load(ordering: .acquiring) }

    /// The table in force. Takes a lock for a moment; a session's `policies` does not.
    public var table: PolicyTable {
        lock.acquire()
        defer { lock.release() }
        return current
    }

    /// Changes policies and rules, all or nothing: from its end on, the new ones are in force.
    ///
    /// - Parameters:
    ///   - now: Engine time of the change; from here on lowered limits count.
    ///   - body: Makes the changes. When it throws, nothing is changed.
    ///   - journal: Is handed the records of the changes, in the order in which all editors' changes take force, before
    ///     they do; it must not call the registry. Not called when there are none.
    /// - Complexity: As `PolicyTable.succeeded`; nothing for an edit that changes nothing. A change of many is best one
    ///   edit.
    public func edit(
        now: EngineTime, _ body: (inout PolicyDraft) throws(PolicyError) -> Void,
        journal: ([PolicyRecord]) -> Void = { _ in }
    ) throws(PolicyError) {
        editing.acquire()
        defer { editing.release() }
        draft.begin(now: now.nanoseconds)
        do throws(PolicyError) {
            try body(&draft)
        } catch {
            draft.rollBack()
            throw error
        }
        unsavedOverrides.store(draft.overrides.hasUnsaved, ordering: .relaxed)
        guard !draft.isUnchanged else { return draft.begin(now: 0) }
        let table = current.succeeded(by: draft)
        if !draft.records.isEmpty { journal(draft.records) }
        draft.begin(now: 0)
        // The old one may end with this: not while readers wait for the lock.
        var old = table
        lock.acquire()
        swap(&current, &old)
        lock.release()
        published.add(1, ordering: .releasing)
    }

    // MARK: Overrides of the rules file

    /// What commands have changed or removed of the rules file's. Takes the lock of an edit.
    public var overrides: FileOverrides {
        editing.acquire()
        defer { editing.release() }
        return draft.overrides.all
    }

    /// Takes over what was stored of overrides; those that have come since are kept.
    public func restoreOverrides(_ stored: FileOverrides) {
        editing.acquire()
        defer { editing.release() }
        draft.restoreOverrides(stored)
    }

    /// Whether there are overrides to store. One load.
    public var hasUnsavedOverrides: Bool { unsavedOverrides.load(ordering: .relaxed) }

    /// The overrides to store, once: the caller stores them. Nil for none. Takes the lock of an edit.
    public func drainUnsavedOverrides() -> UnsavedOverrides? {
        editing.acquire()
        defer { editing.release() }
        unsavedOverrides.store(false, ordering: .relaxed)
        return draft.drainUnsavedOverrides()
    }

    /// Has all overrides stored anew: what was stored may not be whole. Takes the lock of an edit.
    public func storeAllOverrides() {
        editing.acquire()
        defer { editing.release() }
        draft.storeAllOverrides()
        unsavedOverrides.store(true, ordering: .relaxed)
    }
}

extension PolicyTable {
    /// Everything as records, each rule behind its policy: what a snapshot holds. O(policies + rules).
    public var records: [PolicyRecord] { policies.map { PolicyRecord($0) } + rules.map { PolicyRecord($0) } }
}
