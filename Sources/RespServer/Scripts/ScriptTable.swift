// The scripts that this server knows: one row each, which names the text by its SHA-1. There is no Lua here, neither an
// interpreter nor a text: a script whose SHA-1 is in the table is answered by native code with the same effect, and any
// other is refused. A library whose next release changes its text therefore gets an error, never the old meaning.
//
// A row also records since which release the library has had this text, and when that was last looked at.

/// A script known by the SHA-1 of its text.
struct KnownScript: Sendable {
    /// What running a script needs besides the stripes of its keys.
    enum Needs: Sendable {
        case nothing
        /// It may access any key: its only argument is a pattern.
        case everyKey
        /// It may move the state of its second key to its first, which the journal must record in that order.
        case journal
    }

    /// What a script does, on a request with the right number of keys and arguments.
    typealias Body = @Sendable (ScriptRun) throws(ScriptError) -> Void

    /// 40 lower-case hexadecimal digits.
    let sha1: String
    /// The library, and the script's purpose.
    let name: String
    /// The first and the last release that has been found to have this text.
    let releases: String
    /// Month in which that was last looked at.
    let checked: String
    let keys: ClosedRange<Int>
    let arguments: ClosedRange<Int>
    /// Whether it changes nothing, whatever the arguments.
    var isReadOnly = false
    var needs = Needs.nothing
    /// How it is decided in the batch.
    var batched = BatchedScript.none
    /// Runs it otherwise. Nil for a script that is always decided in the batch.
    var body: Body?
}

/// All known scripts.
enum ScriptTable {
    /// The index of a row is the script's number.
    static let scripts: [KnownScript] = windows + slidingWindows + plain + rates

    static let lookup = ScriptLookup(scripts)

    private static let checked = "2026-11"
    /// A number of keys or arguments without an upper bound of its own.
    private static let any = 0...Int.max

    // MARK: Windows that begin with the first hit

    private static let windows: [KnownScript] = [
        KnownScript(
            sha1: "a1de965f42e177aa339706bd580f049065eca79a", name: "rate-limiter-flexible (npm)",
            releases: "2.0.0 … 11.1.0", checked: checked, keys: 1...1, arguments: 2...4,
            batched: .rateLimiterFlexible, body: Scripts.rateLimiterFlexible),
        KnownScript(
            sha1: "628bd136a573a06b346879695681af12ccef300f", name: "limits (PyPI), fixed window",
            releases: "2.3.0 … 5.8.0", checked: checked, keys: 1...1, arguments: 2...2, batched: .expiringSum,
            body: Scripts.limitsFixedWindow),
        KnownScript(
            sha1: "d406c4243550d71abd3377b0046fcc528a2ce18f", name: "python-redis-rate-limit (PyPI)",
            releases: "0.0.10", checked: checked, keys: 1...1, arguments: 2...2, batched: .expiringSum,
            body: Scripts.redisRateLimit),
        KnownScript(
            sha1: "f74233f556d3f99c50b61169cf8aa8d5deb63fb2", name: "ulule/limiter (Go)",
            releases: "3.7.0 … 3.11.2", checked: checked, keys: 1...1, arguments: 2...2, batched: .ulule,
            body: Scripts.ulule),
        KnownScript(
            sha1: "566f5c6a17e5fddb9a10bf389f754edd0d899c61", name: "ulule/limiter (Go), peek",
            releases: "3.7.0 … 3.11.2", checked: checked, keys: 1...1, arguments: 0...0, isReadOnly: true,
            body: Scripts.ululePeek),
        KnownScript(
            sha1: "0f8a745c1b5efe281bd1299ea0d1b2994c6ae601", name: "cashews (PyPI), increment", releases: "7.6.0",
            checked: checked, keys: 1...1, arguments: 2...2, batched: .cashews, body: Scripts.cashews),
        KnownScript(
            sha1: "81dbecea94d2d10514719b20ed51faf711529d9d", name: "rate-limit-redis (npm), increment",
            releases: "4.2.3 … 5.0.0", checked: checked, keys: 1...1, arguments: 2...2, batched: .rateLimitRedis,
            body: Scripts.rateLimitRedis),
        KnownScript(
            sha1: "6aeb97ed6086dcdeafdc6fda3999a0d0e38ec96a", name: "rate-limit-redis (npm), get",
            releases: "4.2.3 … 5.0.0", checked: checked, keys: 1...1, arguments: 0...0, isReadOnly: true,
            body: Scripts.rateLimitRedisGet),
        KnownScript(
            sha1: "a3f9e982197e9e887f6b5dcb7ec273863bb83aad", name: "fastapi-limiter (PyPI)", releases: "0.1.6",
            checked: checked, keys: 1...1, arguments: 2...2, body: Scripts.fastapiLimiter),
        KnownScript(
            sha1: "283a893bdb53a688600eff30001e6fb4e4ebd4f5", name: "asgi-ratelimit (PyPI)", releases: "0.10.0",
            checked: checked, keys: any, arguments: 1...1, body: Scripts.asgiRateLimit),
    ]

