import RESP
import Testing

/// Checks that `input` yields `events`: in one piece, byte by byte, cut at every position (for long inputs: near both
/// ends), and three times in a row if nothing fails.
func verify(
    _ input: [UInt8], gives events: [RequestEvent], unfinished: Int = 0, limits: RequestLimits = .usual,
    authenticated: Bool = true, at location: SourceLocation = #_sourceLocation
) {
    let expected = RequestTranscript(events: events, unfinished: unfinished)
    func check(_ input: [UInt8], cuts: some Sequence<Int>, _ expected: RequestTranscript, _ how: String) {
        let found = replay(input, cuts: cuts, limits: limits, authenticated: authenticated)
        // A single comparison, so that a million correct results do not cost a million reports.
        if found != expected {
            Issue.record("\(how): \(describe(found)), not \(describe(expected))", sourceLocation: location)
        }
    }
    check(input, cuts: [], expected, "whole")
    let isLong = input.count > 4096
    let positions = isLong ? Array(1..<16) + Array(input.count - 16..<input.count) : Array(0..<input.count)
    check(input, cuts: positions, expected, isLong ? "both ends byte by byte" : "byte by byte")
    for position in positions { check(input, cuts: [position], expected, "cut at \(position)") }
    for position in positions.dropLast(2) {
        check(input, cuts: [position, position + 2], expected, "cut around \(position)")
    }
    guard unfinished == 0, !events.contains(where: { if case .failure = $0 { true } else { false } }) else { return }
    let thrice = RequestTranscript(events: events + events + events)
    check(input + input + input, cuts: [], thrice, "three at once")
    check(input + input + input, cuts: [input.count + 1], thrice, "three, cut in the second")
}

/// The same for text input.
func verify(
    _ input: String, gives events: [RequestEvent], unfinished: Int = 0, limits: RequestLimits = .usual,
    authenticated: Bool = true, at location: SourceLocation = #_sourceLocation
) {
    verify(
        Array(input.utf8), gives: events, unfinished: unfinished, limits: limits, authenticated: authenticated,
        at: location)
}

/// The request with these words.
func request(_ words: String...) -> RequestEvent { .request(words.map { Array($0.utf8) }) }

/// The bytes of these arguments as an array of bulk strings.
func encoded(_ arguments: [[UInt8]]) -> [UInt8] {
    var bytes = Array("*\(arguments.count)\r\n".utf8)
    for argument in arguments { bytes += Array("$\(argument.count)\r\n".utf8) + argument + [0x0D, 0x0A] }
    return bytes
}

private func describe(_ transcript: RequestTranscript) -> String {
    let events = transcript.events.prefix(8).map { event -> String in
        guard case .request(let arguments) = event else { return "\(event)" }
        return arguments.prefix(8).map { String(decoding: $0.prefix(40), as: UTF8.self) }.description
    }
    return "\(events) and \(transcript.unfinished) bytes"
}
