// The token bucket, which is equivalent to GCRA: a bucket that holds `capacity` tokens and gains one every emission
// interval E contains, at any time, as many tokens as its debt of time leaves of the tolerance:
//
//     tokens = (tolerance − max(0, TAT − now)) / E          full ⇔ TAT ≤ now;   taking c tokens adds c·E to the TAT
//
// The bucket refills continuously, so it may contain a fraction of a token; only whole ones can be taken. State and
// arithmetic are GCRA's: a bucket and a GCRA limit with the same numbers on the same key give the same answers.

/// A limit in the terms of a token bucket.
public enum TokenBucket {
    // Its row in the table of algorithms; the state is GCRA's.
    static var name: StaticString { "token-bucket" }
    static var summary: StaticString { "equivalent to gcra: a bucket of BURST tokens" }

    /// A bucket of `capacity` tokens, refilled with `tokens` every `period` nanoseconds.
    ///
    /// - Throws: `LimitError`, which calls the tokens `limit` and the capacity `burst`.
    public static func limit(capacity: Int64, refill tokens: Int64, per period: Int64) throws(LimitError) -> Limit {
        try Limit(.tokenBucket, units: tokens, period: period, burst: capacity)
    }

    /// Contents of the limit's bucket in nanoseconds, 0 … tolerance; a token is worth one emission interval.
    public static func content(_ limit: Limit, arrivalTime: Int64, now: Int64) -> Int64 {
        let debt = max(arrivalTime, now) &- now
        return max(0, limit.tolerance - debt)
    }
}
