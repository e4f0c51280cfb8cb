// The entry type of the command table, the single definition of a command: dispatch, arity errors, key extraction,
// COMMAND, COMMAND DOCS, HELP and the generated reference (Manual/) all read it.

import RESP

/// What a command does to the server and when it may run.
struct CommandFlags: OptionSet, Sendable {
    let rawValue: UInt32

    /// May change keys.
    static let write = CommandFlags(rawValue: 1 << 0)
    /// Reads keys.
    static let readonly = CommandFlags(rawValue: 1 << 1)
    /// May allocate memory: refused when `maxmemory` is exceeded.
    static let denyOOM = CommandFlags(rawValue: 1 << 2)
    /// For operators; not shown to MONITOR.
    static let admin = CommandFlags(rawValue: 1 << 3)
    /// Constant or logarithmic time.
    static let fast = CommandFlags(rawValue: 1 << 4)
    /// Allowed before authentication.
    static let noAuth = CommandFlags(rawValue: 1 << 5)
    /// Allowed while state is being loaded.
    static let loading = CommandFlags(rawValue: 1 << 6)
    /// Allowed on a replica that has lost its primary.
    static let stale = CommandFlags(rawValue: 1 << 7)
    /// Publish/subscribe.
    static let pubsub = CommandFlags(rawValue: 1 << 8)
    /// Not allowed between MULTI and EXEC.
    static let noMulti = CommandFlags(rawValue: 1 << 9)
    /// The arguments are secret: never shown in MONITOR and the slow log.
    static let redacted = CommandFlags(rawValue: 1 << 10)
    /// Not reported to MONITOR.
    static let skipMonitor = CommandFlags(rawValue: 1 << 11)
    /// May access any key: EXEC locks every stripe for it.
    static let allKeys = CommandFlags(rawValue: 1 << 12)
    /// Accesses other loops' connections or private state, or changes what each loop reads at the beginning of a turn:
    /// runs while every loop is stopped between turns.
    static let stopsAllLoops = CommandFlags(rawValue: 1 << 13)
    /// Allowed in RESP2's subscribed mode.
    static let whileSubscribed = CommandFlags(rawValue: 1 << 14)
    /// Controls the transaction itself (EXEC, DISCARD, MULTI, WATCH, QUIT, RESET): not queued inside MULTI.
    static let transactionControl = CommandFlags(rawValue: 1 << 15)
    /// Not held back by CLIENT PAUSE.
    static let ignoresPause = CommandFlags(rawValue: 1 << 16)
    /// Never in the slow log: the commands that it runs are logged on their own.
    static let skipSlowLog = CommandFlags(rawValue: 1 << 17)
    /// Adds a control record to the journal: runs while collection is locked out.
    static let records = CommandFlags(rawValue: 1 << 18)
    /// Allowed on a replica with incomplete state or no link, as with `stale`, but not reported as stale because Redis
    /// does not report it so. The handler itself refuses what it cannot do.
    static let ownRefusal = CommandFlags(rawValue: 1 << 19)
    /// Held back by CLIENT PAUSE WRITE although it changes no key.
    static let mayReplicate = CommandFlags(rawValue: 1 << 20)
    /// Refused like a write while the disk is failing, so that health checks notice.
    static let reportsDisk = CommandFlags(rawValue: 1 << 21)
    /// Its options, after two keys, may name another database: with any, EXEC locks every stripe for it.
    static let namesDatabase = CommandFlags(rawValue: 1 << 23)
    /// Runs a script, which determines whether it writes and what it locks. Shown with Redis's flags for such commands.
    static let script = CommandFlags(rawValue: 1 << 22)
}

/// Where a command's keys are among its arguments: positions `first`, `first + step`, … up to `last`; negative `last`
/// counts from the end (-1 is the last argument). `first` 0 means no keys.
struct KeyPositions: Sendable {
    var first: Int
    var last: Int
    var step: Int

    static let none = KeyPositions(first: 0, last: 0, step: 0)
    /// A single key after the name.
    static let one = KeyPositions(first: 1, last: 1, step: 1)
    /// Every argument is a key.
    static let all = KeyPositions(first: 1, last: -1, step: 1)
    /// Keys, each followed by a value.
    static let everySecond = KeyPositions(first: 1, last: -1, step: 2)
    /// Two keys after the name.
    static let two = KeyPositions(first: 1, last: 2, step: 1)
    /// A single key after the subcommand.
    static let afterSubcommand = KeyPositions(first: 2, last: 2, step: 1)
}

