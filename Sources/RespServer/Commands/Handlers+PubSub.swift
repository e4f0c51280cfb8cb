// SUBSCRIBE and related commands. Each given channel gets its own confirmation.

import RESP

extension Handlers {
    static func subscribe(_ context: CommandContext) {
        guard (1..<context.arguments.count).allSatisfy({ context.arguments[$0].count <= Subscriptions.nameLengthMax })
        else { return context.reply.error("ERR channel name is longer than \(Subscriptions.nameLengthMax) bytes") }
        subscribe(context, "subscribe", \.channels) { context.server.publisher.subscribe(context.client, channel: $0) }
    }

    static func psubscribe(_ context: CommandContext) {
        guard (1..<context.arguments.count).allSatisfy({ context.arguments[$0].count <= GlobPattern.lengthMax }) else {
            return context.reply.error(GlobPattern.refusal)
        }
        subscribe(context, "psubscribe", \.patterns) { context.server.publisher.subscribe(context.client, pattern: $0) }
    }

    /// Adds all names to one of the connection's sets, and registers the new ones. Adds none if they would exceed the
    /// memory limit.
    private static func subscribe(
        _ context: CommandContext, _ kind: String, _ names: ReferenceWritableKeyPath<Subscriptions, Set<[UInt8]>>,
        register: ([UInt8]) -> Void
    ) {
        let all = (1..<context.arguments.count).map { context.arguments[$0].bytes }
        let known = context.client.resp.subscriptions?[keyPath: names] ?? []
        let bytes = Set(all).reduce(context.client.resp.subscriptions?.bytes ?? 0) { sum, name in
            sum + (known.contains(name) ? 0 : name.count + Subscriptions.overhead)
        }
        guard bytes <= context.loop.settings.clientQueryBufferLimitBytes else {
            return context.reply.error("ERR subscriptions are larger than client-query-buffer-limit, none were added")
        }
        let subscriptions = begin(context.client)
        subscriptions.bytes = bytes
        context.loop.countMemory(of: context.client)
        for name in all {
            if subscriptions[keyPath: names].insert(name).inserted { register(name) }
            confirm(context, kind, name)
        }
    }

    static func unsubscribe(_ context: CommandContext) {
        context.hasConfirmed = false
        let client = context.client!
        for channel in named(context) ?? client.resp.subscriptions.map({ Array($0.channels) }) ?? [] {
            if client.resp.subscriptions?.remove(channel, from: \.channels) == true {
                context.server.publisher.unsubscribe(client, channel: channel)
            }
            confirm(context, "unsubscribe", channel)
        }
        end(context, "unsubscribe")
    }

    static func punsubscribe(_ context: CommandContext) {
        context.hasConfirmed = false
        let client = context.client!
        for pattern in named(context) ?? client.resp.subscriptions.map({ Array($0.patterns) }) ?? [] {
            if client.resp.subscriptions?.remove(pattern, from: \.patterns) == true {
                context.server.publisher.unsubscribe(client, pattern: pattern)
            }
            confirm(context, "punsubscribe", pattern)
        }
        end(context, "punsubscribe")
    }

    private static func begin(_ client: Connection) -> Subscriptions {
        client.resp.flags.insert(.subscribed)
        if client.resp.subscriptions == nil { client.resp.subscriptions = Subscriptions() }
        return client.resp.subscriptions!
    }

    private static func named(_ context: CommandContext) -> [[UInt8]]? {
        guard context.arguments.count > 1 else { return nil }
        return (1..<context.arguments.count).map { context.arguments[$0].bytes }
    }

    /// Leaves subscribed mode if no subscription is left. Sends at least one confirmation, even without subscriptions.
    private static func end(_ context: CommandContext, _ kind: String) {
        let client = context.client!
        if context.arguments.count == 1, !context.hasConfirmed { confirm(context, kind, nil) }
        defer { context.loop.countMemory(of: client) }
        guard client.resp.subscriptions?.count ?? 0 == 0 else { return }
        client.resp.subscriptions = nil
        client.resp.flags.remove(.subscribed)
    }

    private static func confirm(_ context: CommandContext, _ kind: String, _ name: [UInt8]?) {
        context.hasConfirmed = true
        context.reply.push(3)
        context.reply.bulk(kind)
        if let name { context.reply.bulk(name) } else { context.reply.null() }
        context.reply.integer(context.client.resp.subscriptions?.count ?? 0)
    }

    static func publish(_ context: CommandContext) {
        let publisher = context.server.publisher
        let (channel, message) = (context.arguments[1].bytes, context.arguments[2].bytes)
        let (receivers, patterns) = publisher.audience(channel: channel)
        guard patterns.isEmpty else {
            let work = PublishWork(
                publisher, patterns: patterns, channel: channel, message: message, from: context.client)
            return context.loop.perform(work, context)
        }
        if !receivers.isEmpty {
            MessageBytes(pattern: nil, channel: channel, message: message)
                .post(to: receivers, from: context.client, own: &context.loop.ownMessages)
        }
        context.reply.integer(receivers.count)
    }

    // MARK: PUBSUB

    static func pubsubChannels(_ context: CommandContext) {
        guard context.arguments.count <= 3 else {
            return context.reply.error("ERR wrong number of arguments for 'pubsub|channels' command")
        }
        var pattern: GlobPattern?
        if context.arguments.count == 3 {
            guard let given = context.patternOrReply(2) else { return }
            pattern = given
        }
        context.loop.perform(ChannelsWork(context.server.publisher, pattern), context)
    }

    static func pubsubNumsub(_ context: CommandContext) {
        context.reply.array((context.arguments.count - 2) * 2)
        for index in 2..<max(2, context.arguments.count) {
            context.reply.bulk(context.arguments[index])
            context.reply.integer(context.server.publisher.subscriberCount(of: context.arguments[index].bytes))
        }
    }

    static func pubsubNumpat(_ context: CommandContext) {
        context.reply.integer(context.server.publisher.patternCount)
    }
}
