// Moves states back in time: what a key has spent counts for as long from the new now as it did from the old one. For
// files written under a wrong clock (ClockRebase).
//
// Nothing is forgotten and nothing is replenished sooner. A GCRA debt, a sliding log and a token's answer mean the same
// as before. So does a sliding window, which keeps its own windows as long as it is in use. A fixed window keeps its
// units until the same time from now; as after a change of its period, the next window ends at the next clock boundary,
// so it may be short, once. Anything that would begin before 1970 begins in 1970, which keeps units for longer.
//
// States are modified in place: their length does not change, so nothing has to be re-encoded.

extension StateView {
    /// Moves a valid state back by `duration` nanoseconds, 0 or more; it stays valid. O(bytes).
    public static func moveBack(_ kind: StateKind, _ value: UnsafeMutableRawBufferPointer, by duration: Int64) {
        kind.dispatch(MovingBack(state: value.baseAddress!, duration: duration))
    }

    /// A deadline moved back by `duration` nanoseconds. The last instant, which means any later one, is kept.
    public static func moveBack(deadline: Int64, by duration: Int64) -> Int64 {
        deadline >= EngineTime.latest.nanoseconds ? deadline : movedBack(deadline, by: duration)
    }

    /// `instant` moved back, but not before 1970: for a state that ends there it makes no difference.
    static func movedBack(_ instant: Int64, by duration: Int64) -> Int64 { instant > duration ? instant - duration : 0 }
}

private struct MovingBack: StateVisitor {
    let state: UnsafeMutableRawPointer
    let duration: Int64
    func visit<Witness: StateWitness>(_ witness: Witness.Type) { Witness.moveBack(state, by: duration) }
}

extension PolicyRecord {
    /// Moves the superseded limits in a valid policy record back by `duration` nanoseconds: they bind for as long as
    /// before. `value` is the record's value; other kinds of record contain no times.
    public static func moveBack(_ kind: Kind, _ value: UnsafeMutableRawBufferPointer, by duration: Int64) {
        guard kind == .policy else { return }
        for end in earlierEnds(UnsafeRawBufferPointer(value)) {
            let instant = Int64(littleEndian: value.loadUnaligned(fromByteOffset: end, as: Int64.self))
            let moved = instant == Int64.max ? instant : StateView.movedBack(instant, by: duration)
            value.storeBytes(of: moved.littleEndian, toByteOffset: end, as: Int64.self)
        }
    }
}
