// Feeds a parser as a connection does, in the harshest permitted way: every feed is a fresh allocation of exactly the
// unfinished request's size, and between feeds the argument list is used for other requests. Shared by the unit tests
// and the fuzz target (through a link), so that both feed parsers alike.

import RESP

/// A parser's result for a stretch of input.
enum RequestEvent: Equatable {
    case request([[UInt8]])
    case nothing
    case failure(ProtocolError)
}

/// All of a parser's results for an input, in order.
struct RequestTranscript: Equatable {
    var events: [RequestEvent] = []
    /// Bytes at the end that no event covers; 0 after a failure.
    var unfinished = 0
}

extension RequestLimits {
    /// Default limits, for tests that are not about limits.
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
        // Exactly sized, so that a sanitizer detects a read past the end, and never at the previous address.
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
