import Testing

@testable import LimiterEngine

@Suite struct PolicySeriesTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test func aNameKeepsItsNumber() {
        let series = PolicySeries()
        #expect(series.number(of: bytes("free")) == 0 && series.number(of: bytes("pro")) == 1)
        #expect(series.number(of: bytes("free")) == 0)
        #expect(series.names.map(\.name) == ["free", "pro"] && series.names.map(\.number) == [0, 1])
    }

    @Test func namesAreBounded() {
        let series = PolicySeries()
        for number in 0..<PolicySeries.namesMax { #expect(series.number(of: bytes("p\(number)")) == number) }
        #expect(series.names.count == PolicySeries.namesMax)
        #expect(series.number(of: bytes("more")) == PolicySeries.namesMax)
        #expect(series.number(of: bytes("p7")) == 7)
        #expect(series.names.count == PolicySeries.count && series.names.last!.name == "other")
    }

    /// No two series have the same name.
    @Test func namesThatCannotBeLabelsAreOthers() {
        let series = PolicySeries()
        #expect(series.number(of: bytes("other")) == PolicySeries.namesMax)
        #expect(series.number(of: [0xFF]) == PolicySeries.namesMax)
        #expect(series.names.map(\.name) == ["other"])
    }
}
