// Output that the peer has not taken yet.

public import System

/// Bytes that wait for room in a stream. Exists only while there are any. Not thread-safe.
///
/// Kept in pieces, so that a long reply is neither copied together nor moved while it leaves.
public final class OutputQueue {
    /// Small additions are put together up to this many bytes.
    public static let pieceSize = 64 * 1024

    private var pieces: [[UInt8]] = []
    /// Pieces at the beginning that have been sent.
    private var sentPieces = 0
    /// Bytes of the first piece not sent as a whole that have been sent.
    private var head = 0
    /// Bytes not yet sent.
    public private(set) var count = 0
    /// Bytes of memory held.
    public private(set) var memory = 0
    /// Since when the queue has been over its owner's soft limit; nil while it is not.
    public var overSoftLimitSince: SteadyInstant?

    /// An empty queue.
    public init() {}

    /// Adds a copy of bytes.
    public func append(_ more: UnsafeBufferPointer<UInt8>) {
        guard !more.isEmpty else { return }
        count += more.count
        if let last = pieces.indices.last, last >= sentPieces, pieces[last].count < OutputQueue.pieceSize {
            memory -= pieces[last].capacity
            pieces[last].append(contentsOf: more)
        } else {
            pieces.append(Array(more))
        }
        memory += pieces[pieces.count - 1].capacity
    }

    /// Adds bytes without a copy.
    public func append(_ piece: [UInt8]) {
        guard !piece.isEmpty else { return }
        count += piece.count
        memory += piece.capacity
        pieces.append(piece)
    }

    /// A copy of what has not been sent.
    public var bytes: [UInt8] { Array(pieces[sentPieces...].joined().dropFirst(head)) }

    /// Offers the unsent bytes to `send`, which returns how many it took, until it takes none or all are gone.
    public func drain(_ send: (UnsafeBufferPointer<UInt8>) -> Int) {
        while count > 0 {
            let taken = pieces[sentPieces].withUnsafeBufferPointer {
                send(UnsafeBufferPointer(rebasing: $0[head...]))
            }
            guard taken > 0 else { return }
            head += taken
            count -= taken
            if head == pieces[sentPieces].count { dropFirst() }
        }
    }

    private func dropFirst() {
        memory -= pieces[sentPieces].capacity
        pieces[sentPieces] = []
        sentPieces += 1
        head = 0
        // The empty ones are dropped once they are the larger part, so that every piece is moved at most twice.
        guard sentPieces * 2 > pieces.count else { return }
        pieces.removeFirst(sentPieces)
        sentPieces = 0
    }
}
