// The addresses of a shard's changed records, in the order of their first change, and where those are now that have
// moved since.
//
// A vector of its own because one is appended to with almost every decision, and an Array asks each time whether its
// memory is shared. Owns its memory; never looks at a record. Invariant: `taken` ≤ `end` ≤ `capacity`.
//
// A record that is rebuilt (with room for a deadline, or as another kind) moves, and nothing in it says where on the
// list it is. Mostly it has just been appended, so the last few entries are looked at. Otherwise the list keeps the old
// address, whose memory its owner leaves in place until the entry is collected, and `DirtyMoves` knows the new one. So
// a move costs the same however long the list is: while the disk is stalled it may have a million entries.

/// Appended to at the end, taken from the front. Plain fields behind a shard's lock: a copy would share the memory.
struct DirtyList {
    private var memory: UnsafeMutablePointer<UnsafeMutableRawPointer>?
    private(set) var capacity = 0
    /// Entries at the beginning that mean nothing any more.
    private var taken = 0
    private var end = 0
    /// Room kept when the list becomes empty.
    private static let retained = 4096

    /// Entries not yet taken.
    var count: Int { end &- taken }

    /// The entry `position` places after the first not taken.
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

    /// Forgets the first `number` entries.
    mutating func removeFirst(_ number: Int) {
        precondition(number <= count)
        taken += number
        if taken == end { empty() }
    }

    /// Forgets every entry.
    mutating func removeAll() { empty() }

    /// Entries at the end that `replaceRecent` looks at.
    static let recent = 8

    /// Makes the entry of an address name another, if it is one of the last few. O(1).
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
        // A list to which something is appended during every collection never becomes empty.
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

/// Where the records are now whose old addresses are still on the dirty list. At most one old address a key.
struct DirtyMoves {
    private var targets: [UnsafeMutableRawPointer: UnsafeMutableRawPointer] = [:]
    private var sources: [UnsafeMutableRawPointer: UnsafeMutableRawPointer] = [:]

    /// Moves on record.
    var count: Int { targets.count }

    /// Notes that the list's entry `old` means `new` from now on. `old` must not be used for anything else until then.
    mutating func add(_ old: UnsafeMutableRawPointer, to new: UnsafeMutableRawPointer) {
        targets[old] = new
        sources[new] = old
    }

    /// Notes that a record that has moved has moved again. False when it had not.
    mutating func redirect(_ old: UnsafeMutableRawPointer, to new: UnsafeMutableRawPointer) -> Bool {
        guard !sources.isEmpty, let source = sources.removeValue(forKey: old) else { return false }
        add(source, to: new)
        return true
    }

    /// What the list's entry means now, nil when it means itself; forgets the move.
    mutating func remove(_ old: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
        guard !targets.isEmpty, let target = targets.removeValue(forKey: old) else { return nil }
        sources[target] = nil
        if targets.isEmpty { self = DirtyMoves() }
        return target
    }

    /// As `remove`, but keeps the move.
    func target(of old: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? { targets[old] }
}
