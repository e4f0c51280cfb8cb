// The reference's pages of the commands about clusters.

extension CommandPages {
    static let cluster: [String: CommandPage] = [:]
}
