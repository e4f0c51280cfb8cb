// Output that the peer has not accepted yet.

public import System

/// Bytes that wait for room in a stream. Exists only while there are any. Not thread-safe.
///
/// Kept in pieces, so that a long reply is neither concatenated nor moved while it is sent.
public final class OutputQueue {
    /// Small additions are combined up to this many bytes.
    public static let pieceSize = 64 * 1024

    private var pieces: [[UInt8]] = []
    /// Pieces at the beginning that have been sent.
    private var sentPieces = 0
    /// Bytes sent of the first piece that is not sent completely.
    private var head = 0
    /// Bytes not yet sent.
    public private(set) var count = 0
    /// Bytes of memory held.
    public private(set) var memory = 0
    /// Since when the queue has exceeded its owner's soft limit; nil while it does not.
    public var overSoftLimitSince: SteadyInstant?

    /// An empty queue.
    public init() {}

    /// Appends a copy of the bytes.
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

    /// Appends bytes without a copy.
    public func append(_ piece: [UInt8]) {
        guard !piece.isEmpty else { return }
        count += piece.count
        memory += piece.capacity
        pieces.append(piece)
    }

    /// A copy of the unsent bytes.
    public var bytes: [UInt8] { Array(pieces[sentPieces...].joined().dropFirst(head)) }

    /// Offers the unsent bytes to `send`, which returns how many it accepted, until it accepts none or all are sent.
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
        // Sent pieces are removed once they are the larger part, so that every piece is moved at most twice.
        guard sentPieces * 2 > pieces.count else { return }
        pieces.removeFirst(sentPieces)
        sentPieces = 0
    }
}
