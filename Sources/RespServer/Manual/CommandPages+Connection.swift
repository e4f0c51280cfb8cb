// The reference's pages of the commands about a connection.

extension CommandPages {
    static let connection: [String: CommandPage] = [:]
}
