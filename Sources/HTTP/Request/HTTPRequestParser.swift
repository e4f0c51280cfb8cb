// Finds the next request in a connection's input: head, then body.
//
// A request may arrive in any number of reads, and the result is the same however it is divided. The parser keeps only
// offsets from the request's first byte: the transport keeps the input contiguous from there on, but may move it. Each
// line of a head is checked as soon as it is complete, so input that is not HTTP is refused at its first line. A head
// or body that arrived in several reads is read once more when it is complete, so a request is read at most twice.
//
// HeadReader refuses everything that two parsers could understand differently (request smuggling).

/// The result of parsing.
public enum HTTPParseOutcome {
    /// A request; `consumed` bytes of the input belong to it.
    case request(HTTPRequest)
    /// More input is needed.
    case incomplete
    /// More input is needed, and the client waits for `100 Continue` before it sends the body. Returned once a request.
    case awaitsContinue
    /// The input is not a request that can be served.
    case failure(HTTPRefusal)
}

/// The buffers of a parser that live no longer than a request. Belongs to one event loop.
public final class HTTPScratch {
    /// The fields of the request.
    public let fields = HTTPFields()
    /// A chunked body, decoded.
    let body = ByteWriter(capacity: 1024)

    /// Empty buffers.
    public init() {}
}

/// The progress of parsing one connection's input. A value: its owner keeps it between reads.
public struct HTTPRequestParser: Sendable {
    /// The longest request line, without its line end.
    public static let requestLineMax = 8 * 1024
    /// The longest header section: its lines with their line ends.
    public static let headerMax = 16 * 1024
    /// The longest body.
    public static let bodyMax = 64 * 1024

    /// Bytes that the last request occupied.
    public private(set) var consumed = 0
    /// Whether the last request's body was decoded into the scratch buffer, which the next one overwrites.
    public private(set) var usesScratch = false

    private var head = HeadProgress()
    /// Bytes of input that are needed until there is anything to do; 0 if not known.
    private var needed = 0
    /// Where a chunked body begins, once the head is complete; 0 before.
    private var chunksStart = 0
    private var chunks = ChunkScanner()

    /// A parser at the beginning of a request.
    public init() {}

    /// Whether part of a request has been received.
    public var isWithinRequest: Bool { head.searched > 0 }

    /// Prepares for the next request, which begins after the last one.
    public mutating func startNext() { self = HTTPRequestParser() }

    /// Parses `count` bytes from `base`, the first byte of a request or of the empty lines before it.
    public mutating func parse(
        _ base: UnsafePointer<UInt8>, count: Int, into scratch: HTTPScratch
    ) -> HTTPParseOutcome {
        guard count > 0, count >= needed else { return .incomplete }
        do throws(HTTPRefusal) {
            if chunksStart > 0 {
                guard try chunks.scan(ByteView(base: base + chunksStart, count: count - chunksStart)) else {
                    return .incomplete
                }
            }
            let isResumed = head.lineStart > 0
            var reader = HeadReader(ByteView(base: base, count: count), scratch.fields)
            if isResumed, chunksStart == 0, needed == 0 {
                guard try reader.read(&head) != nil else { return .incomplete }
            }
            if isResumed { head = HeadProgress() }
            guard let found = try reader.read(&head) else { return .incomplete }
            return try parseBody(of: found, base, count, scratch)
        } catch {
            return .failure(error)
        }
    }

    /// Reached once with a complete head, and again only with a complete body.
    private mutating func parseBody(
        of found: HeadReader.Head, _ base: UnsafePointer<UInt8>, _ count: Int, _ scratch: HTTPScratch
    ) throws(HTTPRefusal) -> HTTPParseOutcome {
        var request = found.request
        if found.isChunked {
            let rest = ByteView(base: base + found.end, count: count - found.end)
            chunksStart = found.end
            guard try chunks.scan(rest) else { return found.expectsContinue ? .awaitsContinue : .incomplete }
            scratch.body.removeAll()
            ChunkScanner.decode(rest, to: scratch.body)
            usesScratch = true
            request.body = scratch.body.view()
            consumed = found.end + chunks.position
        } else {
            guard found.contentLength <= HTTPRequestParser.bodyMax else { throw HTTPRefusal.bodyTooLong }
            consumed = found.end + found.contentLength
            guard count >= consumed else {
                needed = consumed
                return found.expectsContinue ? .awaitsContinue : .incomplete
            }
            request.body = ByteView(base: base + found.end, count: found.contentLength)
        }
        return .request(request)
    }
}
