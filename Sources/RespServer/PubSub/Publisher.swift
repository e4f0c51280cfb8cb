// Channels and patterns: who wants to hear what. Loops meet here; messages travel through their mailboxes.
//
// Lock order: behind turn locks and stripes, in front of mailboxes.

import RESP

/// What one connection is subscribed to. Belongs to the connection.
final class Subscriptions {
    var channels: Set<[UInt8]> = []
    var patterns: Set<[UInt8]> = []
    /// Bytes of the names and of what the server keeps about them: bounded by client-query-buffer-limit.
    var bytes = 0
    var count: Int { channels.count + patterns.count }

    /// Bytes that a subscription takes beside its name: entries in two tables.
    static let overhead = 256
    /// Longest name of a channel or pattern, in bytes.
    static let nameLengthMax = 64 << 10

    /// Removes a name from one of the sets. False when it was not there.
    func remove(_ name: [UInt8], from names: ReferenceWritableKeyPath<Subscriptions, Set<[UInt8]>>) -> Bool {
        guard self[keyPath: names].remove(name) != nil else { return false }
        bytes -= name.count + Subscriptions.overhead
        return true
    }
}

/// The registry of subscriptions. Thread-safe.
final class Publisher: Sendable {
    private struct State {
        var channels: [[UInt8]: [Connection]] = [:]
        var patterns: [[UInt8]: [Connection]] = [:]
    }

    private let state = Guarded(State())

    // MARK: Subscribing

    func subscribe(_ connection: Connection, channel: [UInt8]) {
        state.withLock { $0.channels[channel, default: []].append(connection) }
    }

    func subscribe(_ connection: Connection, pattern: [UInt8]) {
        state.withLock { $0.patterns[pattern, default: []].append(connection) }
    }

    func unsubscribe(_ connection: Connection, channel: [UInt8]) {
        state.withLock { Publisher.remove(connection, from: &$0.channels, channel) }
    }

    func unsubscribe(_ connection: Connection, pattern: [UInt8]) {
        state.withLock { Publisher.remove(connection, from: &$0.patterns, pattern) }
    }

    func unsubscribeAll(_ connection: Connection) {
        guard let subscriptions = connection.subscriptions else { return }
        state.withLock { state in
            for channel in subscriptions.channels { Publisher.remove(connection, from: &state.channels, channel) }
            for pattern in subscriptions.patterns { Publisher.remove(connection, from: &state.patterns, pattern) }
        }
        connection.subscriptions = nil
    }

    private static func remove(
        _ connection: Connection, from table: inout [[UInt8]: [Connection]], _ name: [UInt8]
    ) {
        table[name]?.removeAll { $0 === connection }
        if table[name]?.isEmpty == true { table[name] = nil }
    }

    // MARK: Publishing

    /// Sends a message to everybody who wants it; a connection with several matching patterns gets it once for each.
    /// Returns how many messages that were. O(subscribers + patterns).
    func publish(_ message: Argument, to channel: Argument) -> Int {
        let name = channel.bytes
        var deliveries: [(bytes: MessageBytes, receivers: [Connection])] = []
        state.withLock { state in
            if let receivers = state.channels[name] {
                deliveries.append((MessageBytes(pattern: nil, channel: channel, message: message), receivers))
            }
            for (pattern, receivers) in state.patterns where GlobPattern(pattern).matches(channel) {
                deliveries.append((MessageBytes(pattern: pattern, channel: channel, message: message), receivers))
            }
        }
        var count = 0
        for (bytes, receivers) in deliveries {
            count += receivers.count
            bytes.post(to: receivers)
        }
        return count
    }

    // MARK: Asking

    func channels(matching pattern: [UInt8]?) -> [[UInt8]] {
        state.withLock { state in
            let glob = pattern.map { GlobPattern($0) }
            return state.channels.keys.filter { name in
                glob.map { glob in name.withUnsafeBufferPointer { glob.matches($0) } } ?? true
            }
        }
    }

    func subscriberCount(of channel: [UInt8]) -> Int { state.withLock { $0.channels[channel]?.count ?? 0 } }

    var channelCount: Int { state.withLock { $0.channels.count } }
    var patternCount: Int { state.withLock { $0.patterns.count } }
}

/// Why a connection gets a message.
enum MessageCause: Sendable {
    case channel([UInt8])
    case pattern([UInt8])
    case monitor

    /// Whether the connection still wants it. Its loop asks, with its turn.
    func concerns(_ connection: Connection) -> Bool {
        switch self {
        case .channel(let name): connection.subscriptions?.channels.contains(name) ?? false
        case .pattern(let name): connection.subscriptions?.patterns.contains(name) ?? false
        case .monitor: connection.flags.contains(.monitor)
        }
    }
}

/// A message in both spellings.
struct MessageBytes: Sendable {
    let cause: MessageCause
    let resp2: [UInt8]
    let resp3: [UInt8]

    init(pattern: [UInt8]?, channel: Argument, message: Argument) {
        func encode(_ version: ProtocolVersion) -> [UInt8] {
            let buffer = ReplyBuffer(capacity: message.count + channel.count + 64)
            buffer.version = version
            buffer.push(pattern == nil ? 3 : 4)
            buffer.bulk(pattern == nil ? "message" : "pmessage")
            if let pattern { buffer.bulk(pattern) }
            buffer.bulk(channel)
            buffer.bulk(message)
            return Array(buffer.bytes)
        }
        cause = pattern.map { .pattern($0) } ?? .channel(channel.bytes)
        resp2 = encode(.resp2)
        resp3 = encode(.resp3)
    }

    /// A line for monitors, which looks the same in both versions.
    init(monitorLine plain: [UInt8]) {
        cause = .monitor
        resp2 = plain
        resp3 = plain
    }

    /// Hands the bytes to the loops of the receivers, one message for each loop.
    func post(to receivers: [Connection]) {
        var byLoop: [Int: [Connection]] = [:]
        for receiver in receivers { byLoop[receiver.loop.index, default: []].append(receiver) }
        for group in byLoop.values {
            group[0].loop.mailbox.post(.deliver(self, to: group))
        }
    }
}
