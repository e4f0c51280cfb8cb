// REPLICAOF, ROLE, WAIT, FAILOVER, and what replicas say: the commands; the work is the replication thread's.

import Glibc
import Persistence
import RESP
import Replication
import Synchronization
import System
import Transport

/// What a connection that may be a replica has said so far.
final class ReplicaGreeting {
    var announcements: [ReplicaAnnouncement] = []
    var request: SyncRequest?
}

extension EventLoop {
    /// Gives a connection away to the replication thread, with whatever is on its way in and out.
    func handOver(_ connection: Connection) {
        guard !connection.flags.contains(.closed), let greeting = connection.resp.replica,
            let request = greeting.request
        else { return }
        let input = connection.channel.input?.bytes ?? []
        let output = connection.channel.output?.bytes ?? []
        let handover = ReplicaHandover(
            stream: connection.channel.stream, id: connection.id, peerAddress: connection.peerAddress,
            announcements: greeting.announcements,
            request: request, input: input, output: output)
        forget(connection)
        server.replication.ask(.serve(handover))
    }
}

extension Handlers {
    static func role(_ context: CommandContext) {
        let status = context.server.replication.status
        let reply = context.reply
        let offset = context.server.durability.journal.offset
        guard let primary = status.primary else {
            reply.array(3)
            reply.bulk("master")
            reply.integer(offset)
            reply.array(status.replicas.count)
            for replica in status.replicas {
                reply.array(3)
                reply.bulk(replica.host)
                reply.bulk("\(replica.port)")
                reply.bulk("\(replica.offset)")
            }
            return
        }
        reply.array(5)
        reply.bulk("slave")
        reply.bulk(primary.host)
        reply.integer(Int64(primary.port))
        reply.bulk(status.linkState)
        reply.integer(offset)
    }

    static func replicaof(_ context: CommandContext) {
        let (host, port) = (context.arguments[1], context.arguments[2])
        let replication = context.server.replication
        if host.matches("NO"), port.matches("ONE") {
            return change(context, .lead(waiter: waiter(context))) { $0.primary = nil }
        }
        guard let address = PeerAddress(words: [host.string, port.string]) else {
            return context.reply.error(addressProblem(host.string))
        }
        // In a failover the node follows its target already, but on another condition.
        let status = replication.status
        guard status.primary != address || status.isHandingOver else {
            return context.reply.simple("OK Already connected to specified master")
        }
        // From here on nobody is told that a write was accepted.
        replication.set(isReplica: true)
        let request = ReplicationHandle.Request.follow(
            address, waiter: waiter(context), asker: context.client.id,
            lastClient: context.server.lastClientID.load(ordering: .relaxed))
        change(context, request) { $0.primary = address }
    }

    /// What is wrong with a host and a port that are no address.
    private static func addressProblem(_ host: String) -> String {
        PeerAddress.isHost(host) ? "ERR Invalid master port" : "ERR Invalid master host"
    }

    static func slaveof(_ context: CommandContext) { replicaof(context) }

    /// Who waits for the change: the client, unless it is inside EXEC, which waits for nothing.
    private static func waiter(_ context: CommandContext) -> Connection? {
        context.loop.isExecuting ? nil : context.client
    }

    private static func change(
        _ context: CommandContext, _ request: ReplicationHandle.Request,
        _ show: (inout ReplicationStatus) -> Void
    ) {
        let replication = context.server.replication
        // INFO shows it at once, also where nobody waits.
        replication.update { status in
            show(&status)
            status.rolesAsked += 1
            status.isLinkUp = false
        }
        ask(context, request)
    }

    static func replconf(_ context: CommandContext) {
        let words = (1..<max(1, context.arguments.count)).map { context.arguments[$0].string }
        do throws(ReplicaAnnouncementError) {
            let said = try ReplicaAnnouncement.parse(words)
            let client = context.client!
            // Never answered, wherever it comes; but EXEC owes an answer for each of its commands.
            let isAcknowledgement = said.contains { if case .acknowledged = $0 { true } else { false } }
            if isAcknowledgement, !context.loop.isExecuting { return }
            if client.resp.replica == nil { client.resp.replica = ReplicaGreeting() }
            guard client.resp.replica!.announcements.count + said.count <= 64 else {
                return context.reply.error("ERR too many announcements")
            }
            client.resp.replica!.announcements += said
            context.reply.ok()
        } catch {
            context.reply.error(error.text)
        }
    }

