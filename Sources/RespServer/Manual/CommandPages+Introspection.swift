// The reference's pages of the commands about CONFIG, COMMAND, SLOWLOG, LATENCY, DEBUG, MEMORY and MODULE.

extension CommandPages {
    static let introspection: [String: CommandPage] = [:]
}
