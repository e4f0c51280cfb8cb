// The description of a plot: axes, curves, notes. PlotDrawing draws it.

/// A plot over whole numbers. The caller chooses the units of both axes; a curve's points must lie within them in x.
struct Plot {
    /// How a curve is drawn: a colour by class, plus dashes, so that no information depends on colour alone.
    enum Style: String, CaseIterable {
        case rate
        case fixed
        case sliding
        case log
        case calls

        /// Lengths of dashes and gaps in pixels; empty for a solid line.
        var dashes: String {
            switch self {
            case .rate: ""
            case .fixed: "9 4"
            case .sliding: "11 3 2 3"
            case .log: "2.5 2.5"
            case .calls: "1 3"
            }
        }
    }

    struct Point: Equatable {
        var x: Int
        var y: Int
    }

    /// A value that holds from one point to the next.
    struct Curve {
        var label: String
        var style: Style
        var points: [Point]
        /// Where the label begins; nil for the curve's end, in the margin.
        var labelAt: Point?
    }

    struct Axis {
        var title: String
        var range: ClosedRange<Int>
        /// Values with a line and a number.
        var ticks: [Int]
        /// The text at a tick.
        var number: (Int) -> String = { String($0) }

        var length: Int { range.upperBound - range.lowerBound }
    }

    /// A line across the whole plot with a label.
    struct Mark {
        var at: Int
        var label: String
    }

    /// A label inside the plot.
    struct Note {
        var text: String
        var at: Point
        var isCentred = false
    }

    var title: String
    var subtitle: String
    /// A text description of the plot, for readers who cannot see it.
    var description: String
    var x: Axis
    var y: Axis
    var curves: [Curve]
    /// Vertical lines: boundaries of the clock's windows.
    var borders: [Mark] = []
    /// Horizontal lines: limits.
    var levels: [Mark] = []
    var notes: [Note] = []
}
