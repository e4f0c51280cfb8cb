// Applies batches in memory to an engine: what a replica does with its primary's stream.
//
// Does not check batches: their reader has validated header, checksum and records.

package import LimiterEngine

/// Applies batches to an engine that nothing else changes. Used by one thread; not thread-safe.
package final class BatchApplier {
    private let engine: Engine
    /// Policies and rules of the incoming snapshot; nil when there is none.
    private var gathered: [PolicyRecord]?

    /// An applier for all shards of an engine that is not journaling.
    package init(engine: Engine) { self.engine = engine }

    /// Begins a snapshot, which replaces the whole state: removes every key, every policy and every rule. Until
    /// `endSnapshot`, policies and rules are gathered without taking effect. O(keys).
    package func beginSnapshot() {
        engine.removeState()
        gathered = []
    }

    /// Ends the snapshot: its policies and rules take effect at once. Does nothing without a snapshot. O(policies +
    /// rules).
    package func endSnapshot() {
        guard let records = gathered else { return }
        gathered = nil
        put(records, at: EngineTime(nanoseconds: 0))
    }

    /// Abandons an incomplete snapshot. What was received of it is not a valid state.
    package func dropSnapshot() { gathered = nil }

    /// Applies a batch's records in order. O(records).
    ///
    /// - Parameters:
    ///   - bytes: Header and records of a valid batch.
    ///   - horizon: States that expire by then are dropped. At most the stream's own time: a state that is expired by
    ///     this node's clock may still be in force at the stream's source.
    /// - Throws: For an invalid record; those before it have been applied.
    package func apply(_ bytes: UnsafeRawBufferPointer, horizon: EngineTime) throws(RecordError) {
        let restorer = Restorer(engine: engine, horizon: horizon)
        defer { restorer.flush() }
        var policies: [PolicyRecord] = []
        do throws(BatchError<Never>) {
            try JournalBatch.forEachRecord(in: bytes) { record in
                switch record {
                case .state(let name, let state): restorer.put(state, name)
                case .removed(let name): restorer.remove(name)
                case .control(.flushAll, _, _): restorer.removeAll()
                case .control(.flushDatabase, _, let body): restorer.removeAll(ofDatabase: body[0])
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
            // One edit: each edit rebuilds the whole table.
            try engine.policies.edit(now: time) { draft throws(PolicyError) in
                for record in policies { try draft.apply(record) }
            }
        } catch {
            // It was validated when its batch was read, and is therefore applicable to any state.
            preconditionFailure("an invalid policy or rule in a valid batch: \(error)")
        }
    }
}

extension Engine {
    /// Removes every key, every policy and every rule without journaling that: another state is being loaded from its
    /// beginning. O(keys).
    package func removeState() {
        Restorer(engine: self, horizon: EngineTime(nanoseconds: 0)).removeAll()
        // A removal cannot be refused.
        do throws(PolicyError) { try policies.edit(now: EngineTime(nanoseconds: 0)) { $0.removeAll() } } catch {}
    }
}
