// REPLICAOF, ROLE, WAIT, FAILOVER, and the commands that replicas send. The replication thread does the work.

import Glibc
import Persistence
import RESP
import Replication
import Synchronization
import System
import Transport

/// The handshake of a connection that may become a replica, so far.
final class ReplicaGreeting {
    var announcements: [ReplicaAnnouncement] = []
    var request: SyncRequest?
}

extension EventLoop {
    /// Hands a connection over to the replication thread, with its buffered input and output.
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
            return change(context, .lead) { $0.primary = nil }
        }
        guard let address = PeerAddress(words: [host.string, port.string]) else {
            return context.reply.error(addressProblem(host.string))
        }
        // During a failover the node already follows its target, but conditionally.
        let status = replication.status
        guard status.primary != address || status.isHandingOver else {
            return context.reply.simple("OK Already connected to specified master")
        }
        // From here on no write is acknowledged.
        replication.set(isReplica: true)
        let request = ReplicationHandle.Change.follow(
            address, asker: context.client.id,
            lastClient: context.server.lastClientID.load(ordering: .relaxed))
        change(context, request) { $0.primary = address }
    }

    /// The error for an invalid host or port.
    private static func addressProblem(_ host: String) -> String {
        PeerAddress.isHost(host) ? "ERR Invalid master port" : "ERR Invalid master host"
    }

    static func slaveof(_ context: CommandContext) { replicaof(context) }

    private static func change(
        _ context: CommandContext, _ change: ReplicationHandle.Change,
        _ show: (inout ReplicationStatus) -> Void
    ) {
        // Update the status right away for INFO, also for later commands of the same EXEC.
        context.server.replication.update { status in
            show(&status)
            status.rolesAsked += 1
            status.isLinkUp = false
        }
        ask(context, change)
    }

    static func replconf(_ context: CommandContext) {
        let words = (1..<max(1, context.arguments.count)).map { context.arguments[$0].string }
        do throws(ReplicaAnnouncementError) {
            let announcements = try ReplicaAnnouncement.parse(words)
            let client = context.client!
            // ACK has no reply, except inside EXEC, whose reply needs an element for each command.
            let isAcknowledgement = announcements.contains { if case .acknowledged = $0 { true } else { false } }
            if isAcknowledgement, !context.loop.isExecuting { return }
            if client.resp.replica == nil { client.resp.replica = ReplicaGreeting() }
            guard client.resp.replica!.announcements.count + announcements.count <= 64 else {
                return context.reply.error("ERR too many announcements")
            }
            client.resp.replica!.announcements += announcements
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
            return context.reply.error("ERR this connection cannot be used for replication")
        }
        if client.resp.replica == nil { client.resp.replica = ReplicaGreeting() }
        client.resp.replica!.request = request
        client.flags.insert(.handedOver)
    }

    static func sync(_ context: CommandContext) {
        context.reply.error("ERR SYNC is not supported; use PSYNC")
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
        // EXEC cannot block, and its changes are not in a batch yet, so no replica has acknowledged them.
        guard !context.loop.isExecuting else { return context.reply.integer(0) }
        context.loop.block(context.client)
        // With numreplicas 0 the reply is the number of replicas that have it now.
        replication.ask(
            .wait(context.client, WaitDemand(replicas: max(0, Int(clamping: count)), timeout: timeout)))
    }

    static func waitaof(_ context: CommandContext) {
        guard let local = context.integerOrReply(1), let count = context.integerOrReply(2),
            let timeout = timeout(context, 3)
        else { return }
        guard (0...1).contains(local), count >= 0 else {
            return context.reply.error("ERR value is out of range: numlocal must be 0 or 1, numreplicas 0 or more")
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
        // EXEC cannot block, and its changes are not in a batch yet.
        guard !context.loop.isExecuting else {
            context.reply.array(2)
            context.reply.integer(0)
            return context.reply.integer(0)
        }
        context.loop.block(context.client)
        context.server.replication.ask(
            .wait(
                context.client,
                WaitDemand(
                    replicas: Int(clamping: count), timeout: timeout, onDisk: true, onOwnDisk: local == 1)))
    }

    /// The maximum time to wait; 0 milliseconds mean forever. If invalid, replies with an error and returns nil.
    private static func timeout(_ context: CommandContext, _ index: Int) -> Nanoseconds? {
        guard let timeout = context.arguments[index].integer else {
            context.reply.error("ERR timeout is not an integer or out of range")
            return nil
        }
        // Now plus the timeout must be representable in nanoseconds.
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
            return ask(context, .abortFailover)
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
        ask(context, .failover(request, asker: context.client.id))
    }

    /// Requests a change, which begins when the command or the transaction has released its locks. The client waits
    /// for its reply.
    private static func ask(_ context: CommandContext, _ change: ReplicationHandle.Change) {
        context.loop.followUp.add(.replication(change), replyOffset: context.reply.count)
    }
}
