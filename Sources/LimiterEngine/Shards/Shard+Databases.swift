// Databases other than 0 in a shard: how many records each has, and removing all of one.
//
// Database 0 is what is left: it has no counts of its own, so that its keys cost nothing.

/// Counts of one database's records in one shard.
struct DatabaseTally: Equatable {
    /// Keys visible to commands.
    var keys = 0
    /// Idempotency tokens.
    var tokens = 0
    /// The keys by how they expire.
    var deadlines = DeadlineTally()

    var records: Int { keys + tokens }
}

/// Counts of the records of databases other than 0, in one shard. Empty, and without memory, until there is one.
struct DatabaseTallies: Equatable {
    /// Of databases 1, 2, …, up to the highest that has ever had a record.
    private(set) var tallies: [DatabaseTally] = []

    /// The counts of a database other than 0.
    subscript(database: UInt8) -> DatabaseTally {
        get { Int(database) <= tallies.count ? tallies[Int(database) - 1] : DatabaseTally() }
        set {
            while tallies.count < Int(database) { tallies.append(DatabaseTally()) }
            tallies[Int(database) - 1] = newValue
        }
    }

    /// Changes the counts of a database other than 0.
    mutating func change(_ database: UInt8, _ body: (inout DatabaseTally) -> Void) {
        while tallies.count < Int(database) { tallies.append(DatabaseTally()) }
        body(&tallies[Int(database) - 1])
    }

    /// Sets all counts to 0; the list of databases that have been in use is kept.
    mutating func removeAll() { for index in tallies.indices { tallies[index] = DatabaseTally() } }

    /// The counts of databases that have records, for comparisons.
    var used: [Int: DatabaseTally] {
        var used: [Int: DatabaseTally] = [:]
        for (index, tally) in tallies.enumerated() where tally != DatabaseTally() { used[index + 1] = tally }
        return used
    }
}

extension Shard {
    /// Counts a numbered record that enters or leaves the index.
    @inline(never)
    mutating func countNumbered(_ record: Record, _ change: Int) {
        let isHidden = record.isHidden
        databases.change(record.database) { tally in
            if isHidden { tally.tokens += change } else { tally.keys += change }
        }
    }

    /// The counts of one database. O(1); O(databases in use) for database 0.
    func tally(of database: UInt8) -> DatabaseTally {
        guard database == 0 else { return databases[database] }
        var rest = DatabaseTally(keys: count, tokens: tokens, deadlines: deadlines)
        for other in databases.tallies {
            rest.keys -= other.keys
            rest.tokens -= other.tokens
            rest.deadlines.subtract(other.deadlines)
        }
        return rest
    }

    /// Removes every record of a database, tokens included, on behalf of a control record in the journal: so only
    /// records with an uncollected change leave a tombstone. O(records of the shard), unless it has none of the
    /// database.
    mutating func removeAll(ofDatabase database: UInt8) {
        guard tally(of: database).records > 0 else { return }
        if let old = retiring {
            for slot in 0..<old.capacity {
                drop(Place(entry: old.entries + slot, isRetiring: true), ifIn: database)
            }
        }
        for number in 0..<current.bucketCount {
            let line = current.bucket(number)
            // From the last entry down: a removal may move the last one into the gap.
            for slot in stride(from: Index.bucketSlots - 1, through: 0, by: -1) {
                drop(Place(entry: line + slot, isRetiring: false), ifIn: database)
            }
        }
    }

    private mutating func drop(_ place: Place, ifIn database: UInt8) {
        guard let address = Index.address(place.entry.pointee) else { return }
        let record = Record(address)
        guard record.isNumbered == (database != 0), record.database == database else { return }
        if !record.isHidden {
            changes &+= 1
            if watchCount != 0 { touchWatches(seed.hash(record), record.name) }
        }
        unlink(place)
        unlink(record)
    }
}
