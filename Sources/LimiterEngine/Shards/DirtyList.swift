// The addresses of a shard's changed records, in the order of their first change.
//
// A vector of its own because one is appended to with almost every decision, and an Array asks each time whether its
// memory is shared. Owns its memory; never looks at a record. Invariant: `taken` ≤ `end` ≤ `capacity`.

/// Appended to at the end, taken from the front. Plain fields behind a shard's lock: a copy would share the memory.
struct DirtyList {
    private var memory: UnsafeMutablePointer<UnsafeMutableRawPointer>?
    private var capacity = 0
    /// Entries at the beginning that mean nothing any more.
    private var taken = 0
    private var end = 0
    /// Room kept when the list becomes empty.
    private static let retained = 4096

    /// Entries not yet taken.
    var count: Int { end &- taken }

    /// The entry `position` places behind the first not taken.
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

    /// Where an address stands.
    func position(of address: UnsafeMutableRawPointer) -> Int? {
        (0..<count).first { self[$0] == address }
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
