// States moved back in time: what a key has spent counts for as long from the new now as it did from the old one. For
// files that were written by a clock which was wrong (ClockRebase).
//
// Nothing is forgotten and nothing comes back sooner. A GCRA debt, a sliding log and an ID's answer mean the same as
// before. So does a sliding window, which keeps its own windows as long as it is in use. A fixed window keeps its
// units until the same instant from now; as after a change of its period, the window that follows ends at the next
// border of the clock, so it may be a short one, once. What would begin before 1970 begins in 1970: that keeps units
// for longer.
//
// Moved in place: bytes keep their length, so that nothing has to be encoded again.

extension StateView {
    /// Moves a valid state back by `duration` nanoseconds, 0 or more; it stays valid. O(bytes).
    public static func moveBack(_ kind: StateKind, _ value: UnsafeMutableRawBufferPointer, by duration: Int64) {
        kind.dispatch(MovingBack(state: value.baseAddress!, duration: duration))
    }

    /// A deadline moved back by `duration` nanoseconds. The end of time, which means any later instant, is kept.
    public static func moveBack(deadline: Int64, by duration: Int64) -> Int64 {
        deadline >= EngineTime.latest.nanoseconds ? deadline : movedBack(deadline, by: duration)
    }

    /// `instant` moved back, not beyond 1970: for what ends there it makes no difference.
    static func movedBack(_ instant: Int64, by duration: Int64) -> Int64 { instant > duration ? instant - duration : 0 }
}

private struct MovingBack: StateVisitor {
    let state: UnsafeMutableRawPointer
    let duration: Int64
    func visit<Witness: StateWitness>(_ witness: Witness.Type) { Witness.moveBack(state, by: duration) }
}

extension PolicyRecord {
    /// Moves the limits that a valid policy's record says it had before back by `duration` nanoseconds: they bind for
    /// as long as they did. `value` is the record's; that of any other kind of record has no times.
    public static func moveBack(_ kind: Kind, _ value: UnsafeMutableRawBufferPointer, by duration: Int64) {
        guard kind == .policy else { return }
        for end in earlierEnds(UnsafeRawBufferPointer(value)) {
            let instant = Int64(littleEndian: value.loadUnaligned(fromByteOffset: end, as: Int64.self))
            let moved = instant == Int64.max ? instant : StateView.movedBack(instant, by: duration)
            value.storeBytes(of: moved.littleEndian, toByteOffset: end, as: Int64.self)
        }
    }
}
