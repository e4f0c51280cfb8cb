// What the reference says of all commands of a group that are also Redis's.

extension CommandManual {
    static let aboutKeys = """
        A key holds a limiter or a counter. A *limiter* ends when it is fully replenished, and a call for a missing key
        starts with a fresh one, so nothing is lost. A *counter* ends at its expiry, and without one it is kept until it
        is deleted.

        | created by | TYPE | OBJECT ENCODING |
        |---|---|---|
        | CL.THROTTLE, RL.TAKE with ALGO `gcra` or `token-bucket` | gcra | tat64 |
        | RL.TAKE with ALGO `fixed-window`, `sliding-window`, `sliding-log` or `calendar` | as ALGO | as ALGO |
        | SET, INCR and related commands | string | int |

        RL.CHECK builds the name of its key from tenant, client and action; it begins with a zero byte and `C`:
        [formats.md](formats.md#a-record). Each database has its own keys; their number is `databases` in the
        configuration, and SELECT chooses one.


        """

    static let aboutCounters = """
        A counter is a key with a 64-bit integer, as INCR creates it in Redis. Other values are refused, so locks,
        cached text and fractions need another store:
        [out of reach](libraries.md#what-is-out-of-reach-and-what-to-use-instead). Commands that read or count reply
        `WRONGTYPE` for a limiter's key; SET, SETEX, PSETEX and MSET replace it. A counter without an expiry is kept for
        ever: INFO counts these in [`limiter_persistent_keys`](memory.md#keys-without-a-deadline).


        """

    static let aboutScripts = """
        This server runs no Lua. It knows the scripts of widely used rate-limit libraries by the SHA-1 of their texts,
        and answers them with native code that has the same effect: [known scripts](libraries.md#known-scripts). Any
        other script is an error, which INFO counts in `unknown_commands_calls`. A script is one command: all of it
        happens at once.


        """
}
