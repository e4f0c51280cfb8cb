// Rules of the `save` setting.

import Persistence
import System
import Testing

@testable import RespServer

@Suite struct SaveRulesTests {
    @Test func pairsOfNumbers() throws {
        let rules = try #require(SaveRules(" 3600 1  300 100 "))
        #expect(rules.text == "3600 1 300 100")
        #expect(SaveRules("")?.rules.isEmpty == true)
        for wrong in ["1", "1 2 3", "a 1", "0 1", "-1 1", "1 -1", "01 1", "1 4294967296", "1.5 1"] {
            #expect(SaveRules(wrong) == nil, "\(wrong)")
        }
    }

    @Test func dueWhenBothThresholdsAreReached() throws {
        let rules = try #require(SaveRules("60 10 3600 1"))
        #expect(!rules.isDue(after: .seconds(59), changes: 1000))
        #expect(!rules.isDue(after: .seconds(60), changes: 9))
        #expect(rules.isDue(after: .seconds(60), changes: 10))
        #expect(rules.isDue(after: .seconds(3600), changes: 1))
        #expect(!rules.isDue(after: .seconds(100_000), changes: 0))
        #expect(!(try #require(SaveRules("1 0")).isDue(after: .seconds(100), changes: 0)))
    }
}
