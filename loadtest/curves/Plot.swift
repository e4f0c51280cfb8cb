// What a plot is: axes, curves, notes. Drawing it is PlotDrawing's.

/// A plot over whole numbers. Both axes have units of the caller's; a curve's points must lie within them in x.
struct Plot {
    /// How a curve is drawn: the colour by class, the dashes beside it, so that nothing is told by colour alone.
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
        /// Values that have a line and a number.
        var ticks: [Int]
        /// What is written at a tick.
        var number: (Int) -> String = { String($0) }

        var length: Int { range.upperBound - range.lowerBound }
    }

    /// A line through the whole plot with a word at it.
    struct Mark {
        var at: Int
        var label: String
    }

    /// A word somewhere in the plot.
    struct Note {
        var text: String
        var at: Point
        var isCentred = false
    }

    var title: String
    var subtitle: String
    /// The plot in words, for those who do not see it.
    var description: String
    var x: Axis
    var y: Axis
    var curves: [Curve]
    /// Upright lines: borders of the clock's windows.
    var borders: [Mark] = []
    /// Level lines: limits.
    var levels: [Mark] = []
    var notes: [Note] = []
}
