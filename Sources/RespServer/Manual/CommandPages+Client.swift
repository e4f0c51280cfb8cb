// The reference's pages of the commands about CLIENT.

extension CommandPages {
    static let client: [String: CommandPage] = [:]
}
