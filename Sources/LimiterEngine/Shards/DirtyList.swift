// The addresses of a shard's changed records, in the order of their first change, and the new addresses of those that
// have moved since.
//
// A custom vector, because almost every decision appends to it, and an Array checks each time whether its memory is
// shared. Owns its memory; never reads a record. Invariant: `taken` ≤ `end` ≤ `capacity`.
//
// A record that is rebuilt (with room for a deadline, or as another kind) moves, and nothing in it says where in the
// list it is. Usually it has just been appended, so the last few entries are examined. Otherwise the list keeps the old
// address, whose memory its owner keeps until the entry is collected, and `DirtyMoves` maps it to the new one. So a
// move costs the same however long the list is: while the disk is stalled it may have a million entries.

/// Appended to at the end, consumed from the front. Plain fields protected by a shard's lock: a copy would share the
/// memory.
struct DirtyList {
    private var memory: UnsafeMutablePointer<UnsafeMutableRawPointer>?
    private(set) var capacity = 0
    /// Consumed entries at the beginning.
    private var taken = 0
    private var end = 0
    /// Capacity kept when the list becomes empty.
    private static let retained = 4096

    /// Entries not yet consumed.
    var count: Int { end &- taken }

    /// The entry `position` places after the first one not consumed.
    @inline(__always)
    subscript(position: Int) -> UnsafeMutableRawPointer {
        get {
            assert(position >= 0 && position < count)
            return memory.unsafelyUnwrapped[taken &+ position]
        }
        nonmutating set {
            assert(position >= 0 && position < count)
            memory.unsafelyUnwrapped[taken &+ position] = newValue
        }
    }

    @inline(__always)
    mutating func append(_ address: UnsafeMutableRawPointer) {
        if end == capacity { grow() }
        memory.unsafelyUnwrapped[end] = address
        end &+= 1
    }

    /// Removes the first `number` entries.
    mutating func removeFirst(_ number: Int) {
        precondition(number <= count)
        taken += number
        if taken == end { empty() }
    }

    /// Removes every entry.
    mutating func removeAll() { empty() }

    /// Entries at the end that `replaceRecent` examines.
    static let recent = 8

    /// Replaces an address in the list if it is one of the last few entries. O(1).
    func replaceRecent(_ old: UnsafeMutableRawPointer, by new: UnsafeMutableRawPointer) -> Bool {
        var position = count
        let first = max(0, count - DirtyList.recent)
        while position > first {
            position -= 1
            guard self[position] == old else { continue }
            self[position] = new
            return true
        }
        return false
    }

    func deallocate() { memory?.deallocate() }

    private mutating func empty() {
        taken = 0
        end = 0
        guard capacity > DirtyList.retained else { return }
        memory?.deallocate()
        memory = nil
        capacity = 0
    }

    @inline(never)
    private mutating func grow() {
        // If something is appended during every collection, the list never becomes empty.
        if taken > capacity / 2, let memory {
            memory.update(from: memory + taken, count: count)
            end -= taken
            taken = 0
            return
        }
        let larger = max(16, capacity * 2)
        let moved = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(capacity: larger)
        if let memory {
            moved.update(from: memory, count: end)
            memory.deallocate()
        }
        memory = moved
        capacity = larger
    }
}

/// The current addresses of records whose old addresses are still on the dirty list. At most one old address per key.
struct DirtyMoves {
    private var targets: [UnsafeMutableRawPointer: UnsafeMutableRawPointer] = [:]
    private var sources: [UnsafeMutableRawPointer: UnsafeMutableRawPointer] = [:]

    /// Number of recorded moves.
    var count: Int { targets.count }

    /// Records that the list's entry `old` refers to `new` from now on. `old` must not be reused until then.
    mutating func add(_ old: UnsafeMutableRawPointer, to new: UnsafeMutableRawPointer) {
        targets[old] = new
        sources[new] = old
    }

    /// Records that a moved record has moved again. False when it had not moved before.
    mutating func redirect(_ old: UnsafeMutableRawPointer, to new: UnsafeMutableRawPointer) -> Bool {
        guard !sources.isEmpty, let source = sources.removeValue(forKey: old) else { return false }
        add(source, to: new)
        return true
    }

    /// The record an entry now refers to, nil when it has not moved; forgets the move.
    mutating func remove(_ old: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
        guard !targets.isEmpty, let target = targets.removeValue(forKey: old) else { return nil }
        sources[target] = nil
        if targets.isEmpty { self = DirtyMoves() }
        return target
    }

    /// As `remove`, but keeps the move.
    func target(of old: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? { targets[old] }
}
