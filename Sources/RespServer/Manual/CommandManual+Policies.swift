// The text of docs/commands.md on policies and rules beyond their entries in the command table: modes, what a change
// keeps, which rule wins, and which takes precedence when the rules file and commands differ.

extension CommandManual {
    static let introductions: [String: String] = [
        "Policies and rules": policiesAndRules, "Keys": aboutKeys, "Counters": aboutCounters, "Scripts": aboutScripts,
    ].merging(serverIntroductions) { first, _ in first }

    private static let policiesAndRules = """
        A *policy* is a limit with a name. RL.TAKE and related commands use it with `POLICY name`; *rules* assign it to
        tenants, clients and actions, for RL.CHECK. Policies and rules are part of the state: they are logged, are in
        snapshots, and are replicated. They come from the file that `rules-file` names, from these commands, and over
        HTTP ([http.md](http.md)).

        ### Modes of a policy

        | `MODE` | decides and counts | refuses | use |
        |---|---|---|---|
        | `enforce` (default) | yes | yes | |
        | `shadow` | yes | never: it allows the call, and adds the note `shadow` if it would have refused it | \
        trying a limit on real traffic; INFO counts `limiter_shadowed` |
        | `off` | no, and keeps no state | never | bypass for administrators and probes |

        A policy with `LIMIT 0` refuses everything. Use it to block a client.

        ### Precedence of rules

        Of all matching rules, the one nearest to the top of this table wins. The order of creation does not matter.

        | | tenant | client | action | RL.RULE RESOLVE shows |
        |---|---|---|---|---|
        | 1 | named | named | named | client+action |
        | 2 | `*` | named | named | client+action |
        | 3 | named | named | `*` | client |
        | 4 | `*` | named | `*` | client |
        | 5 | named | `*` | named | tenant+action |
        | 6 | named | `*` | `*` | tenant |
        | 7 | `*` | `*` | named | global action |
        | 8 | `*` | `*` | `*` | global default |

        So a rule that names the client wins over every rule that does not: for robot's searches at acme, `* robot *`
        wins over `acme * search`. Among rules that name the client, the action decides before the tenant:
        `* robot search` wins over `acme robot *`. Among the others, the tenant decides first: `acme * *` wins over
        `* * search`.

        ### The rules file and commands

        The file is read at startup, on SIGHUP and by RL.RULE RELOAD. Each time, the entries that have changed *in the
        file* since it was last read take effect. Changes and removals made by commands are kept, across restarts, and
        even if the same entry has changed in the file: **commands take precedence over the file**, until RL.RULE RELOAD
        FORCE. FORCE sets every entry of the file to what the file specifies, and removes the entries dropped from the
        file since it was last read; entries that only commands created stay.

        | in force | in the file | result |
        |---|---|---|
        | the file's entry | changed or dropped | the file's version takes effect |
        | changed or removed by a command | different, changed or not | kept; reported in the log and the reply |
        | created by a command | the same | the entry belongs to the file again, and follows it |
        | absent, and not removed by a command | present | it takes effect |
        | a policy used by a command's rule | dropped | the policy is kept and reported; with FORCE an error |

        `source` shows which of the two an entry belongs to. To return one entry to the file, set it to the value in the
        file; to return all, use FORCE. Every difference is one log line: at most 50 of those applied and 50 of those
        kept, then one line with the number of the others. A file with an error is rejected as a whole.

        Removals are recorded only by the node that ran the command, in the file `rules-overridden` of its data
        directory. After a failover, RL.RULE RELOAD on the new primary restores such entries; remove them there again.


        """

    /// Notes of RL.POLICY SET.
    static let policyChanges = """
        RL.POLICY SET changes the given fields of an existing policy and keeps the others. A new policy needs LIMIT and
        PER; the other defaults are `ALGO gcra`, a BURST equal to LIMIT, and `MODE enforce`. RL.POLICY GET shows all
        fields.

        | given | effect on the other fields |
        |---|---|
        | LIMIT | A BURST equal to the old LIMIT changes with it; any other BURST is kept. `LIMIT 0` lets \
        nothing pass and has no BURST, so the next LIMIT sets BURST to the same value |
        | ALGO | BURST is kept between `gcra` and `token-bucket`; the other algorithms have none, and drop it. OFFSET \
        is dropped by all but `fixed-window`, ZONE and START by all but `calendar`; a change to or from `calendar` \
        also needs PER. LIMIT, PER and MODE are kept; if the new algorithm does not allow them, \
        that is an error and nothing changes |
        | PER, with `calendar` | ZONE is kept, and START if the unit is the same |
        | any | MODE is kept: changing the LIMIT of a policy in shadow mode does not make it refuse |
        | BURST, OFFSET, ZONE or START, if the algorithm has none | an error, and nothing changes |

        With NX an existing policy is left unchanged and the reply is nil, as with SET NX; OK means that the policy was
        created. Each change made by a command is one log line with the client's address and name and the limit before
        and after.
        """

    /// Notes of RL.POLICY GET.
    static let policyFields = """
        The period of `calendar` is a calendar unit: `per_ms` is 0, and the fields `per`, `zone` and `start` follow the
        others.
        """

    /// Notes of RL.RULE RELOAD.
    static let reload = """
        | name | value |
        |---|---|
        | policies, rules | number of entries in the file |
        | applied | number of entries created, changed or removed as the file specifies |
        | kept | number of entries that differ from the file because of commands |
        | applied_names, kept_names | the first 50 of each: `policy free`, `rule acme * search` |
        """
}
