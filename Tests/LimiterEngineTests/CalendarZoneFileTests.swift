// Zone files with arbitrary bytes: errors name the problem, and every file that parses yields windows that tile time.

import System
import TestSupport
import Testing

@testable import LimiterEngine

@Suite struct CalendarZoneFileTests {
    private func error(_ change: (inout ZoneFileBuilder) -> Void) -> ZoneFileError? {
        var builder = ZoneFileBuilder()
        change(&builder)
        return error(in: builder.bytes)
    }

    private func error(in bytes: [UInt8]) -> ZoneFileError? {
        do throws(ZoneFileError) {
            _ = try ZoneRules(file: bytes)
            return nil
        } catch {
            return error
        }
    }

    @Test func everyFieldIsChecked() {
        #expect(error { _ in } == nil)
        for version in "234".utf8 { #expect(error { $0.version = version } == nil) }
        for version in [0, UInt8(ascii: "1"), UInt8(ascii: "5"), 255] {
            #expect(error { $0.version = version } == .unsupportedVersion(version))
        }
        #expect(error { $0.secondVersion = UInt8(ascii: "3") } == .versionsDiffer)
        #expect(error { $0.types = [] } == .badCount(.localTimeTypes))
        #expect(error { $0.types = .init(repeating: .init(offset: 0), count: 257) } == .badCount(.localTimeTypes))
        #expect(error { $0.types = .init(repeating: .init(offset: 0), count: 256) } == nil)
        #expect(error { $0.designations = [] } == .badCount(.designations))
        #expect(error { $0.designations = Array("CET".utf8) } == .unterminatedDesignations)
        #expect(error { $0.leapSeconds = 1 } == .countsLeapSeconds)
        #expect(error { $0.standardIndicators = 1 } == nil)
        #expect(error { $0.standardIndicators = 2 } == .badCount(.indicators))
        #expect(error { $0.utcIndicators = 2 } == .badCount(.indicators))
        #expect(error { $0.types[0].offset = 93_600 } == .badOffset(type: 0))
        #expect(error { $0.types[0].offset = -90_000 } == .badOffset(type: 0))
        #expect(error { $0.types[0].offset = .min } == .badOffset(type: 0))
        #expect(error { $0.types[0].daylight = 2 } == .badDaylightFlag(type: 0))
        #expect(error { $0.types[0].designation = 4 } == .badDesignation(type: 0))
        #expect(error { $0.transitions = [(0, 0), (1, 1)] } == .unknownType(transition: 1))
        #expect(error { $0.transitions = [(5, 0), (5, 0)] } == .unorderedTransition(1))
        #expect(error { $0.transitions = [(.max, 0), (.min, 0)] } == .unorderedTransition(1))
        #expect(error { $0.transitions = [(.min, 0), (.max, 0)] } == nil)
        #expect(error { $0.footer = "" } == nil)
        #expect(error { $0.footer = "CET" } == .badRule(ZoneRuleError(expected: .offset, position: 3)))
        #expect(error { $0.footer = "CET-1\nCET-1" } == .trailingBytes(6))
        #expect(error(in: .init(repeating: 0, count: 65_537)) == .tooLong(65_537))
        #expect(error(in: .init(repeating: 0, count: 65_536)) == .badMagic(.firstHeader))
    }

    @Test func aTruncatedFileIsReportedWithThePart() {
        var builder = ZoneFileBuilder()
        builder.transitions = [(0, 0), (1, 0)]
        builder.standardIndicators = 1
        let bytes = builder.bytes
        var parts: [ZoneFileError.Part] = []
        for count in 0..<bytes.count {
            let error = error(in: Array(bytes[..<count]))
            guard case .truncated(let part) = error else {
                Issue.record("cut to \(count) of \(bytes.count): \(String(describing: error))")
                continue
            }
            if parts.last != part { parts.append(part) }
        }
        #expect(
            parts == [
                .firstHeader, .firstBlock, .secondHeader, .transitions, .localTimeTypes, .designations, .indicators,
                .footer,
            ])
    }

    @Test func countsOfAnySizeDoNotOverflow() {
        let bytes = ZoneFileBuilder().bytes
        for header in [0, 51] {
            for count in 0..<6 {
                for value: [UInt8] in [[255, 255, 255, 255], [127, 255, 255, 255], [0, 1, 0, 0]] {
                    var damaged = bytes
                    damaged.replaceSubrange(header + 20 + 4 * count..<header + 24 + 4 * count, with: value)
                    #expect(error(in: damaged) != nil, "count \(count) of the header at \(header): \(value)")
                }
            }
        }
    }

    @Test func typeZeroIsInForceBeforeTheFirstTransitionAndTheFooterAfterTheLast() throws {
        var builder = ZoneFileBuilder(footer: "AAA-3")
        builder.types = [.init(offset: 100), .init(offset: 3600), .init(offset: 7200)]
        builder.transitions = [(1000, 1), (2000, 2)]
        func offset(at second: Int64) throws -> Int {
            try ZoneRules(file: builder.bytes).offset(at: EngineTime(nanoseconds: second * 1_000_000_000))
        }
        #expect(try offset(at: -9_000_000_000) == 100 && offset(at: 999) == 100)
        #expect(try offset(at: 1000) == 3600 && offset(at: 1999) == 3600)
        #expect(try offset(at: 2000) == 10_800 && offset(at: 9_000_000_000) == 10_800)
        builder.footer = ""
        #expect(try offset(at: 2000) == 7200 && offset(at: 9_000_000_000) == 7200)
        // A last transition that the footer contradicts never took effect.
        builder.transitions = [(1000, 1), (2000, 2)]
        builder.footer = "AAA-1"
        #expect(try ZoneRules(file: builder.bytes).view.count == 2)
        builder.footer = ""
        // Transitions before and after the range of 64-bit nanoseconds.
        builder.transitions = [(-1 << 59, 1), (1 << 59, 2)]
        #expect(try offset(at: -9_223_372_036) == 3600 && offset(at: 9_223_372_036) == 3600)
    }

    @Test func damagedFilesOfTheMachineAreRefusedOrTile() throws {
        var random = SeededGenerator(for: "damagedFilesOfTheMachineAreRefusedOrTile")
        let directory = ZoneDirectory()
        let files = try ["Europe/Dublin", "Pacific/Apia", "America/Nuuk", "UTC"].map { try directory.read($0) }
        var (read, refused) = (0, 0)
        for round in 0..<6000 {
            var bytes = files[round % files.count]
            // Mostly in headers, types and the footer: the transitions are long and tolerate most changes.
            for _ in 0...random.below(3) {
                let fromEnd = random.below(2) == 0
                let position = random.below(min(bytes.count, fromEnd ? 120 : bytes.count))
                bytes[fromEnd ? bytes.count - 1 - position : position] =
                    random.below(2) == 0 ? UInt8(random.below(256)) : UInt8(ascii: "0") + UInt8(random.below(10))
            }
            if random.below(8) == 0 { bytes.removeLast(random.below(bytes.count)) }
            guard let rules = try? ZoneRules(file: bytes) else {
                refused += 1
                continue
            }
            read += 1
            var check = TilingCheck(rules)
            for _ in 0..<6 { check.run(at: Int64(random.next() >> 1), period: .random(&random)) }
            #expect(check.problems.isEmpty, "round \(round): \(check.problems)")
        }
        #expect(read > 500 && refused > 500)
    }
}
