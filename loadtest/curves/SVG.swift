// SVG as text: elements, attributes, coordinates in tenths of a pixel. Knows nothing of plots.
//
// All numbers are integers from the data to the last digit written, so the same data gives the same bytes everywhere.

/// The text of an SVG document being written.
struct SVG {
    private(set) var text = ""
    private var open: [String] = []

    /// The text of a coordinate or length given in tenths of a pixel: "12.3", "12".
    static func pixels(_ tenths: Int) -> String {
        let sign = tenths < 0 ? "-" : ""
        let magnitude = tenths.magnitude
        let fraction = magnitude % 10
        return "\(sign)\(magnitude / 10)" + (fraction == 0 ? "" : ".\(fraction)")
    }

    static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            default: escaped.append(character)
            }
        }
        return escaped
    }

    private func tag(_ name: String, _ attributes: [(name: String, value: String)]) -> String {
        "<" + name + attributes.map { " \($0.name)=\"\(SVG.escaped($0.value))\"" }.joined()
    }

    private var indent: String { String(repeating: " ", count: open.count) }

    /// An element without content.
    mutating func element(_ name: String, _ attributes: [(name: String, value: String)]) {
        text += indent + tag(name, attributes) + "/>\n"
    }

    /// An element that contains only text.
    mutating func element(_ name: String, _ attributes: [(name: String, value: String)], content: String) {
        text += indent + tag(name, attributes) + ">" + SVG.escaped(content) + "</\(name)>\n"
    }

    /// Begins an element that contains others.
    mutating func begin(_ name: String, _ attributes: [(name: String, value: String)]) {
        text += indent + tag(name, attributes) + ">\n"
        open.append(name)
    }

    /// Ends the element begun last.
    mutating func end() {
        let name = open.removeLast()
        text += indent + "</\(name)>\n"
    }
}
