// The settings of the sections Network and Clients, and the parsers of their special values: addresses, the memory of
// clients, and the output limits of the client classes.

extension SettingsTable {
    static let network: [Setting] = [
        .list(
            "bind", \.bind, countMax: 16,
            allowed: "at most 16 addresses or host names, '*' (every IPv4 address) or '::*' (every IPv6 address), each "
                + "prefixed with '-' if it may fail",
            .network,
            "Addresses to listen on. With the prefix '-' it is not an error if the machine does not have the address.",
            "Empty (bind \"\"): no TCP listener.",
            fileText: { $0 }, element: { isBindWord($0) ? $0 : nil }
        ).immutable.activeInFile,
        .integer(
            "port", \.port, 0...65535, .network,
            "TCP port. 0: no TCP listener."
        ).immutable.activeInFile,
        .text(
            "unixsocket", \.unixsocket, bytesMax: 107, .network,
            "Path of an additional Unix domain socket to listen on. Empty: none."
        ).immutable,
        .octal(
            "unixsocketperm", \.unixsocketperm, max: 0o777, .network,
            "File mode of the Unix domain socket, in octal, such as 700. 0: determined by the umask."
        ).immutable,
        .integer(
            "tcp-backlog", \.tcpBacklog, 1...65535, unit: "connections", .network,
            "Maximum number of connections waiting to be accepted. The kernel caps it at net.core.somaxconn."
        ).immutable,
        .integer(
            "tcp-keepalive", \.tcpKeepaliveSeconds, 0...32767, unit: "seconds", .network,
            "Idle time after which the kernel probes whether a peer is still alive. 0: never.",
            "Applies to connections accepted after the change."),
        .integer(
            "timeout", \.timeoutSeconds, 0...2_147_483_647, unit: "seconds", .network,
            "Close a client after it was idle for this long. 0: never. A client that has ended its input and does not",
            "read its replies is closed after this long or a minute, whichever is less."),
        .integer(
            "io-threads", \.ioThreads, 0...128, unit: "threads", .network,
            "Number of event loops that serve clients. 0: one per core available to this process."
        ).immutable,
    ]

    static let http: [Setting] = [
        .integer(
            "admin-port", \.adminPort, 0...65535, .http,
            "TCP port for administration over HTTP: /metrics, /health, /ready and the rest of docs/http.md. 0: none,",
            "so that servers on one machine do not compete for a port."
        ).immutable,
        .list(
            "admin-bind", \.adminBind, countMax: 16,
            allowed: "at most 16 addresses or host names, as for bind", .http,
            "Addresses to listen on for administration. Other than loopback addresses need admin-token.",
            fileText: { $0 }, element: { isBindWord($0) ? $0 : nil }
        ).immutable,
        .text(
            "admin-token", \.adminToken, bytesMax: 512, .http,
            "The token that administration requires, as \"Authorization: Bearer TOKEN\". Empty: none is required,",
            "which is allowed on loopback addresses only. /health and /ready never need it, nor does /metrics from",
            "this machine. CONFIG GET shows it; logs and error messages do not."
        ).secret,
        .list(
            "admin-hosts", \.adminHosts, countMax: 16,
            allowed: "at most 16 host names, without ports", .http,
            "Host names, besides localhost and IP addresses, under which administration may be requested. A page in a",
            "browser can have its own name point to this machine; such requests are refused.",
            fileText: { $0 }, element: { isHostName($0) ? $0.lowercased() : nil }
        ),
        .integer(
            "http-port", \.httpPort, 0...65535, .http,
            "TCP port for the check API over HTTP. 0: none."
        ).immutable,
        .list(
            "http-bind", \.httpBind, countMax: 16,
            allowed: "at most 16 addresses or host names, as for bind", .http,
            "Addresses to listen on for the check API. It needs no password: let only trusted programs reach it.",
            fileText: { $0 }, element: { isBindWord($0) ? $0 : nil }
        ).immutable,
        .integer(
            "http-idle-timeout", \.httpIdleTimeoutSeconds, 1...86_400, unit: "seconds", .http,
            "Close an HTTP connection after it was idle for this long. Must be longer than proxies keep their idle",
            "connections, or some of their requests fail."),
        .integer(
            "http-request-timeout", \.httpRequestTimeoutSeconds, 1...3600, unit: "seconds", .http,
            "Close an HTTP connection whose request has not arrived completely after this long."),
    ]

    private static func isHostName(_ word: String) -> Bool {
        isBindWord(word) && !word.hasPrefix("-") && !word.contains("*") && !word.contains(":") && !word.contains("%")
    }

    static let clients: [Setting] = [
        .flag(
            "protected-mode", \.protectedMode, .clients,
            "While no password is set, refuse clients from other machines."
        ).activeInFile,
        .text(
            "requirepass", \.requirepass, bytesMax: 512, .clients,
            "The password that clients must send with AUTH or HELLO. Empty: none is required.",
            "CONFIG GET shows it; logs and error messages do not."
        ).secret,
        .integer(
            "maxclients", \.maxclients, 1...1_000_000, unit: "connections", .clients,
            "Maximum number of connected clients; further ones get an error and are closed. Each needs a file",
            "descriptor. If the limit of open files (ulimit -n) is too low, fewer are accepted, and the log says so."),
        outputBufferLimit,
        .memory(
            "client-query-buffer-limit", \.clientQueryBufferLimitBytes, 1 << 20...1 << 30, .clients,
            "Maximum number of bytes buffered for a client's incomplete requests; a client that exceeds it is closed.",
            "The same limit applies separately to its queued commands with its watched keys, and to the names of the",
            "channels and patterns that it is subscribed to; what would exceed these is refused."
        ),
        maxmemoryClients,
        .memory(
            "proto-max-bulk-len", \.protoMaxBulkLenBytes, 1 << 10...16 << 20, .clients,
            "Maximum length of a single argument. Keys cannot be longer than 16mb."),
        .choice(
            "enable-debug-command", \.enableDebugCommand, .clients,
            "From where the DEBUG command is accepted: nowhere, only from this machine, or anywhere."
        ).immutable,
    ]

