// The settings of sections Network and Clients, and how their two odd values are read: a list of addresses, and the
// output limits of the client classes.

extension SettingsTable {
    static let network: [Setting] = [
        .list(
            "bind", \.bind, countMax: 16,
            allowed: "at most 16 addresses or host names, '*' (every IPv4 address) or '::*' (every IPv6 address), each "
                + "with '-' in front if it may fail",
            .network,
            "Addresses to listen on. A '-' in front of one means that it is no error if the machine does not have it.",
            "Empty (bind \"\"): no TCP listener.",
            fileText: { $0 }, element: { isBindWord($0) ? $0 : nil }
        ).immutable.activeInFile,
        .integer(
            "port", \.port, 0...65535, .network,
            "TCP port. 0: no TCP listener."
        ).immutable.activeInFile,
        .text(
            "unixsocket", \.unixsocket, bytesMax: 107, .network,
            "Path of a Unix domain socket to listen on as well. Empty: none."
        ).immutable,
        .octal(
            "unixsocketperm", \.unixsocketperm, max: 0o777, .network,
            "File mode of the Unix domain socket, in octal, such as 700. 0: as the umask gives it."
        ).immutable,
        .integer(
            "tcp-backlog", \.tcpBacklog, 1...65535, unit: "connections", .network,
            "How many connections may wait to be accepted. The kernel caps it at net.core.somaxconn."
        ).immutable,
        .integer(
            "tcp-keepalive", \.tcpKeepaliveSeconds, 0...32767, unit: "seconds", .network,
            "After how much silence the kernel probes whether a peer is still there. 0: never.",
            "Applies to connections accepted after the change."),
        .integer(
            "timeout", \.timeoutSeconds, 0...2_147_483_647, unit: "seconds", .network,
            "Close a client that was idle this long. 0: never. One that has ended its input and takes no replies is",
            "closed after this long or a minute, whichever is less."),
        .integer(
            "io-threads", \.ioThreads, 0...128, unit: "threads", .network,
            "How many event loops serve clients. 0: one per core this process may use."
        ).immutable,
    ]

    static let clients: [Setting] = [
        .flag(
            "protected-mode", \.protectedMode, .clients,
            "While no password is set, refuse clients that do not come from this machine."
        ).activeInFile,
        .text(
            "requirepass", \.requirepass, bytesMax: 512, .clients,
            "The password clients have to give with AUTH or HELLO. Empty: none is asked for.",
            "CONFIG GET shows it; logs and error messages do not."
        ).secret,
        .integer(
            "maxclients", \.maxclients, 1...1_000_000, unit: "connections", .clients,
            "How many clients may be connected at once; more are told so and closed. Each needs a file descriptor.",
            "Where the limit of open files (ulimit -n) is too low, fewer are let in, and the log says so."),
        outputBufferLimit,
        .memory(
            "client-query-buffer-limit", \.clientQueryBufferLimitBytes, 1 << 20...1 << 30, .clients,
            "How many bytes of unfinished requests one client may make the server hold; beyond it it is closed. Its",
            "queued commands and watched keys may take as many bytes again, and so may the names of the channels and",
            "patterns that it is subscribed to; beyond that they are refused."
        ),
        maxmemoryClients,
        .memory(
            "proto-max-bulk-len", \.protoMaxBulkLenBytes, 1 << 10...16 << 20, .clients,
            "The longest single argument a client may send. Keys cannot be longer than 16mb."),
        .choice(
            "enable-debug-command", \.enableDebugCommand, .clients,
            "From where the DEBUG command is accepted: nowhere, only from this machine, or from everywhere."
        ).immutable,
    ]

    private static func isBindWord(_ word: String) -> Bool {
        let host = word.hasPrefix("-") ? word.dropFirst() : word[...]
        let isSpelledRight = host.utf8.allSatisfy { byte in
            (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x3A)
                || [UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "%")].contains(byte)
        }
        // 253 bytes are the longest name DNS knows.
        return host == "*" || host == "::*" || (isSpelledRight && !host.isEmpty && host.utf8.count <= 253)
    }

    // MARK: maxmemory-clients

    private static let clientMemoryMax = 1 << 50

    private static let maxmemoryClients = Setting.make(
        "maxmemory-clients", .clients,
        [
            "How much memory all clients together may make the server use: unfinished requests, replies they do not",
            "read, queued commands, subscriptions. Beyond it those that use most are closed, but none that said CLIENT",
            "NO-EVICT ON, and no replica. In bytes, or in percent of maxmemory such as 5%. 0: no limit.",
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
            "How much output may wait for a client of each class: CLASS HARD SOFT SECONDS, for one or more classes.",
            "A client is closed when more than HARD bytes wait for it, or more than SOFT bytes for SECONDS seconds.",
            "0 means no limit. A class that is not named keeps its limits.",
        ],
        allowed: "CLASS HARD SOFT SECONDS, repeated; CLASS is normal, replica or pubsub; HARD and SOFT are memory "
            + "sizes; SECONDS is an integer from 0 to 2147483647",
        isList: true
    ) {
        // `slave` is the word monitoring programs look for in CONFIG GET.
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