/// One argument in the format of COMMAND DOCS.
struct ArgumentSpec: Sendable {
    /// The types redis-cli understands.
    enum Kind: String, Sendable {
        case string, integer, double, key, pattern, unixTime = "unix-time", pureToken = "pure-token", oneof, block
    }

    var name: String
    var kind: Kind = .string
    var token: String?
    var summary: String?
    var optional = false
    var multiple = false
    var multipleToken = false
    var arguments: [ArgumentSpec] = []
    /// The section of the reference that explains the argument once for several commands; nil: the command's own.
    var section: String?
}

/// One entry of the command table.
struct CommandSpec: Sendable {
    typealias Handler = @Sendable (CommandContext) -> Void
    typealias KeyFinder = @Sendable (_ arguments: ArgumentList, _ start: Int) -> [Int]

    /// In lower case; for a subcommand only its own part (`list` of `client|list`).
    var name: String
    /// Number of arguments including the name (and the container's name); negative: at least that many.
    var arity: Int
    var flags: CommandFlags = []
    var keys: KeyPositions = .none
    /// ACL categories without the `@`, in addition to those implied by the flags.
    var categories: [String] = []
    /// COMMAND DOCS group: generic, string, connection, server, pubsub, transactions, scripting, limiter, cluster.
    var group: String
    /// The version of this program that introduced the command.
    var since = "0.1.0"
    var complexity = "O(1)"
    var summary: String
    var arguments: [ArgumentSpec] = []
    /// Access flags of the key as reported by COMMAND. Nil: derived from the flags.
    var keyAccess: [String]?
    /// Access flags of the second of two keys, if they differ from those of the first.
    var secondKeyAccess: [String]?
    /// Hints for clients of several servers: how to distribute the request and merge the replies.
    var tips: [String] = []
    var subcommands: [CommandSpec] = []
    /// Finds the keys if `KeyPositions` cannot describe them: given all arguments and the position of the name, returns
    /// the positions of the keys.
    var keyFinder: KeyFinder?
    /// Finds the secret arguments if not all are (`redacted`), in the same way.
    var secretFinder: KeyFinder?
    /// For calls of limits and counters, which run in batches: how the request becomes a call.
    var batched: BatchedCommand?
    /// Runs a command that is not batched. Nil for a container whose bare name is not a command.
    var handler: Handler?

    /// Whether the bare name is a command.
    var isRunnable: Bool { handler != nil || batched != nil }

    /// All ACL categories, in the order in which Redis lists its own.
    static let categoryNames = [
        "keyspace", "read", "write", "string", "limiter", "pubsub", "admin", "fast", "slow", "dangerous", "connection",
        "transaction", "scripting",
    ]

    /// Categories as COMMAND INFO shows them: those implied by the flags and the command's own.
    var allCategories: [String] {
        var all = Set(categories)
        if flags.contains(.write) { all.insert("write") }
        if flags.contains(.readonly), !flags.contains(.script) { all.insert("read") }
        if flags.contains(.admin) { all.formUnion(["admin", "dangerous"]) }
        if flags.contains(.pubsub) { all.insert("pubsub") }
        all.insert(flags.contains(.fast) ? "fast" : "slow")
        return Self.categoryNames.filter(all.contains)
    }

    /// The flags of the key specification as COMMAND INFO shows them.
    var keyFlags: [String] {
        (keyAccess ?? (flags.contains(.write) ? ["RW", "update"] : ["RO"])) + (keyFinder == nil ? [] : ["incomplete"])
    }

    /// Positions of the keys in a request whose name is at `start`.
    func keyPositions(_ arguments: ArgumentList, from start: Int = 0) -> [Int] {
        keyFinder?(arguments, start)
            ?? keys.positions(argumentCount: arguments.count - start).map { $0 + start }
    }

    /// The flags by their names in COMMAND INFO.
    var flagNames: [String] {
        let named: [(CommandFlags, String)] = [
            (.write, "write"), (.readonly, "readonly"), (.denyOOM, "denyoom"), (.admin, "admin"), (.pubsub, "pubsub"),
            (.loading, "loading"), (.stale, "stale"), (.skipMonitor, "skip_monitor"), (.skipSlowLog, "skip_slowlog"),
            (.fast, "fast"), (.noAuth, "no_auth"), (.noMulti, "no_multi"),
        ]
        let names = named.filter { flags.contains($0.0) }.map(\.1)
        return flags.contains(.script)
            ? names + ["stale", "skip_monitor", "no_mandatory_keys", "movablekeys"] : names
    }
}
