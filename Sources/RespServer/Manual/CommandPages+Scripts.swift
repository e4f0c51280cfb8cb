// The reference's pages of the commands about scripts.

extension CommandPages {
    static let scripts: [String: CommandPage] = [:]
}
