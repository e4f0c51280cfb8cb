// Changes policies and rules: one editor at a time, a draft, a new table, one swap. Readers never wait.

import Synchronization
import System

/// An engine's policies and rules: the table in force, and the only way to change it. Thread-safe.
///
/// `@unchecked Sendable`: `draft` is touched with `editing` held, `current` is replaced with both held and read with
/// either; the version is atomic.
public final class PolicyRegistry: @unchecked Sendable {
    /// Held for a whole edit.
    private let editing = Lock.allocate(rank: .policyEditor)
    /// Held to read or replace a reference. May be taken under any lock; no lock is taken under it.
    private let lock = Lock.allocate(rank: .policyTable)
    private var draft = PolicyDraft()
    private var current: PolicyTable
    private let published = Atomic<UInt64>(0)
    private let unsavedOverrides = Atomic<Bool>(false)

    /// The numbers under which decisions are counted by policy.
    public let series = PolicySeries()

    init(seed: HashSeed) {
        current = PolicyTable(seed: seed, series: series)
    }

    deinit {
        editing.deallocate()
        lock.deallocate()
    }

    /// Incremented with every change, so that readers can cache the table. One load.
    public var version: UInt64 { published.load(ordering: .acquiring) }

    /// The table in force. Takes a lock briefly; a session's `policies` does not.
    public var table: PolicyTable {
        lock.acquire()
        defer { lock.release() }
        return current
    }

    /// Changes policies and rules, all or nothing: the new ones are in force when it returns.
    ///
    /// - Parameters:
    ///   - now: Engine time of the change, from which lowered limits apply.
    ///   - body: Makes the changes. If it throws, nothing is changed.
    ///   - journal: Receives the records of the changes before they take effect, in the order in which the changes of
    ///     all editors do; it must not call the registry. Not called without records.
    /// - Complexity: As `PolicyTable.succeeded`; none for an edit without changes. Make many changes in one edit.
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
        // The old table may be destroyed here: not while readers wait for the lock.
        var old = table
        lock.acquire()
        swap(&current, &old)
        lock.release()
        published.add(1, ordering: .releasing)
    }

    // MARK: Overrides of the rules file

    /// Entries of the rules file that commands have changed or removed. Takes the editing lock.
    public var overrides: FileOverrides {
        editing.acquire()
        defer { editing.release() }
        return draft.overrides.all
    }

    /// Applies stored overrides; those added since are kept.
    public func restoreOverrides(_ stored: FileOverrides) {
        editing.acquire()
        defer { editing.release() }
        draft.restoreOverrides(stored)
    }

    /// Whether there are overrides to store. One load.
    public var hasUnsavedOverrides: Bool { unsavedOverrides.load(ordering: .relaxed) }

    /// Returns the overrides to store, once; the caller stores them. Nil for none. Takes the editing lock.
    public func drainUnsavedOverrides() -> UnsavedOverrides? {
        editing.acquire()
        defer { editing.release() }
        unsavedOverrides.store(false, ordering: .relaxed)
        return draft.drainUnsavedOverrides()
    }

    /// Marks all overrides to be stored again: those stored may be incomplete. Takes the editing lock.
    public func storeAllOverrides() {
        editing.acquire()
        defer { editing.release() }
        draft.storeAllOverrides()
        unsavedOverrides.store(true, ordering: .relaxed)
    }
}

extension PolicyTable {
    /// Everything as records, each rule after its policy: the contents of a snapshot. O(policies + rules).
    public var records: [PolicyRecord] { policies.map { PolicyRecord($0) } + rules.map { PolicyRecord($0) } }
}
