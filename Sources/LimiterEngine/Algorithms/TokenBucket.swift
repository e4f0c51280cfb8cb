// The token bucket, which is GCRA in other words: a bucket that holds `capacity` tokens and gains one every emission
// interval E has, at any time, as many tokens as its debt of time leaves of the tolerance:
//
//     tokens = (tolerance − max(0, TAT − now)) / E          full ⇔ TAT ≤ now;   taking c tokens adds c·E to the TAT
//
// The bucket refills continuously, so it may hold a fraction of a token; whole ones can be taken. One state, one
// arithmetic: a bucket and a GCRA limit of the same numbers on the same key answer alike.

/// The token bucket's words for a limit.
public enum TokenBucket {
    // Its row in the table of algorithms; the state is GCRA's.
    static var name: StaticString { "token-bucket" }
    static var summary: StaticString { "gcra in other words: a bucket of BURST tokens" }

    /// A bucket of `capacity` tokens into which `tokens` flow every `period` nanoseconds.
    ///
    /// - Throws: `LimitError`; the tokens are its `limit`, the capacity its `burst`.
    public static func limit(capacity: Int64, refill tokens: Int64, per period: Int64) throws(LimitError) -> Limit {
        try Limit(.tokenBucket, units: tokens, period: period, burst: capacity)
    }

    /// Nanoseconds' worth of tokens in the bucket of the limit, 0 … tolerance; a token is worth an emission interval.
    public static func content(_ limit: Limit, arrivalTime: Int64, now: Int64) -> Int64 {
        let debt = max(arrivalTime, now) &- now
        return max(0, limit.tolerance - debt)
    }
}
