// The invariants of a shard between any two calls. Present in every build, for tests and debuggers.

extension Shard {
    /// Every violation found. O(keys).
    func violatedInvariants(ownsHash: (UInt64) -> Bool) -> [String] {
        var found: [String] = []
        var bytes = current.byteCount + (retiring?.byteCount ?? 0)
        var recordBytes = 0
        var dirtyRecords = 0
        var hiddenRecords = 0
        for (index, name) in [(current, "index")] + (retiring.map { [($0, "retiring index")] } ?? []) {
            let counts = checkEntries(of: index, name: name, ownsHash: ownsHash, into: &found)
            recordBytes += counts.bytes
            dirtyRecords += counts.dirty
            hiddenRecords += counts.hidden
        }
        var moves = 0
        for address in (0..<dirty.count).map({ dirty[$0] }) {
            var record = Record(address)
            if !record.isDirty { found.append("a record on the dirty list is not marked dirty") }
            if record.isDetached, let target = dirtyMoves.target(of: address) {
                moves += 1
                recordBytes += Slab.footprint(record.size)
                record = Record(target)
                if !record.isDirty { found.append("a moved record on the dirty list is not marked dirty") }
            }
            if record.isDetached {
                dirtyRecords += 1
                recordBytes += Slab.footprint(record.size)
            }
        }
        if moves != dirtyMoves.count { found.append("\(dirtyMoves.count) moves, \(moves) of them on the dirty list") }
        if dirtyRecords != dirty.count { found.append("\(dirtyRecords) dirty records, \(dirty.count) on the list") }
        if Set((0..<dirty.count).map { dirty[$0] }).count != dirty.count {
            found.append("a record is on the dirty list twice")
        }
        if recordBytes != slab.bytesInUse {
            found.append("records of \(recordBytes) bytes, slab of \(slab.bytesInUse)")
        }
        if tally() != deadlines { found.append("keys by expiry: \(tally()), counted \(deadlines)") }
        if databaseTallies().used != databases.used {
            found.append("records by database: \(databaseTallies().used), counted \(databases.used)")
        }
        if hiddenRecords != tokens { found.append("\(hiddenRecords) tokens, counted \(tokens)") }
        bytes += recordBytes
        if watchCount != Int32(watches.count) { found.append("watch count") }
        if bytes < 0 { found.append("negative size") }
        return found
    }

    /// Counts the records of databases other than 0 in the index.
    private func databaseTallies() -> DatabaseTallies {
        var tallies = DatabaseTallies()
        for index in [current, retiring].compactMap({ $0 }) {
            for slot in 0..<index.capacity {
                guard let address = Index.address(index.entries[slot]), Record(address).isNumbered else { continue }
                let record = Record(address)
                tallies.change(record.database) { tally in
                    if record.isHidden { tally.tokens += 1 } else { tally.keys += 1 }
                    tally.deadlines.add(record)
                }
            }
        }
        return tallies
    }

    /// Counts the keys in the index by how they expire.
    private func tally() -> DeadlineTally {
        var tally = DeadlineTally()
        for index in [current, retiring].compactMap({ $0 }) {
            for slot in 0..<index.capacity {
                if let address = Index.address(index.entries[slot]) { tally.add(Record(address)) }
            }
        }
        return tally
    }

    private func checkEntries(
        of index: Index, name: String, ownsHash: (UInt64) -> Bool, into found: inout [String]
    ) -> (bytes: Int, dirty: Int, hidden: Int) {
        var live = 0
        var tombstones = 0
        var sum = (bytes: 0, dirty: 0, hidden: 0)
        for number in 0..<index.bucketCount {
            let line = index.bucket(number)
            var isBehindUnused = false
            for slot in 0..<Index.bucketSlots {
                let entry = line[slot]
                if entry == 0 {
                    isBehindUnused = true
                    continue
                }
                if isBehindUnused { found.append("\(name): bucket \(number) has an entry after an unused one") }
                guard let address = Index.address(entry) else {
                    tombstones += 1
                    continue
                }
                live += 1
                let record = Record(address)
                let hash = seed.hash(record)
                if entry >> 48 != Index.tag(hash) { found.append("\(name): an entry's tag is not its key's") }
                if !ownsHash(hash) { found.append("\(name): a key of another shard") }
                if record.isDetached { found.append("\(name): an entry names a tombstone") }
                var probes = 0
                let place = index.find(hash, probes: &probes) {
                    Record($0).hasKey(record.key, count: record.keyLength, in: record.namespace)
                }
                if place != line + slot { found.append("\(name): a key is not found where it is") }
                if !StateView(record).isValid(for: record.name) {
                    found.append("\(name): an invalid state of kind \(record.kind)")
                }
                sum.bytes += Slab.footprint(record.size)
                sum.dirty += record.isDirty ? 1 : 0
                sum.hidden += record.isHidden ? 1 : 0
            }
        }
        if live != index.live { found.append("\(name): \(live) entries, counted \(index.live)") }
        if tombstones != index.tombstones {
            found.append("\(name): \(tombstones) tombstones, counted \(index.tombstones)")
        }
        if live + tombstones >= index.capacity { found.append("\(name): no unused entry") }
        return sum
    }
}
