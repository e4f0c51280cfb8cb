// The fuzz target of time zones (scripts/fuzz). Arbitrary bytes as a zone file, as a file's footer, as a zone's name:
//  1. Nothing crashes, and no count in a file causes an allocation larger than the file (malloc_limit_mb).
//  2. Rules that parse yield windows that contain their instant and tile time, including its ends.
//  3. A name's canonical text is again a name, the same one, and cannot lead out of a directory.
//
// Input: byte 0 the kind of input, byte 1 the period, bytes 2 to 9 an instant, the rest is content.

import LimiterEngine

private typealias OneInput = @convention(c) (UnsafePointer<UInt8>, Int) -> CInt

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ oneInput: OneInput
) -> CInt

/// SwiftPM uses this name as an executable's entry point, so libFuzzer's own `main` is never linked; this replaces
/// it.
@_cdecl("fuzz_zones_main")
public func entry(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> CInt {
    var (count, arguments) = (count, arguments)
    return runDriver(&count, &arguments, fuzzOneInput)
}

/// Runs one input; its first byte selects what to check. Traps if a property does not hold.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    guard size >= 10 else { return 0 }
    let content = Array(UnsafeBufferPointer(start: data + 10, count: size - 10))
    if data[0] % 3 == 2 {
        checkName(content)
        return 0
    }
    let file = data[0] % 3 == 0 ? content : fileHead + content + [0x0A]
    guard let rules = try? ZoneRules(file: file) else { return 0 }
    let unit = CalendarUnit.allCases[Int(data[1] & 3)]
    let period = CalendarPeriod(unit, start: unit.starts.lowerBound + Int(data[1] >> 2) % unit.starts.count)!
    let time = (2..<10).reduce(0 as UInt64) { $0 << 8 | UInt64(data[$1]) }
    for time in [Int64(bitPattern: time), 0, .min, .max] { checkWindows(rules, period, time) }
    return 0
}

/// A version 3 file up to the text of its footer: one type, no transitions.
private let fileHead: [UInt8] = {
    let header = Array("TZif3".utf8) + [UInt8](repeating: 0, count: 15 + 16) + [0, 0, 0, 1, 0, 0, 0, 1]
    let block: [UInt8] = [0, 0, 0, 0, 0, 0, 0]
    return header + block + header + block + [0x0A]
}()

private func checkWindows(_ rules: ZoneRules, _ period: CalendarPeriod, _ time: Int64) {
    func window(_ time: Int64) -> CalendarWindow {
        rules.window(containing: EngineTime(nanoseconds: time), period)
    }
    var time = min(time, EngineTime.latest.nanoseconds)
    // A few windows in each direction.
    for _ in 0..<4 {
        let found = window(time)
        precondition(found.begin <= time && time < found.end, "\(found) does not contain \(time)")
        precondition(window(found.begin) == found && window(found.end - 1) == found, "\(found) is not one window")
        guard found.end < .max else { break }
        precondition(window(found.end).begin == found.end, "a gap at \(found.end)")
        time = found.end
    }
    for _ in 0..<4 {
        let found = window(time)
        guard found.begin > .min else { break }
        precondition(window(found.begin - 1).end == found.begin, "a gap at \(found.begin)")
        time = found.begin - 1
    }
}

private func checkName(_ bytes: [UInt8]) {
    do throws(ZoneNameError) {
        let name = try ZoneName(bytes)
        let again = try? ZoneName(name.text)
        precondition(again == name, "\(name) is not the name of itself")
        precondition(name.text.utf8.count <= ZoneName.lengthMax)
        precondition(name.offsetMinutes != nil || !name.text.utf8.contains(UInt8(ascii: ".")), "\(name)")
    } catch {
        precondition("\(error)".utf8.allSatisfy { (0x20...0x7E).contains($0) }, "the error is not printable")
    }
}
