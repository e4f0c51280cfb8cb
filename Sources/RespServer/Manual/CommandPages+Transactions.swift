// The reference's pages of the commands about MULTI and EXEC.

extension CommandPages {
    static let transactions: [String: CommandPage] = [:]
}
