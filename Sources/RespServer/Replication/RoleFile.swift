// The role on disk, beside the data: the role set at run time, which the next start restores, whether or not the
// configuration can be rewritten. One line: `primary`; or `replica HOST PORT`, followed by `failover` on a primary that
// is handing over to that node and does not know yet whether that node has taken over; or `configured` on a node whose
// role was never set at run time and that has had replicas, which may want to resume with a partial sync, followed by
// `replica` on one that has had a complete state of the primary in its settings.

import Persistence
import Replication

enum RoleFile {
    static let name = "role"
    private static let bytesMax = 1024

    /// Nil if there is no such file, or its content is not valid.
    static func read(directory: String) throws(StorageError) -> SavedRole? {
        let files = RealFileSystem()
        guard try files.exists("\(directory)/\(name)") else { return nil }
        let text = String(decoding: try files.contents(of: "\(directory)/\(name)", limit: bytesMax), as: UTF8.self)
        let words = text.split(whereSeparator: \.isWhitespace).map(String.init)
        if words == ["configured"] { return .configured }
        if words == ["configured", "replica"] { return .configuredReplica }
        if words == ["primary"] { return .role(.primary) }
        guard (3...4).contains(words.count), words[0] == "replica", let port = Int(words[2]),
            (1...65535).contains(port)
        else { return nil }
        let address = PeerAddress(host: words[1], port: port)
        guard words.count == 4 else { return .role(.replica(of: address)) }
        return words[3] == "failover" ? .handingOver(address) : nil
    }

    /// The role is durable when this returns.
    static func save(_ content: SavedRole, directory: String) throws(StorageError) {
        let text =
            switch content {
            case .configured: "configured\n"
            case .configuredReplica: "configured replica\n"
            case .role(.primary): "primary\n"
            case .role(.replica(let address)): "replica \(address.host) \(address.port)\n"
            case .handingOver(let address): "replica \(address.host) \(address.port) failover\n"
            }
        try RealFileSystem().replace("\(directory)/\(name)", with: Array(text.utf8), inDirectory: directory)
    }
}
