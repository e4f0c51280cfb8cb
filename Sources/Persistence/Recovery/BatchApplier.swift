// Putting batches that are in memory into an engine: what a replica does with its primary's stream.
//
// Refuses to check a batch: header, checksum and records have been found valid by whoever read it.

public import LimiterEngine

/// One thread's way of putting batches into an engine that nobody else changes. Not thread-safe.
public final class BatchApplier {
    private let engine: Engine
    /// Policies and rules of the snapshot that comes in; nil when none does.
    private var gathered: [PolicyRecord]?

    /// An applier for all shards of an engine that is not journaling.
    public init(engine: Engine) { self.engine = engine }

    /// A snapshot begins, which is the whole state: forgets every key, every policy and every rule. Until
    /// `endSnapshot` policies and rules are gathered, and take no force. O(keys).
    public func beginSnapshot() {
        engine.removeState()
        gathered = []
    }

    /// The snapshot is complete: its policies and rules take force, at once. Nothing when none was coming in.
    /// O(policies + rules).
    public func endSnapshot() {
        guard let records = gathered else { return }
        gathered = nil
        put(records, at: EngineTime(nanoseconds: 0))
    }

    /// No more of the snapshot will come. What has come of it is no state.
    public func dropSnapshot() { gathered = nil }

    /// Puts a batch's records in, in order. O(records).
    ///
    /// - Parameters:
    ///   - bytes: Header and records of a valid batch.
    ///   - horizon: States worth nothing by then are not kept. At most the stream's own time: what this node's clock
    ///     takes for worthless may still be in force where the stream comes from.
    /// - Throws: For a record that is not valid; those in front of it are in.
    public func apply(_ bytes: UnsafeRawBufferPointer, horizon: EngineTime) throws(RecordError) {
        let restorer = Restorer(engine: engine, horizon: horizon)
        defer { restorer.flush() }
        var policies: [PolicyRecord] = []
        do throws(BatchError<Never>) {
            try JournalBatch.forEachRecord(in: bytes) { record in
                switch record {
                case .state(let key, let state): restorer.put(state, key: key)
                case .removed(let key): restorer.remove(key: key)
                case .control(.flushAll, _, _): restorer.removeAll()
                case .control(let kind, let key, let body):
                    guard let kind = kind.policyKind else { return }
                    policies.append(PolicyRecord(kind: kind, key: Array(key), value: Array(body)))
                }
            }
        } catch {
            switch error {
            case .record(let error): throw error
            }
        }
        if gathered == nil { put(policies, at: horizon) } else { gathered! += policies }
    }

    private func put(_ policies: [PolicyRecord], at time: EngineTime) {
        guard !policies.isEmpty else { return }
        do throws(PolicyError) {
            // One edit: each makes the whole table anew.
            try engine.policies.edit(now: time) { draft throws(PolicyError) in
                for record in policies { try draft.apply(record) }
            }
        } catch {
            // It was found valid when its batch was read, and then applies to any state.
            preconditionFailure("a policy or rule that cannot be: \(error)")
        }
    }
}

extension Engine {
    /// Forgets every key, every policy and every rule, and journals nothing of that: another state is loaded from its
    /// beginning. O(keys).
    public func removeState() {
        Restorer(engine: self, horizon: EngineTime(nanoseconds: 0)).removeAll()
        // Nothing about removing can be refused.
        do throws(PolicyError) { try policies.edit(now: EngineTime(nanoseconds: 0)) { $0.removeAll() } } catch {}
    }
}
