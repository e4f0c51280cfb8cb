// The generated parts of a document: each is enclosed by two comments, which are kept.

public import LimiterEngine

/// Lines of a document that are generated.
public struct GeneratedSection: Sendable {
    /// The section's name in the comments.
    public let name: String
    /// The lines between the comments.
    let lines: [String]

    /// Every section of docs/choosing.md, measured now. Costs about a million limiter calls.
    public static func all() throws(LimitError) -> [GeneratedSection] {
        [
            GeneratedSection(name: "memory", lines: try StateMemory.table()),
            GeneratedSection(name: "sliding-window error", lines: try SlidingError.table()),
        ]
    }

    /// The document with this section up to date; nil unless it contains both comments, once each and in order.
    public func replaced(in document: String) -> String? {
        var lines = document.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let begins = lines.indices.filter { lines[$0] == "<!-- made by curves: \(name) -->" }
        let ends = lines.indices.filter { lines[$0] == "<!-- end: \(name) -->" }
        guard begins.count == 1, ends.count == 1, begins[0] < ends[0] else { return nil }
        lines.replaceSubrange(begins[0] + 1..<ends[0], with: self.lines)
        return lines.joined(separator: "\n")
    }
}