    static func psync(_ context: CommandContext) {
        let words = (1..<context.arguments.count).map { context.arguments[$0].string }
        guard let request = SyncRequest(arguments: words) else { return context.syntaxError() }
        let client = context.client!
        guard !client.flags.contains(.unixSocket), client.resp.subscriptions == nil,
            !client.resp.flags.contains(.monitor)
        else {
            return context.reply.error("ERR this connection cannot become a replica's")
        }
        if client.resp.replica == nil { client.resp.replica = ReplicaGreeting() }
        client.resp.replica!.request = request
        client.flags.insert(.handedOver)
    }

    static func sync(_ context: CommandContext) {
        context.reply.error("ERR SYNC is not supported: this server's replicas ask with PSYNC")
    }

    // MARK: WAIT

    static func wait(_ context: CommandContext) {
        guard let count = context.integerOrReply(1), let timeout = timeout(context, 2) else { return }
        let replication = context.server.replication
        guard !replication.isReplica else {
            return context.reply.error(
                "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is "
                    + "configured to be writable (which is not the default) writes to replicas are just local and are "
                    + "not propagated.")
        }
        // Inside EXEC nobody waits, and what it changed is in no batch yet: so nobody is known to have it.
        guard !context.loop.isExecuting else { return context.reply.integer(0) }
        context.loop.block(context.client, waitsLong: EventLoop.isLong(timeout: timeout))
        // Where none are asked for the answer is how many have it now.
        replication.ask(
            .wait(context.client, WaitDemand(replicas: max(0, Int(clamping: count)), timeout: timeout)))
    }

    static func waitaof(_ context: CommandContext) {
        guard let local = context.integerOrReply(1), let count = context.integerOrReply(2),
            let timeout = timeout(context, 3)
        else { return }
        guard (0...1).contains(local), count >= 0 else {
            return context.reply.error("ERR value is out of range: numlocal is 0 or 1, numreplicas 0 or more")
        }
        guard !context.server.replication.isReplica else {
            return context.reply.error(
                "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just "
                    + "local and are not propagated.")
        }
        guard local == 0 || context.loop.settings.appendonly else {
            return context.reply.error(
                "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")
        }
        // Inside EXEC nobody waits, and what it changed is in no batch yet.
        guard !context.loop.isExecuting else {
            context.reply.array(2)
            context.reply.integer(0)
            return context.reply.integer(0)
        }
        context.loop.block(context.client, waitsLong: EventLoop.isLong(timeout: timeout))
        context.server.replication.ask(
            .wait(
                context.client,
                WaitDemand(
                    replicas: Int(clamping: count), timeout: timeout, onDisk: true, onOwnDisk: local == 1)))
    }

    /// How long to wait at most: 0 milliseconds are for ever. Nil after answering what is wrong.
    private static func timeout(_ context: CommandContext, _ index: Int) -> Nanoseconds? {
        guard let timeout = context.arguments[index].integer else {
            context.reply.error("ERR timeout is not an integer or out of range")
            return nil
        }
        // In nanoseconds from now it has to be an instant.
        guard (0...Int64.max / 2_000_000).contains(timeout) else {
            context.reply.error(timeout < 0 ? "ERR timeout is negative" : "ERR timeout is out of range")
            return nil
        }
        return timeout == 0 ? .forever : .milliseconds(timeout)
    }

    // MARK: FAILOVER

    static func failover(_ context: CommandContext) {
        let arguments = context.arguments
        if arguments.count == 2, arguments[1].matches("ABORT") {
            return ask(context, .abortFailover(waiter: waiter(context)))
        }
        var request = Failover.Request()
        var index = 1
        while index < arguments.count {
            if arguments[index].matches("TO"), index + 2 < arguments.count, request.target == nil {
                guard
                    let address = PeerAddress(words: [arguments[index + 1].string, arguments[index + 2].string])
                else { return context.reply.error(addressProblem(arguments[index + 1].string)) }
                request.target = address
                index += 3
            } else if arguments[index].matches("TIMEOUT"), index + 1 < arguments.count, request.timeout == nil {
                guard let milliseconds = arguments[index + 1].integer, milliseconds < 1 << 40 else {
                    return context.reply.error("ERR value is not an integer or out of range")
                }
                guard milliseconds > 0 else {
                    return context.reply.error("ERR FAILOVER timeout must be greater than 0")
                }
                request.timeout = .milliseconds(milliseconds)
                index += 2
            } else if arguments[index].matches("FORCE"), !request.force {
                request.force = true
                index += 1
            } else {
                return context.syntaxError()
            }
        }
        ask(context, .failover(request, waiter: waiter(context), asker: context.client.id))
    }

    /// Asks, and has the client wait for the answer; inside EXEC, where nobody waits, it is OK.
    private static func ask(_ context: CommandContext, _ request: ReplicationHandle.Request) {
        context.server.replication.ask(request)
        guard !context.loop.isExecuting else { return context.reply.ok() }
        context.loop.block(context.client)
    }
}
