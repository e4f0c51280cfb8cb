// The fuzz target of HTTP (scripts/fuzz). Two properties, for arbitrary bytes split anywhere:
//  1. What the parser finds does not depend on how the bytes arrive. Every feed is a heap allocation of exactly its
//     size, so AddressSanitizer reliably reports a read past the end.
//  2. A request that was found, written again in the plainest form (one Host, a Content-Length, CR LF), is found again
//     with the same parts: nothing that another parser could divide differently gets through.
//
// Input: bytes 0 to 3 the positions of cuts, the rest is the input.

import HTTP

private typealias OneInput = @convention(c) (UnsafePointer<UInt8>, Int) -> CInt

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ oneInput: OneInput
) -> CInt

/// SwiftPM uses this name as an executable's entry point, so libFuzzer's own `main` is never linked; this replaces
/// it.
@_cdecl("fuzz_http_main")
public func entry(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> CInt {
    var (count, arguments) = (count, arguments)
    return runDriver(&count, &arguments, fuzzOneInput)
}

/// Runs one input. Traps if a property does not hold.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    guard size >= 4 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: data + 4, count: size - 4))
    let cuts: [Int] =
        data[0] == 0xFF
        ? Array(0..<input.count) : (0..<4).map { Int(data[$0]) * max(input.count, 1) / 256 }.sorted()
    let whole = find(input, cuts: [])
    let cut = find(input, cuts: cuts)
    precondition(whole == cut, "cut at \(cuts): \(cut), whole: \(whole)")
    for case .request(let request) in whole {
        let again = find(request.written, cuts: [])
        precondition(again == [.request(request)], "\(request) is not found again: \(again)")
    }
    return 0
}

private struct Found: Equatable {
    var method: [UInt8]
    var path: [UInt8]
    var query: [UInt8]
    var keepsAlive: Bool
    var isVersion10: Bool
    var fields: [[[UInt8]]]
    var body: [UInt8]

    init(_ request: HTTPRequest) {
        method = Array(request.methodToken.buffer)
        path = Array(request.path.buffer)
        query = Array(request.query.buffer)
        keepsAlive = request.keepsAlive
        isVersion10 = request.isVersion10
        fields = (0..<request.fields.count).compactMap { index in
            let name = request.fields.name(index)
            // Replaced by `written`.
            let isFraming = name.matches("content-length") || name.matches("transfer-encoding")
            return isFraming ? nil : [Array(name.buffer), Array(request.fields.value(index).buffer)]
        }
        body = Array(request.body.buffer)
    }

    /// The request in the plainest form.
    var written: [UInt8] {
        var bytes = method + [0x20] + path
        if !query.isEmpty { bytes += [UInt8(ascii: "?")] + query }
        bytes += Array((isVersion10 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n").utf8)
        for field in fields { bytes += field[0] + Array(":".utf8) + field[1] + Array("\r\n".utf8) }
        if !body.isEmpty { bytes += Array("Content-Length: \(body.count)\r\n".utf8) }
        return bytes + Array("\r\n".utf8) + body
    }
}

private enum Event: Equatable {
    case request(Found)
    case refused(HTTPRefusal)
}

private func find(_ input: [UInt8], cuts: [Int]) -> [Event] {
    var parser = HTTPRequestParser()
    let scratch = HTTPScratch()
    var events: [Event] = []
    var start = 0
    for end in cuts + [input.count] where end >= start {
        while start < end {
            let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: end - start)
            defer { memory.deallocate() }
            _ = memory.initialize(from: input[start..<end])
            switch parser.parse(memory.baseAddress!, count: memory.count, into: scratch) {
            case .request(let request):
                events.append(.request(Found(request)))
                precondition(parser.consumed > 0 && parser.consumed <= end - start)
                start += parser.consumed
                parser.startNext()
                continue
            case .failure(let refusal): return events + [.refused(refusal)]
            case .incomplete, .awaitsContinue: break
            }
            break
        }
    }
    return events
}
