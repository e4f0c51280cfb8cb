// The text of docs/redis-commands.md that introduces the groups of commands about connections and the server.

extension CommandManual {
    static let serverIntroductions = ["Connections": connections, "Server": server, "Cluster": cluster]

    private static let connections = """
        How a client library greets the server, and what operators can see and do about connections. A connection needs
        no greeting: without HELLO it speaks RESP2, uses database 0, and has all rights unless a password is set. Tested
        libraries: [clients.md](clients.md).


        """

    private static let server = """
        For operators and their tools: state, settings, persistence, replication, statistics. Procedures are in
        [operating.md](operating.md) and [high-availability.md](high-availability.md). Applications need none of the
        commands with the category `@dangerous`. There are no ACLs to forbid them, so protect the port
        ([security.md](security.md)).


        """

    private static let cluster = """
        This server has no cluster mode: each server has all of its keys, and replicas are copies. The commands exist
        because client libraries probe for a cluster with them; the reply is that of a Redis server with cluster mode
        off. To distribute keys, use independent servers and choose among them in the client.


        """
}
