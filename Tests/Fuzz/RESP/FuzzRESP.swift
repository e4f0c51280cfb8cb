// The fuzz target of the wire format (scripts/fuzz). Three properties, for arbitrary bytes split anywhere:
//  1. A parser's events and arguments do not depend on how the bytes arrive. Every feed is a heap allocation of exactly
//     its size (RequestReplay), so AddressSanitizer reliably reports a read past the end.
//  2. The same for the reply scanner; and the decoder accepts every reply that the scanner found complete.
//  3. A parsed request encoded again as an array of bulk strings parses to the same request.
//
// Input: byte 0 selects mode and limits, bytes 1 to 4 the positions of cuts, the rest is the input.

import RESP

private typealias OneInput = @convention(c) (UnsafePointer<UInt8>, Int) -> CInt

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ oneInput: OneInput
) -> CInt

/// SwiftPM uses this name as an executable's entry point, so libFuzzer's own `main` is never linked; this replaces
/// it.
@_cdecl("fuzz_resp_main")
public func entry(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> CInt {
    var (count, arguments) = (count, arguments)
    return runDriver(&count, &arguments, fuzzOneInput)
}

/// Runs one input; its first byte selects what to check. Traps if a property does not hold.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    guard size >= 5 else { return 0 }
    let mode = data[0]
    let input = Array(UnsafeBufferPointer(start: data + 5, count: size - 5))
    let cuts = makeCuts(Array(UnsafeBufferPointer(start: data + 1, count: 4)), below: input.count)
    if mode & 1 == 0 {
        checkRequests(input, cuts: cuts, mode: mode)
    } else {
        checkReplies(input, cuts: cuts)
    }
    return 0
}

/// Four positions from four bytes, or every position if the first byte selects that.
private func makeCuts(_ bytes: [UInt8], below count: Int) -> [Int] {
    if bytes[0] == 0xFF { return Array(0..<count) }
    return bytes.map { Int($0) * max(count, 1) / 256 }.sorted()
}

private func checkRequests(_ input: [UInt8], cuts: [Int], mode: UInt8) {
    // Low limits, or a fuzzer would need inputs of 64 KiB to reach one.
    var limits = mode & 2 == 0 ? RequestLimits(bulkLengthMax: 64, argumentsMax: 12) : RequestLimits.usual
    if mode & 4 == 0 { limits.lineLengthMax = 32 }
    let authenticated = mode & 8 == 0
    let whole = replay(input, limits: limits, authenticated: authenticated)
    let cut = replay(input, cuts: cuts, limits: limits, authenticated: authenticated)
    precondition(whole == cut, "cut at \(cuts): \(cut), whole: \(whole)")
    for event in whole.events {
        guard case .request(let arguments) = event else { continue }
        precondition(!arguments.isEmpty && arguments.count <= limits.argumentsMax)
        var bytes = Array("*\(arguments.count)\r\n".utf8)
        for argument in arguments { bytes += Array("$\(argument.count)\r\n".utf8) + argument + [0x0D, 0x0A] }
        precondition(replay(bytes) == RequestTranscript(events: [event]), "\(arguments) does not survive \(bytes)")
    }
}

private func checkReplies(_ input: [UInt8], cuts: [Int]) {
    let whole = scan(input, cuts: [])
    let cut = scan(input, cuts: cuts)
    precondition(
        whole.replies == cut.replies && whole.errors == cut.errors && whole.pushes == cut.pushes
            && whole.failure == cut.failure && whole.isBetweenReplies == cut.isBetweenReplies,
        "cut at \(cuts): \(cut), whole: \(whole)")
    var (rest, found) = (input, 0)
    while found < whole.replies + whole.pushes {
        do {
            guard let (_, length) = try ReplyValue.decode(rest) else { fatalError("a complete reply does not decode") }
            rest.removeFirst(length)
            found += 1
        } catch .tooDeep, .invalidScalar {
            return
        } catch {
            fatalError("a complete reply is refused: \(error)")
        }
    }
}

private func scan(_ input: [UInt8], cuts: [Int]) -> ReplyScanner {
    var scanner = ReplyScanner()
    var start = 0
    for end in cuts + [input.count] where end >= start {
        let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: end - start)
        defer { memory.deallocate() }
        _ = memory.initialize(from: input[start..<end])
        let seen = scanner.scan(UnsafeBufferPointer(memory))
        precondition(seen == end - start || scanner.failure != nil, "the scanner stopped for no reason")
        start = end
    }
    return scanner
}
