// The reference's pages of the commands about the server, replication and persistence.

extension CommandPages {
    static let server: [String: CommandPage] = [:]
}
