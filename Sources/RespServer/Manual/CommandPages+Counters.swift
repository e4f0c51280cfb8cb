// The reference's pages of the commands about counters.

extension CommandPages {
    static let counters: [String: CommandPage] = [:]
}
