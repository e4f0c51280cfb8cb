// Databases: from the key of a command to its name, their numbers of keys, and removing all keys of one.

extension KeyspaceSession {
    /// Runs `body` with another database selected.
    public func inDatabase<Result>(_ number: Int, _ body: () -> Result) -> Result {
        let selected = database
        database = number
        defer { database = selected }
        return body()
    }

    /// Passes a key's name in the selected database, or another one, to `body`. Copies the key unless that is
    /// database 0.
    @inline(__always)
    public func withName<Result>(
        _ key: UnsafeRawBufferPointer, in number: Int? = nil, _ body: (KeyName) -> Result
    ) -> Result {
        let number = number ?? database
        return number == 0 ? body(KeyName(key)) : withNumbered(key, number, body)
    }

    @inline(never)
    private func withNumbered<Result>(
        _ key: UnsafeRawBufferPointer, _ number: Int, _ body: (KeyName) -> Result
    ) -> Result {
        withUnsafeTemporaryAllocation(byteCount: key.count + 1, alignment: 8) { memory in
            memory[0] = UInt8(number)
            UnsafeMutableRawBufferPointer(rebasing: memory.dropFirst()).copyMemory(from: key)
            return body(KeyName(UnsafeRawBufferPointer(memory), isNumbered: true))
        }
    }

    /// Runs `body` on the shard of a key with its stripe held, and the key's hash and name.
    func withShard<Result>(
        of key: UnsafeRawBufferPointer, _ body: (inout Shard, UInt64, KeyName) -> Result
    ) -> Result {
        withName(key) { name in
            precondition(name.count <= keyLengthMax)
            let hash = hash(name)
            return withShard(hash) { body(&$0, hash, name) }
        }
    }

    /// Keys in the selected database, including expired ones not yet found. O(shards); exact, since all stripes are
    /// held meanwhile.
    public func count() -> Int {
        holdingAll {
            var sum = 0
            for number in 0..<engine.shardCount {
                sum += engine.shard(number).pointee.tally(of: UInt8(database)).keys
            }
            return sum
        }
    }

    /// The keys that were removed at once.
    public enum Flush: Equatable, Sendable {
        /// There were none in the database.
        case nothing
        /// All keys of all databases: no other database had any, nor a token.
        case everything
        /// Keys of the database, among others.
        case database
    }

    /// Removes every key of the selected database, and its tokens, atomically. As cheap as removing everything if no
    /// other database has anything; otherwise O(records), with all stripes held.
    public func removeDatabase() -> Flush {
        holdingAll {
            var own = 0
            var all = 0
            for number in 0..<engine.shardCount {
                own += engine.shard(number).pointee.tally(of: UInt8(database)).records
                all += engine.shard(number).pointee.recordCount
            }
            guard own < all else {
                removeAll()
                return .everything
            }
            guard own > 0 else { return .nothing }
            for number in 0..<engine.shardCount {
                engine.shard(number).pointee.removeAll(ofDatabase: UInt8(database))
            }
            return .database
        }
    }
}