    // MARK: Sliding windows

    private static let slidingWindows: [KnownScript] = [
        KnownScript(
            sha1: "e8ac2a60cb040b0dbb56815a1e9c6fd032ce62e7", name: "limits (PyPI), sliding window counter",
            releases: "4.1 … 5.8.0", checked: checked, keys: 2...2, arguments: 3...3, needs: .journal,
            body: Scripts.limitsSlidingWindow),
        KnownScript(
            sha1: "e7a0a27d4101baabb124af209bb0245197a359a1", name: "limits (PyPI), sliding window counter, look",
            releases: "4.1 … 5.8.0", checked: checked, keys: 2...2, arguments: 1...1, needs: .journal,
            body: Scripts.limitsSlidingWindowLook),
    ]

    // MARK: Single commands

    private static let plain: [KnownScript] = [
        KnownScript(
            sha1: "f2994557f1daca13bfef97c2a31ca4b174e031ca", name: "limits (PyPI), reset", releases: "… 5.8.0",
            checked: checked, keys: 1...1, arguments: 0...0, needs: .everyKey, body: Scripts.limitsReset),
        KnownScript(
            sha1: "a08c9c69b7c07ae2485190873b90d128a23e502d", name: "Laravel, Cache::add", releases: "8.83.26",
            checked: checked, keys: 1...1, arguments: 2...2, body: Scripts.laravelAdd),
        KnownScript(
            sha1: "f4a7da3e5d8ea3b46642af08427151cae0190400", name: "django-redis (PyPI), incr", releases: "… 7.0.0",
            checked: checked, keys: 1...1, arguments: 1...1, body: Scripts.djangoIncrement),
        KnownScript(
            sha1: "4d15273b16b10c15e1d9202cbe93c959ab7d250b", name: "django-redis (PyPI), incr without a check",
            releases: "7.0.0", checked: checked, keys: 1...1, arguments: 1...1,
            body: Scripts.djangoIncrementUnchecked),
        KnownScript(
            sha1: "ebd682e30de074a6919bde872b507734c7c3ebe5", name: "throttled/throttled (Go)",
            releases: "2.1.0 … 2.13.0", checked: checked, keys: 1...1, arguments: 3...3,
            body: Scripts.throttledCompareAndSwap),
    ]

    // MARK: GCRA

    private static let rates: [KnownScript] = [
        KnownScript(
            sha1: "6451cdc7599bd26c524ecfadb8e3daa985d63baf", name: "throttled-py (PyPI), gcra", releases: "3.5.0",
            checked: checked, keys: 1...1, arguments: 3...3, batched: .throttledPy),
        KnownScript(
            sha1: "90b6d68823beeb34f07442b055f7712786bb4247", name: "throttled-py (PyPI), gcra, peek",
            releases: "3.5.0", checked: checked, keys: 1...1, arguments: 2...2, isReadOnly: true,
            body: Scripts.throttledPyPeek),
        KnownScript(
            sha1: "f52a5b566060d79fd321d695df55bc918339c4aa", name: "redis_rate (Go), AllowN",
            releases: "9.1.1 … 10.0.1", checked: checked, keys: 1...1, arguments: 4...4, batched: .redisRate),
        KnownScript(
            sha1: "054143318f521948424aa25df61d7f7ba835a9d7", name: "redis_rate (Go), AllowAtMost",
            releases: "9.1.1 … 10.0.1", checked: checked, keys: 1...1, arguments: 4...4,
            body: Scripts.redisRateAtMost),
    ]
}
