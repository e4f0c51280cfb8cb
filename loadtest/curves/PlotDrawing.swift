// Draws a plot as SVG: frame, ticks, curves as steps, labels next to their curves, colours for light and dark pages.
//
// No script, no external font, its own background: it looks the same wherever it is embedded.

extension Plot {
    // In tenths of a pixel.
    private static let width = 7600
    private static let height = 4200
    private static let left = 560
    private static let top = 620
    private static let bottom = 3600
    /// Minimum distance between labels in the margin.
    private static let labelGap = 170

    private static let colours = """
        .page{fill:#fff}.text{fill:#1f2328}.soft{fill:#59636e}.grid{stroke:#e3e6ea}.axis{stroke:#59636e}
        .mark{stroke:#8b949e}.halo{stroke:#fff}
        .rate{stroke:#0062ad}.fixed{stroke:#b84300}.sliding{stroke:#00754f}.log{stroke:#9c2f86}.calls{stroke:#59636e}
        .t-rate{fill:#0062ad}.t-fixed{fill:#b84300}.t-sliding{fill:#00754f}.t-log{fill:#9c2f86}.t-calls{fill:#59636e}
        """
    private static let darkColours = """
        .page{fill:#0d1117}.text{fill:#e6edf3}.soft{fill:#9aa4af}.grid{stroke:#262c34}.axis{stroke:#9aa4af}
        .mark{stroke:#6e7681}.halo{stroke:#0d1117}
        .rate{stroke:#6cb6ff}.fixed{stroke:#ff9d5c}.sliding{stroke:#3fd09c}.log{stroke:#f08fdc}.calls{stroke:#9aa4af}
        .t-rate{fill:#6cb6ff}.t-fixed{fill:#ff9d5c}.t-sliding{fill:#3fd09c}.t-log{fill:#f08fdc}.t-calls{fill:#9aa4af}
        """

    /// The right edge of the plot, leaving room for labels in the margin if there are any.
    private var right: Int { curves.contains { $0.labelAt == nil } ? 6160 : 7400 }

    private func xPosition(_ value: Int) -> Int {
        Plot.left + (value - x.range.lowerBound) * (right - Plot.left) / x.length
    }

    private func yPosition(_ value: Int) -> Int {
        Plot.bottom - (value - y.range.lowerBound) * (Plot.bottom - Plot.top) / y.length
    }

    /// The SVG document.
    func drawn() -> String {
        var svg = SVG()
        svg.begin(
            "svg",
            [
                ("xmlns", "http://www.w3.org/2000/svg"),
                ("viewBox", "0 0 \(SVG.pixels(Plot.width)) \(SVG.pixels(Plot.height))"), ("role", "img"),
                ("aria-labelledby", "title description"),
                ("font-family", "system-ui, 'DejaVu Sans', sans-serif"), ("font-size", "12.5"), ("fill", "none"),
            ])
        svg.element("title", [("id", "title")], content: title)
        svg.element("desc", [("id", "description")], content: description)
        svg.element(
            "style", [],
            content: "\n\(Plot.colours)\n@media (prefers-color-scheme:dark){\n\(Plot.darkColours)\n}\n")
        svg.element("rect", [("class", "page"), ("width", "100%"), ("height", "100%"), ("rx", "6")])
        word(&svg, title, 180, 260, "text", [("font-size", "15.5"), ("font-weight", "600")])
        word(&svg, subtitle, 180, 460, "soft", [])
        drawAxes(&svg)
        drawMarks(&svg)
        for curve in curves { drawCurve(curve, &svg) }
        drawLabels(&svg)
        for note in notes {
            word(
                &svg, note.text, xPosition(note.at.x), yPosition(note.at.y), "soft",
                note.isCentred ? [("text-anchor", "middle")] : [])
        }
        svg.end()
        return svg.text
    }

    // MARK: Parts

