// The end of engine time: the year 2262.

import LimiterEngine
import Testing

@Suite struct EngineTimeTests {
    @Test func timeSaturatesAtItsEnd() {
        let late = EngineTime(nanoseconds: Int64.max - 5)
        #expect(late.advanced(by: 3) == EngineTime(nanoseconds: Int64.max - 2))
        #expect(late.advanced(by: 5) == .latest && late.advanced(by: Int64.max) == .latest)
        #expect(EngineTime(nanoseconds: 10).advanced(by: -30) == EngineTime(nanoseconds: -20))
        #expect(EngineTime(nanoseconds: -10).advanced(by: Int64.min) == EngineTime(nanoseconds: Int64.min))
    }
}
