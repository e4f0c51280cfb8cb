// Feeds a parser the way a connection does, as nastily as that is allowed: every feed hands it the unfinished request
// in a fresh allocation of exactly its size, and between feeds the argument list is used for something else.
// Shared by the unit tests and the fuzz target (a link there), so both mean the same by "as a connection does".

import RESP

/// What a parser said about one stretch of input.
enum RequestEvent: Equatable {
    case request([[UInt8]])
    case nothing
    case failure(ProtocolError)
}

/// Everything a parser said about an input, in order.
struct RequestTranscript: Equatable {
    var events: [RequestEvent] = []
    /// Bytes at the end that no event covers; 0 after a failure.
    var unfinished = 0
}

extension RequestLimits {
    /// What the tests use where the limits are not the point.
    static let usual = RequestLimits(bulkLengthMax: 1 << 20, argumentsMax: 1024)
}

/// The transcript of `input`, arriving in pieces that end at `cuts` (ascending; the end is implied).
func replay(
    _ input: [UInt8], cuts: some Sequence<Int> = [], limits: RequestLimits = .usual, authenticated: Bool = true
) -> RequestTranscript {
    var transcript = RequestTranscript()
    var parser = RequestParser()
    let list = ArgumentList()
    var saved: [ArgumentRange] = []
    var (start, end) = (0, 0)
    for cut in Array(cuts) + [input.count] where cut >= end {
        end = cut
        // Exactly sized, so that a sanitizer sees the first byte read too far; and never where it was before.
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: max(end - start, 1))
        defer { memory.deallocate() }
        input.withUnsafeBufferPointer { memory.initialize(from: $0.baseAddress! + start, count: end - start) }
        list.load([Array("used".utf8), Array("by another".utf8)])
        list.restore(saved, base: memory)
        var taken = 0
        feeding: while true {
            let outcome = parser.parse(
                memory + taken, count: end - start - taken, into: list, limits: limits, authenticated: authenticated)
            switch outcome {
            case .request: transcript.events.append(.request((0..<list.count).map { list[$0].bytes }))
            case .nothing: transcript.events.append(.nothing)
            case .incomplete: break feeding
            case .failure(let error):
                transcript.events.append(.failure(error))
                return transcript
            }
            taken += parser.consumed
            parser.startNext()
        }
        saved = list.save()
        start += taken
    }
    transcript.unfinished = input.count - start
    return transcript
}