    /// Text on top of other elements: an outline in the page's colour keeps it readable.
    private func word(
        _ svg: inout SVG, _ text: String, _ x: Int, _ y: Int, _ colour: String,
        _ attributes: [(name: String, value: String)]
    ) {
        var all: [(name: String, value: String)] = [
            ("x", SVG.pixels(x)), ("y", SVG.pixels(y)), ("class", colour + " halo"), ("stroke-width", "3"),
            ("paint-order", "stroke"), ("stroke-linejoin", "round"),
        ]
        all += attributes
        svg.element("text", all, content: text)
    }

    private func line(_ svg: inout SVG, _ colour: String, _ from: (Int, Int), _ to: (Int, Int), dashes: String = "") {
        let way = to.1 == from.1 ? "H\(SVG.pixels(to.0))" : "V\(SVG.pixels(to.1))"
        var all = [
            (name: "class", value: colour),
            (name: "d", value: "M\(SVG.pixels(from.0)) \(SVG.pixels(from.1))" + way),
        ]
        if !dashes.isEmpty { all.append(("stroke-dasharray", dashes)) }
        svg.element("path", all)
    }

    private func drawAxes(_ svg: inout SVG) {
        for tick in y.ticks {
            let height = yPosition(tick)
            line(&svg, "grid", (Plot.left, height), (right, height))
            word(&svg, y.number(tick), Plot.left - 80, height + 40, "soft", [("text-anchor", "end")])
        }
        for tick in x.ticks {
            let position = xPosition(tick)
            line(&svg, "axis", (position, Plot.bottom), (position, Plot.bottom + 50))
            word(&svg, x.number(tick), position, Plot.bottom + 200, "soft", [("text-anchor", "middle")])
        }
        line(&svg, "axis", (Plot.left, Plot.bottom), (right, Plot.bottom))
        word(
            &svg, x.title, (Plot.left + right) / 2, Plot.bottom + 440, "text", [("text-anchor", "middle")])
        let middle = (Plot.top + Plot.bottom) / 2
        word(
            &svg, y.title, 170, middle, "text",
            [("text-anchor", "middle"), ("transform", "rotate(-90 17 \(SVG.pixels(middle)))")])
    }

    private func drawMarks(_ svg: inout SVG) {
        for border in borders {
            let position = xPosition(border.at)
            line(&svg, "mark", (position, Plot.top), (position, Plot.bottom), dashes: "1 4")
            if !border.label.isEmpty { word(&svg, border.label, position + 60, Plot.top + 130, "soft", []) }
        }
        for level in levels {
            let height = yPosition(level.at)
            line(&svg, "mark", (Plot.left, height), (right, height))
            word(&svg, level.label, Plot.left + 60, height - 50, "soft", [])
        }
    }

    private func drawCurve(_ curve: Curve, _ svg: inout SVG) {
        var path = ""
        var last = (x: 0, y: 0)
        for point in curve.points {
            let next = (x: xPosition(point.x), y: yPosition(point.y))
            if path.isEmpty {
                path = "M\(SVG.pixels(next.x)) \(SVG.pixels(next.y))"
            } else {
                if next.x != last.x { path += "H\(SVG.pixels(next.x))" }
                if next.y != last.y { path += "V\(SVG.pixels(next.y))" }
            }
            last = next
        }
        svg.element(
            "path",
            [
                ("class", curve.style.rawValue), ("d", path), ("stroke-dasharray", curve.style.dashes),
                ("stroke-width", curve.style == .calls ? "1.6" : "2.2"),
            ].filter { !$0.1.isEmpty })
    }

    /// Moves the labels in the margin apart, from the lowest up.
    private func drawLabels(_ svg: inout SVG) {
        var lowest = Int.max
        for curve in curves.filter({ $0.labelAt == nil }).sorted(by: { $0.points.last!.y < $1.points.last!.y }) {
            let end = yPosition(curve.points.last!.y)
            let position = min(end + 40, lowest)
            lowest = position - Plot.labelGap
            word(&svg, curve.label, right + 90, position, "t-\(curve.style.rawValue)", [])
        }
        for curve in curves {
            guard let place = curve.labelAt else { continue }
            word(&svg, curve.label, xPosition(place.x), yPosition(place.y), "t-\(curve.style.rawValue)", [])
        }
    }
}
