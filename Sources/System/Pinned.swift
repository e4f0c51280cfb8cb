// Fields of a class that every request accesses.

/// Fields in memory of their own, at an address that never changes. Access to a class's variables is checked for
/// exclusivity every time; these are plain memory. The owner frees them with `deallocate`, and must not let two threads
/// use them at the same time.
@frozen
public struct Pinned<Fields> {
    @usableFromInline let pointer: UnsafeMutablePointer<Fields>

    /// Allocates the fields, with these values.
    @inlinable
    public init(_ initial: Fields) {
        pointer = .allocate(capacity: 1)
        pointer.initialize(to: initial)
    }

    /// The fields. Each access is one load or store, nothing else.
    @inlinable
    public var pointee: Fields {
        @inline(__always) unsafeAddress { UnsafePointer(pointer) }
        @inline(__always) nonmutating unsafeMutableAddress { pointer }
    }

    /// Deinitializes and frees the fields. They must not be used afterwards.
    @inlinable
    public func deallocate() {
        pointer.deinitialize(count: 1)
        pointer.deallocate()
    }
}
