// The offsets of one zone, from the first that is known to the year 2262, and the windows that follow from them.
//
// A zone is a list of spans in which its offset from UTC stays the same. The recurring rule at the end of a zone file
// is expanded into spans when the file is read, so a look-up is a few binary searches and never allocates.
//
// A window begins at the first instant at which the local time is at or after its boundary. Local time may jump:
//  - Forward over a boundary: the window begins at the jump. Forward over several, as in the zones that skipped a day:
//    their windows would be empty and do not exist; the one before ends, and the last of them begins, at the jump.
//  - Back over a boundary, which then comes twice: the window begins the first time, and stays when the clock shows the
//    earlier date again.
// Both follow from taking, instead of local time, the latest local time that was reached so far. It never runs
// backwards, so windows tile time, whatever a zone file contains.

/// The offsets of one zone. Immutable.
///
/// `@unchecked Sendable`: its memory is written in `init` alone, and given back in `deinit`.
public final class ZoneRules: @unchecked Sendable {
    /// A time in which the offset stays the same. Seconds.
    struct Span: Equatable {
        /// The first second of it, since the epoch.
        var begin: Int
        /// Local time is UTC plus this.
        var offset: Int32
        /// All earlier local times are below `begin` plus this.
        var earlierOffset: Int32
    }

    /// What a look-up needs, so that it touches no reference.
    struct View {
        let spans: UnsafeMutablePointer<Span>
        /// 1 or more.
        let count: Int
    }

    let view: View

    /// The first and the last second, since the epoch, in which an `Int64` of nanoseconds can be.
    static let seconds = -9_223_372_037...9_223_372_036

    /// Rules with one offset for ever, in seconds, within 26 hours.
    public convenience init(offset: Int) { self.init(offset: offset, changes: []) }

    /// - Parameters:
    ///   - offset: The offset before the first change.
    ///   - changes: Changes of the offset, each later than the one before it, within `ZoneRules.seconds`.
    init(offset: Int, changes: [(begin: Int, offset: Int)]) {
        var spans = [Span(begin: Int.min, offset: Int32(offset), earlierOffset: 0)]
        // The latest local time before a change, but for one second.
        var peak = Int.min
        for change in changes where change.offset != Int(spans[spans.count - 1].offset) {
            peak = max(peak, change.begin + Int(spans[spans.count - 1].offset))
            spans.append(
                Span(begin: change.begin, offset: Int32(change.offset), earlierOffset: Int32(peak - change.begin)))
        }
        let memory = UnsafeMutablePointer<Span>.allocate(capacity: spans.count)
        memory.initialize(from: spans, count: spans.count)
        view = View(spans: memory, count: spans.count)
    }

    deinit { view.spans.deallocate() }

    /// Whether the other rules say the same. O(spans).
    func isSame(as other: ZoneRules) -> Bool {
        guard view.count == other.view.count else { return false }
        return (0..<view.count).allSatisfy { view.spans[$0] == other.view.spans[$0] }
    }

    /// How many bytes its spans take.
    public var byteCount: Int { view.count * MemoryLayout<Span>.stride }

    /// The window of a period that contains an instant: `begin <= time < end`. The one nanosecond after
    /// `EngineTime.latest` is in that one's window. O(log spans), without allocation.
    public func window(containing time: EngineTime, _ period: CalendarPeriod) -> CalendarWindow {
        view.window(containing: time, period)
    }

    /// Seconds that local time is ahead of UTC at an instant.
    public func offset(at time: EngineTime) -> Int {
        Int(view.spans[view.span(at: floorQuotient(Int(time.nanoseconds), 1_000_000_000))].offset)
    }
}

extension ZoneRules.View {
    /// See `ZoneRules.window`.
    func window(containing time: EngineTime, _ period: CalendarPeriod) -> CalendarWindow {
        let second = floorQuotient(Int(time.nanoseconds), 1_000_000_000)
        let number = span(at: second)
        var local = second + Int(spans[number].offset)
        if number > 0 { local = max(local, spans[number].earliestNewLocal - 1) }
        let (begin, end) = period.boundaries(around: local)
        return CalendarWindow(beginSecond: firstSecond(reaching: begin), endSecond: firstSecond(reaching: end))
    }

    /// The number of the span that contains a second.
    @inline(__always)
    func span(at second: Int) -> Int { lastSpan { $0.begin <= second } }

    /// The first second at which local time is at or after `local`.
    @inline(__always)
    private func firstSecond(reaching local: Int) -> Int {
        // Spans that begin after it was reached are out, so the last of the others reaches it.
        let number = lastSpan { $0.earliestNewLocal <= local }
        let second = local - Int(spans[number].offset)
        return number == 0 ? second : max(second, spans[number].begin)
    }

    /// The last span for which `isMet` holds: it holds for a first part of the spans, and for span 0 without asking.
    @inline(__always)
    private func lastSpan(where isMet: (borrowing ZoneRules.Span) -> Bool) -> Int {
        var (met, unmet) = (0, count)
        while unmet - met > 1 {
            let middle = (met + unmet) / 2
            if isMet(spans[middle]) { met = middle } else { unmet = middle }
        }
        return met
    }
}

extension ZoneRules.Span {
    /// The first local time that no span before this one has reached; not of span 0.
    @inline(__always)
    fileprivate var earliestNewLocal: Int { begin + Int(earlierOffset) }
}

extension CalendarPeriod {
    /// The window that contains an instant, in a zone with one offset for ever, in seconds.
    func window(containing time: EngineTime, offset: Int) -> CalendarWindow {
        let second = floorQuotient(Int(time.nanoseconds), 1_000_000_000)
        let (begin, end) = boundaries(around: second + offset)
        return CalendarWindow(beginSecond: begin - offset, endSecond: end - offset)
    }
}
