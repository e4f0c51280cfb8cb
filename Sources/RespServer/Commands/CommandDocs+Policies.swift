// What docs/commands.md has on policies and rules beyond their entries in the command table: what a change keeps, which
// rule wins, and which takes precedence where the rules file and commands differ.

extension CommandDocs {
    static let policies = """
        RL.POLICY SET changes what it names and keeps the rest of an existing policy. A new policy needs LIMIT and PER;
        the defaults of the rest are `ALGO gcra`, a BURST equal to LIMIT, and `MODE enforce`. RL.POLICY GET shows all of
        it.

        | named | effect on the rest |
        |---|---|
        | LIMIT | A BURST that was equal to the old LIMIT follows the new one; any other BURST is kept. `LIMIT 0` lets \
        nothing pass and has no BURST, so the next LIMIT starts with a BURST equal to it |
        | ALGO | BURST is kept between `gcra` and `token-bucket`; the other algorithms have none, and drop it. OFFSET \
        is dropped by all but `fixed-window`, ZONE and START by all but `calendar`; to and from `calendar` PER has to \
        be named, too. LIMIT, PER and MODE are kept; if the new algorithm does not allow them, \
        that is an error and nothing changes |
        | PER, with `calendar` | ZONE is kept, and START where the unit is the same |
        | any | MODE is kept: changing the LIMIT of a policy in shadow mode does not make it refuse |
        | BURST, OFFSET, ZONE or START, if the algorithm has none | an error, and nothing changes |

        With NX an existing policy is left as it is and the reply is nil, as with SET NX; OK means that it was made.
        Each change made by a command is one line of the log, with the client's address and name and the limit before
        and after.

        The period of `calendar` is a unit of the calendar: RL.POLICY GET has 0 as `per_ms`, and `per`, `zone` and
        `start` after the other fields.

        For policies of the rules file that commands change, see RL.RULE.


        """

    static let rules = """
        Of all rules that match, the one nearest to the top of this table wins. The order in which they were made does
        not matter.

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
        wins over `acme * search`. Among rules that name the client the action decides before the tenant:
        `* robot search` wins over `acme robot *`. Among the others the tenant decides first: `acme * *` wins over
        `* * search`.

        **The rules file and commands.** The file is read at the start, on SIGHUP and by RL.RULE RELOAD. Each time,
        the entries that have changed *in the file* since it was last read take effect. What commands have changed or
        removed is kept, across restarts, and even if the file has changed the same entry: **commands take precedence
        over the file**, until RL.RULE RELOAD FORCE. FORCE makes every entry of the file what the file specifies, and
        removes the entries dropped from the file since it was last read; entries that only commands made stay.

        | in force | in the file | result |
        |---|---|---|
        | the file's entry | changed or dropped | the file's version takes effect |
        | changed or removed by a command | different, changed or not | kept; reported in the log and the reply |
        | made by a command | the same | the entry belongs to the file again, and follows it |
        | none, and no command removed it | present | it takes effect |
        | a policy used by a command's rule | dropped | the policy is kept and reported; with FORCE an error |

        `source` shows which of the two an entry belongs to. To give one entry back to the file, set it to what the file
        has; to give all back, use FORCE. Every difference is one line of the log: at most 50 of those applied and 50 of
        those kept, then one line with the number of further ones. A file with a mistake is refused as a whole.

        RL.RULE RELOAD replies with these names and values, a map in RESP3. Later versions may add names.

        | name | value |
        |---|---|
        | policies, rules | number of entries in the file |
        | applied | number of entries made, changed or removed as the file specifies |
        | kept | number of entries that differ from the file because of commands |
        | applied_names, kept_names | the first 50 of each: `policy free`, `rule acme * search` |

        Removals are remembered by the node that ran the command, in the file `rules-overridden` of its data directory.
        After a failover, RL.RULE RELOAD on the new primary brings such entries back; remove them there again.

        With NX, RL.RULE SET leaves an existing rule as it is and replies nil.


        """
}
