// The values of the words of a limit: numbers, durations, zones, algorithms, modes. Each is parsed on its own;
// LimitArguments combines them.

import LimiterEngine
import RESP

extension LimitArguments {
    @inline(__always)
    static func integer(_ value: Argument, _ word: LimitWord) throws(ArgumentProblem) -> Int64 {
        guard let integer = value.integer else {
            throw ArgumentProblem("ERR \(word.text) is not an integer or out of range")
        }
        return integer
    }

    /// A zone that this machine has, or, with `acceptsUnknown`, any valid name.
    @inline(never)
    static func zone(_ value: Argument, acceptsUnknown: Bool) throws(ArgumentProblem) -> ZoneNumber {
        let name: ZoneName
        do throws(ZoneNameError) {
            name = try ZoneName(value.buffer)
        } catch {
            throw ArgumentProblem("ERR ZONE: \(error)")
        }
        if acceptsUnknown, let zone = try? ZoneRegistry.shared.intern(name) { return zone }
        let table = ZoneRegistry.shared.table
        guard let zone = table.number(of: name), table.failure(of: zone) == nil else {
            throw ArgumentProblem("ERR ZONE: this server has no time zone '\(name)'")
        }
        return zone
    }

    /// A duration in nanoseconds: an integer, in seconds or with one of the units ms, s, m, h, d.
    static func period(_ value: Argument, _ word: LimitWord) throws(ArgumentProblem) -> Int64 {
        var digits = value.count
        while digits > 0, value.base[digits - 1] > UInt8(ascii: "9") { digits -= 1 }
        let unit = Argument(base: value.base + digits, count: value.count - digits)
        guard let count = Argument(base: value.base, count: digits).integer, let length = nanoseconds(of: unit) else {
            throw ArgumentProblem(
                "ERR \(word.text) must be a whole number of seconds, or one with the unit ms, s, m, h or d in lower "
                    + "case, not '\(shown(value))'")
        }
        let (product, overflows) = count.multipliedReportingOverflow(by: length)
        guard !overflows else { throw ArgumentProblem("ERR \(word.text) is out of range") }
        return product
    }

    /// Whole seconds in nanoseconds.
    static func seconds(_ value: Int64, _ word: LimitWord) throws(ArgumentProblem) -> Int64 {
        let (product, overflows) = value.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflows else { throw ArgumentProblem("ERR \(word.text) is out of range") }
        return product
    }

    /// The length of a unit: an empty one is a second; nil if unknown. `M` is invalid, since elsewhere it means months.
    @inline(__always)
    private static func nanoseconds(of unit: Argument) -> Int64? {
        guard unit.count <= 2, unit.buffer.allSatisfy({ $0 >= UInt8(ascii: "a") }) else { return nil }
        switch (unit.shortWord, unit.count) {
        case (0, 0), (0x73, 1): return 1_000_000_000
        case (0x736D, 2): return 1_000_000
        case (0x6D, 1): return 60_000_000_000
        case (0x68, 1): return 3_600_000_000_000
        case (0x64, 1): return 86_400_000_000_000
        default: return nil
        }
    }

    static func algorithm(_ value: Argument) throws(ArgumentProblem) -> Limit.Algorithm {
        for algorithm in Limit.Algorithm.allCases where value.matches(algorithm.name) { return algorithm }
        throw ArgumentProblem("ERR ALGO must be one of \(Limit.Algorithm.names)")
    }

    static func mode(_ value: Argument) throws(ArgumentProblem) -> LimitCall.Mode {
        for mode in LimitCall.Mode.allCases where value.matches(mode.name) { return mode }
        throw ArgumentProblem("ERR MODE must be one of enforce, shadow, off")
    }

    /// A client's argument, shortened for an error.
    static func shown(_ argument: Argument) -> String {
        SettingError.printable(Argument(base: argument.base, count: min(argument.count, 64)).string)
    }
}
