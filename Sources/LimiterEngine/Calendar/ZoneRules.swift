// The offsets of one zone, from its first known one to the year 2262, and the windows that follow from them.
//
// A zone is a list of spans of constant offset from UTC. The recurring rule at the end of a zone file is expanded into
// spans when the file is read, so a lookup is a few binary searches and never allocates.
//
// A window begins at the first instant at which the local time is at or after its boundary. Local time may jump:
// - Forward over a boundary: the window begins at the jump. Forward over several, as in the zones that skipped a day:
//   their windows would be empty and do not exist; the one before ends, and the last of them begins, at the jump.
// - Back over a boundary, which then occurs twice: the window begins the first time, and stays when the clock shows the
//   earlier date again.
// Both follow from using the latest local time reached so far instead of the local time. It never decreases, so windows
// tile time, whatever a zone file contains.

/// The offsets of one zone. Immutable.
///
/// `@unchecked Sendable`: its memory is written only in `init`, and freed in `deinit`.
public final class ZoneRules: @unchecked Sendable {
    /// A span of constant offset. Seconds.
    struct Span: Equatable {
        /// Its first second, since the epoch.
        var begin: Int
        /// Local time is UTC plus this.
        var offset: Int32
        /// All earlier local times are below `begin` plus this.
        var earlierOffset: Int32
    }

    /// The data a lookup needs, without references, so that no reference count is touched.
    struct View {
        let spans: UnsafeMutablePointer<Span>
        /// 1 or more.
        let count: Int
    }

    let view: View

    /// The first and the last second since the epoch in the range of an `Int64` of nanoseconds.
    static let seconds = -9_223_372_037...9_223_372_036

    /// Rules with one permanent offset, in seconds, within 26 hours.
    public convenience init(offset: Int) { self.init(offset: offset, changes: []) }

    /// - Parameters:
    ///   - offset: The offset before the first change.
    ///   - changes: Changes of the offset, each later than the one before it, within `ZoneRules.seconds`.
    init(offset: Int, changes: [(begin: Int, offset: Int)]) {
        var spans = [Span(begin: Int.min, offset: Int32(offset), earlierOffset: 0)]
        // The latest local time before a change, minus one second.
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

    /// Whether the other rules are equal. O(spans).
    func isSame(as other: ZoneRules) -> Bool {
        guard view.count == other.view.count else { return false }
        return (0..<view.count).allSatisfy { view.spans[$0] == other.view.spans[$0] }
    }

    /// Size of its spans in bytes.
    public var byteCount: Int { view.count * MemoryLayout<Span>.stride }

    /// The window of a period that contains an instant: `begin <= time < end`. The single nanosecond after
    /// `EngineTime.latest` belongs to the same window. O(log spans), without allocation.
    public func window(containing time: EngineTime, _ period: CalendarPeriod) -> CalendarWindow {
        view.window(containing: time, period)
    }

    /// How far local time is ahead of UTC at an instant, in seconds.
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
        // Spans that begin after it was reached are excluded, so the last of the others reaches it.
        let number = lastSpan { $0.earliestNewLocal <= local }
        let second = local - Int(spans[number].offset)
        return number == 0 ? second : max(second, spans[number].begin)
    }

    /// The last span for which `isMet` holds: it must hold for a prefix of the spans, and is assumed for span 0.
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
    /// The first local time not reached by an earlier span; not defined for span 0.
    @inline(__always)
    fileprivate var earliestNewLocal: Int { begin + Int(earlierOffset) }
}

extension CalendarPeriod {
    /// The window that contains an instant, in a zone with one permanent offset, in seconds.
    func window(containing time: EngineTime, offset: Int) -> CalendarWindow {
        let second = floorQuotient(Int(time.nanoseconds), 1_000_000_000)
        let (begin, end) = boundaries(around: second + offset)
        return CalendarWindow(beginSecond: begin - offset, endSecond: end - offset)
    }
}
