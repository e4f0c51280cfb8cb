// The reference's pages of the commands about keys of any kind.

extension CommandPages {
    static let keys: [String: CommandPage] = [:]
}
