// Fields of a class that are looked at with every request.

/// Fields in memory of their own, at a place that never changes. A class's variables are checked for exclusive access
/// at every use; these are plain memory. The owner gives them back with `deallocate`, and lets no two threads use them
/// at once.
@frozen
public struct Pinned<Fields> {
    @usableFromInline let pointer: UnsafeMutablePointer<Fields>

    /// Memory for the fields, with these values.
    @inlinable
    public init(_ initial: Fields) {
        pointer = .allocate(capacity: 1)
        pointer.initialize(to: initial)
    }

    /// The fields. A load or store each, nothing else.
    @inlinable
    public var pointee: Fields {
        @inline(__always) unsafeAddress { UnsafePointer(pointer) }
        @inline(__always) nonmutating unsafeMutableAddress { pointer }
    }

    /// Ends the fields and gives their memory back. They may not be used afterwards.
    @inlinable
    public func deallocate() {
        pointer.deinitialize(count: 1)
        pointer.deallocate()
    }
}
