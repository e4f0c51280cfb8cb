// The reference's pages of the commands about publish and subscribe.

extension CommandPages {
    static let pubsub: [String: CommandPage] = [:]
}
