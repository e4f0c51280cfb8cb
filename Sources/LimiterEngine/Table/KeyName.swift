// Databases and other separate sets of keys in one table.
//
// A key of database 0 is stored as its bytes. A key of any other database is *numbered*: its name is one byte with the
// number of the database, followed by the key's bytes. A bit of the record's header distinguishes it from a key of
// database 0 with the same bytes. So database 0 costs nothing, and all others cost a byte a key.
//
// Names with the same bytes have the same hash in every namespace. There are at most three of them, so this does not
// help an attacker who wants keys to collide.

/// The set of keys that a name belongs to: keys with the same bytes are equal only if their namespaces are.
struct Namespace: Equatable {
    /// The name begins with the number of its database, which is not 0.
    let isNumbered: Bool
    /// The key is a token's: commands cannot reach it.
    let isHidden: Bool

    /// Keys of database 0.
    static let plain = Namespace(isNumbered: false)

    @inline(__always)
    init(isNumbered: Bool, isHidden: Bool = false) {
        self.isNumbered = isNumbered
        self.isHidden = isHidden
    }
}

/// A key as the table, the journal and snapshots have it. Borrows the bytes.
public struct KeyName {
    /// The key; in a database other than 0 its number precedes it. A token's key contains such a name: see
    /// `TokenAnswer.swift`.
    public let bytes: UnsafeRawBufferPointer
    /// Whether the number of a database other than 0 is part of the bytes.
    public let isNumbered: Bool

    /// Bytes in a record's, or a journal's, form.
    @inlinable
    public init(_ bytes: UnsafeRawBufferPointer, isNumbered: Bool = false) {
        self.bytes = bytes
        self.isNumbered = isNumbered
    }

    /// Number of databases that names can express: 0 … 255.
    public static let databasesMax = 256

    @inline(__always) var base: UnsafeRawPointer { bytes.baseAddress ?? emptyKey }
    @inline(__always) var count: Int { bytes.count }

    func namespace(of kind: StateKind) -> Namespace { Namespace(isNumbered: isNumbered, isHidden: kind.isHidden) }

    /// The number of the database, given the kind of a valid state; nil for a removed key.
    public func database(_ kind: StateKind?) -> Int {
        guard isNumbered else { return 0 }
        return Int(bytes[kind?.isHidden ?? false ? TokenKey.prefixSize : 0])
    }

    /// The key without the number of its database. A token's key, which contains another key, is returned whole.
    public func key(_ kind: StateKind?) -> UnsafeRawBufferPointer {
        guard isNumbered, !(kind?.isHidden ?? false) else { return bytes }
        return UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
    }

    /// Whether untrusted bytes have the form of a numbered name: a removed key's, or that of a state of this kind.
    public func isValid(for kind: StateKind?) -> Bool {
        guard isNumbered else { return true }
        guard kind?.isHidden ?? false else { return bytes.first ?? 0 != 0 }
        return bytes.count > TokenKey.prefixSize && bytes.loadUnaligned(as: UInt32.self) > 0
            && bytes[TokenKey.prefixSize] != 0
    }
}
