// The sections of the reference that are not about one command: how to read it, what any command may reply, and what
// several of the limiter's commands share.

extension CommandManual {
    static let limiterHead = """
        # Commands

        <!-- Generated from the command table: escapement --print-command-docs > docs/commands.md -->

        The limiter's commands. Those that Escapement has in common with Redis are in
        [redis-commands.md](redis-commands.md). Which algorithm to choose: [choosing.md](choosing.md). Code for
        common tasks: [recipes.md](recipes.md).


        """

    static let redisHead = """
        # Commands that are also in Redis

        <!-- Generated from the command table: escapement --print-redis-command-docs > docs/redis-commands.md -->

        These commands reply as Redis 7.0 does, except where their entry names a difference: keys hold limiters and
        counters (64-bit integers) instead of Redis's data types. The limiter's own commands, how to read an entry, and
        the errors that any command may return, are in [commands.md](commands.md).


        """

    static let conventions = """
        ## How to read an entry

        In a syntax line `<x>` is a value, `[x]` is optional, `(x | y)` is one of several, and `x [x ...]` may be
        repeated. Names of commands and options are case-insensitive. Options may be given in any order, each at most
        once, unless an entry says otherwise.

        A connection speaks RESP2 until `HELLO 3` switches it to RESP3. Replies of these types look different then; a
        client library hides most of it:

        | type | RESP2 | RESP3 |
        |---|---|---|
        | nil | bulk string or array of length -1 | null |
        | array of names and values, map | array: name, value, name, value ... | map |
        | array of the values, map | array: the values only, in a fixed order | map from names to values |
        | array, set | array | set, inside of some replies |
        | array, push | array | push: may arrive between other replies |
        | bulk string, verbatim string | bulk string | verbatim string, `txt` |

        Later versions may add names to maps, and elements at the end of arrays. *Flags* are those of `COMMAND INFO`,
        *categories* those of `COMMAND LIST FILTERBY ACLCAT`. In the tables of errors `...` stands for any text, and the
        requests start with no keys.

        ## Errors that any command may return

        Clients should look only at the first word. A request that gets an error has changed nothing; only a
        [script](redis-commands.md#evalsha) that fails keeps what it has done until then.

        | error | which commands | when |
        |---|---|---|
        | `ERR unknown command '...'`, `ERR unknown subcommand '...'` | | not a \
        command of this server: [unsupported calls](operating.md#unsupported-calls) |
        | `ERR wrong number of arguments for '...' command` | all | |
        | `ERR syntax error` | all with options | an unknown option, or one without its value |
        | `NOAUTH Authentication required.` | all but AUTH, HELLO, QUIT and RESET | a password is set, and \
        the client has not sent it |
        | `LOADING ...` | without flag `loading` | the state is being restored, or a replica is receiving one |
        | `MASTERDOWN ...` | without flag `stale` | a replica has not received its first state, or has no link to its \
        primary while `replica-serve-stale-data` is `no` |
        | `READONLY ...` | flag `write` | the node is a replica |
        | `NOREPLICAS ...` | flag `write` | fewer replicas keep up than `min-replicas-to-write` demands |
        | `MISCONF ...` | flag `write`, and PING | the disk fails, and `fail-mode` is `closed` |
        | `OOM ...` | flag `denyoom` | the call needs memory, and `maxmemory` is reached. Calls for existing keys \
        still work |
        | `ERR ... is not allowed in transactions` | flag `no_multi` | between MULTI and EXEC |
        | `ERR Can't execute '...': only ... are allowed in this context` | all but those of publish/subscribe, PING, \
        QUIT and RESET | a RESP2 connection has subscriptions |
        | `EXECABORT ...` | EXEC | a command was refused when it was queued |
        | `ERR Protocol error: ...` | | malformed bytes; the connection closes after this reply |
        | `ERR max number of clients reached`, `DENIED ...` | | at once after connecting; the connection closes |


        """

    static let limits =
        """
        ## \(limitSection)

        RL.TAKE, RL.PEEK, RL.REFUND and RL.TAKEALL take a limit, either in numbers or by the name of a
        [policy](#rlpolicy):

        ```
        \(HelpText.syntax(of: CommandTable.numbers))
        POLICY <policy>
        ```

        \(CommandTable.numbers.flatMap { argument($0, indent: "") }.joined(separator: "\n"))

        With `gcra` and `token-bucket`, a fresh key lets a **burst of LIMIT units pass at once, on top of LIMIT a
        period**, unless BURST says otherwise: `LIMIT 100 PER 1m` lets at most 199 units pass in any minute, and with
        `BURST 10` 109. The other algorithms have no burst; [choosing.md](choosing.md) compares them, and says what
        happens to spent units when a limit changes. `gcra` shares its keys with CL.THROTTLE: `LIMIT n PER p BURST b` is
        a limiter with a burst of `b` units that regains `n` every `p`, so `CL.THROTTLE key 15 30 60` and
        `RL.TAKE key LIMIT 30 PER 60 BURST 16` decide alike.

        \(errors(CommandPages.limitErrors))
        ## The reply of a limit

        An array of these numbers in RESP2, and a map from these names in RESP3, in this order:

        | # | name | meaning |
        |---|---|---|
        | 1 | allowed | 1: granted in full or, with ATMOST, in part. 0: refused; nothing was counted. |
        | 2 | granted | Number of units granted, or returned by RL.REFUND. |
        | 3 | limit | Number of units that may pass at once when none are spent. |
        | 4 | remaining | Number of units left. |
        | 5 | retry_after_ms | Milliseconds until the same call would be granted; -1 if it was, or never can be. |
        | 6 | reset_after_ms | Milliseconds until the limit is fully replenished if nothing more is counted. |
        | 7 | note | Only if present: `shadow`, a policy in [shadow mode](#modes-of-a-policy) would have refused. |

        Milliseconds are rounded up from nanoseconds, so a client that waits that long is never refused because of
        rounding. A refusal is an ordinary reply, not an error, and changes nothing: retrying does not extend the wait.


        """
}
