// Every setting of the server as a plain value. A field has the name of its setting, plus the unit, if any. Settings()
// holds the defaults.
//
// Contains no text: formatting, validation and documentation of settings are in the settings table. Has no effect on
// its own: the code that receives a new value applies it.

import HTTP
import Persistence
import System

/// The configuration. A plain value: compare an old with a new one to find the changes to apply.
struct Settings: Sendable, Equatable {
    // MARK: Network

    /// Addresses to listen on. With a leading `-`, failure to bind it is not an error; `*` is every IPv4 address and
    /// `::*` every IPv6 address. Empty: no TCP listener.
    var bind = ["127.0.0.1", "-::1"]
    /// 0…65535; 0 means no TCP listener.
    var port = 6379
    /// Path of the Unix domain socket; empty means none.
    var unixsocket = ""
    /// Mode bits of the socket's file, 0…0o777; 0: determined by the umask.
    var unixsocketperm = 0
    var tcpBacklog = 511
    /// 0: no probes.
    var tcpKeepaliveSeconds = 300
    /// 0: idle clients are never closed.
    var timeoutSeconds = 0
    /// 0: one per core.
    var ioThreads = 0
    /// 0…65535; 0: no listener for administration.
    var adminPort = 0
    /// As `bind`.
    var adminBind = ["127.0.0.1", "-::1"]
    /// Empty: none is required.
    var adminToken = ""
    /// Host names, in lower case.
    var adminHosts: [String] = []
    /// 0…65535; 0: no listener for the check API.
    var httpPort = 0
    /// As `bind`.
    var httpBind = ["127.0.0.1", "-::1"]
    /// 1 or more.
    var httpIdleTimeoutSeconds = 75
    /// 1 or more.
    var httpRequestTimeoutSeconds = 10
    /// Families of RateLimit fields in the answers of the check API; empty: none.
    var httpRateLimitHeaders = RateLimitFamilies.draft
    /// Proxies whose X-Forwarded-For is believed.
    var trustedProxies: [IPRange] = []
    /// 1…128.
    var httpIPv6Prefix = 64
    var httpCompat = false

    // MARK: Clients

    var protectedMode = true
    /// Empty: clients need no password.
    var requirepass = ""
    var maxclients = 10_000
    var clientOutputBufferLimit = OutputBufferLimits()
    var clientQueryBufferLimitBytes = 16 << 20
    var maxmemoryClients = ClientMemoryLimit.bytes(0)
    var protoMaxBulkLenBytes = 1 << 20
    var enableDebugCommand = DebugCommandAccess.no

    // MARK: Memory and keys

    /// 0: no limit.
    var maxmemoryBytes = 0
    var maxmemoryPolicy = MaxmemoryPolicy.noeviction
    /// A power of two, 1…4096.
    var shards = 256
    /// Always 1.
    var databases = 16
    /// Passes of background work per second.
    var hz = 10

    // MARK: Limits

    /// Empty: none.
    var rulesFile = ""
    var zoneinfo = ZoneDirectory.usual
    /// 1 or more.
    var idempotencyWindowSeconds = 60
    var idempotencyTokensMax = 1_000_000

    /// How long idempotency tokens are remembered, in nanoseconds.
    var tokenWindow: Int64 { Int64(idempotencyWindowSeconds) * 1_000_000_000 }

    // MARK: Log and observation

    var loglevel = Log.Level.notice
    var logFormat = Log.Format.text
    /// Empty: standard error.
    var logfile = ""
    /// -1: log nothing, 0: log everything.
    var slowlogLogSlowerThanMicroseconds = 10_000
    var slowlogMaxLen = 128
    /// 0: off.
    var latencyMonitorThresholdMilliseconds = 0
    var latencyTracking = true
    /// Each 0…100.
    var latencyTrackingInfoPercentiles: [Double] = [50, 99, 99.9]

    // MARK: Lifecycle and durability

    var dir = "./data"
    var shutdownTimeoutSeconds = 10
    var appendonly = true
    /// A name within `dir`.
    var appenddirname = "appendonlydir"
    var appendfsync = AppendFsync.everysec
    var failMode = FailMode.closed
    /// 0: never.
    var autoAofRewritePercentage = 100
    var autoAofRewriteMinSizeBytes = 64 << 20
    var aofLoadTruncated = true
    var save = SaveRules("")!

    // MARK: Replication

    /// `host port`, or empty for a primary.
    var replicaof = ""
    var masteruser = ""
    var masterauth = ""
    /// Always true in this version.
    var replicaReadOnly = true
    var replicaServeStaleData = true
    var replicaPriority = 100
    /// Empty: the address that the primary sees.
    var replicaAnnounceIP = ""
    /// 0: the port.
    var replicaAnnouncePort = 0
    var minReplicasToWrite = 0
    var minReplicasMaxLagSeconds = 10
    var replBacklogSizeBytes = 16 << 20
    var replTimeoutSeconds = 60
}

extension Settings {
    /// One address of `bind`.
    struct BindAddress: Sendable, Equatable {
        /// An address, a host name, `*` or `::*`.
        var host: String
        /// Given with a leading `-`: failure to bind it is not an error.
        var mayFail: Bool
    }

    /// `bind` with the leading `-` parsed.
    var bindAddresses: [BindAddress] { Settings.addresses(bind) }

    /// Words of `bind`, `admin-bind` or `http-bind` with the leading `-` parsed.
    static func addresses(_ words: [String]) -> [BindAddress] {
        words.map { word in
            word.hasPrefix("-")
                ? BindAddress(host: String(word.dropFirst()), mayFail: true) : BindAddress(host: word, mayFail: false)
        }
    }
}

/// How much output may be buffered for a client before it is disconnected.
struct OutputBufferLimit: Sendable, Equatable {
    /// Disconnect immediately above this; 0 means no limit.
    var hardBytes: Int
    /// Disconnect if above this for `softSeconds`; 0 means no limit.
    var softBytes: Int
    var softSeconds: Int
}

/// The output limits of the three classes of clients.
struct OutputBufferLimits: Sendable, Equatable {
    var normal = OutputBufferLimit(hardBytes: 256 << 20, softBytes: 0, softSeconds: 0)
    var replica = OutputBufferLimit(hardBytes: 256 << 20, softBytes: 64 << 20, softSeconds: 60)
    var pubsub = OutputBufferLimit(hardBytes: 32 << 20, softBytes: 8 << 20, softSeconds: 60)

    enum ClientClass: String, Sendable, CaseIterable {
        case normal, replica, pubsub
    }

    subscript(clientClass: ClientClass) -> OutputBufferLimit {
        get {
            switch clientClass {
            case .normal: normal
            case .replica: replica
            case .pubsub: pubsub
            }
        }
        set {
            switch clientClass {
            case .normal: normal = newValue
            case .replica: replica = newValue
            case .pubsub: pubsub = newValue
            }
        }
    }
}

/// What happens to a new key when `maxmemory` is reached.
enum MaxmemoryPolicy: String, Sendable, CaseIterable {
    /// It is refused with `OOM`.
    case noeviction
    /// The key that would expire soonest is evicted: it loses the least state.
    case evictSoonest = "evict-soonest"
}

/// Which clients may use DEBUG.
enum DebugCommandAccess: String, Sendable, CaseIterable {
    case no, local, yes
}

/// What happens to writes while the disk is failing.
enum FailMode: String, Sendable, CaseIterable {
    /// Decisions continue in memory.
    case open
    /// Writes are refused.
    case closed
}

/// When the append-only log is synced to disk.
enum AppendFsync: String, Sendable, CaseIterable {
    case always, everysec, no
}