    private static func isBindWord(_ word: String) -> Bool {
        let host = word.hasPrefix("-") ? word.dropFirst() : word[...]
        let isSpelledRight = host.utf8.allSatisfy { byte in
            (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x3A)
                || [UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "%")].contains(byte)
        }
        // DNS names have at most 253 bytes.
        return host == "*" || host == "::*" || (isSpelledRight && !host.isEmpty && host.utf8.count <= 253)
    }

    // MARK: maxmemory-clients

    private static let clientMemoryMax = 1 << 50

    private static let maxmemoryClients = Setting.make(
        "maxmemory-clients", .clients,
        [
            "Maximum memory of all clients together: incomplete requests, unread replies, queued commands,",
            "subscriptions. Above it, the clients that use most are closed, except replicas and clients that have sent",
            "CLIENT NO-EVICT ON. In bytes, or in percent of maxmemory such as 5%. 0: no limit. After a change clients",
            "are closed shortly after the reply to CONFIG SET.",
        ],
        allowed: "a memory size up to \(MemorySize.text(clientMemoryMax)) (bytes, or with kb, mb, gb), or 0% to 100%"
    ) {
        clientMemoryText($0.maxmemoryClients) { String($0) }
    } fileText: {
        clientMemoryText($0.maxmemoryClients, MemorySize.text)
    } parse: { text throws(Setting.Refusal) in
        let refusal = Setting.Refusal("argument must be a memory or percent value")
        if text.hasSuffix("%") {
            guard let percent = Setting.decimal(text.dropLast()) else { throw refusal }
            guard (0...100).contains(percent) else {
                throw Setting.Refusal("percentage argument must be less or equal to 100")
            }
            return { $0.maxmemoryClients = .percent(percent) }
        }
        guard let bytes = MemorySize.parse(text) else { throw refusal }
        guard bytes <= clientMemoryMax else { throw Setting.Refusal(outside: 0...clientMemoryMax) }
        return { $0.maxmemoryClients = .bytes(bytes) }
    }

    private static func clientMemoryText(_ limit: ClientMemoryLimit, _ memory: (Int) -> String) -> String {
        switch limit {
        case .bytes(let bytes): memory(bytes)
        case .percent(let percent): "\(percent)%"
        }
    }

    // MARK: client-output-buffer-limit

    private static let outputBufferLimit = Setting.make(
        "client-output-buffer-limit", .clients,
        [
            "Maximum output buffered for a client of each class: CLASS HARD SOFT SECONDS, for one or more classes.",
            "A client is closed when more than HARD bytes are buffered, or more than SOFT bytes for SECONDS seconds.",
            "0 means no limit. Classes not given keep their limits.",
        ],
        allowed: "CLASS HARD SOFT SECONDS, repeated; CLASS is normal, replica or pubsub; HARD and SOFT are memory "
            + "sizes; SECONDS is an integer from 0 to 2147483647",
        isList: true
    ) {
        // Monitoring programs look for `slave` in CONFIG GET.
        outputBufferLimitText($0.clientOutputBufferLimit, replica: "slave") { String($0) }
    } fileText: {
        outputBufferLimitText($0.clientOutputBufferLimit, replica: "replica", MemorySize.text)
    } parse: { text throws(Setting.Refusal) in
        let words = ConfigWord.split(text)
        guard !words.isEmpty, words.count % 4 == 0 else {
            throw Setting.Refusal("Wrong number of arguments in buffer limit configuration.")
        }
        var changes: [(OutputBufferLimits.ClientClass, OutputBufferLimit)] = []
        for start in stride(from: 0, to: words.count, by: 4) {
            guard let clientClass = outputBufferClass(words[start]) else {
                throw Setting.Refusal("Invalid client class specified in buffer limit configuration.")
            }
            guard let hardBytes = MemorySize.parse(words[start + 1]),
                let softBytes = MemorySize.parse(words[start + 2]),
                let softSeconds = Setting.decimal(words[start + 3]), (0...2_147_483_647).contains(softSeconds)
            else { throw Setting.Refusal("Error in hard, soft or soft_seconds setting in buffer limit configuration.") }
            changes.append(
                (clientClass, OutputBufferLimit(hardBytes: hardBytes, softBytes: softBytes, softSeconds: softSeconds)))
        }
        return { [changes] settings in
            for (clientClass, limit) in changes { settings.clientOutputBufferLimit[clientClass] = limit }
        }
    }

    private static func outputBufferClass(_ word: String) -> OutputBufferLimits.ClientClass? {
        word.lowercased() == "slave" ? .replica : OutputBufferLimits.ClientClass(rawValue: word.lowercased())
    }

    private static func outputBufferLimitText(
        _ limits: OutputBufferLimits, replica: String, _ memory: (Int) -> String
    ) -> String {
        OutputBufferLimits.ClientClass.allCases.map { clientClass in
            let name = clientClass == .replica ? replica : clientClass.rawValue
            let limit = limits[clientClass]
            return "\(name) \(memory(limit.hardBytes)) \(memory(limit.softBytes)) \(limit.softSeconds)"
        }.joined(separator: " ")
    }
}
