// A message in transit from its publisher's loop to those of its receivers.

import RESP
import System

/// Why a connection gets a message.
enum MessageCause: Sendable {
    case channel([UInt8])
    case pattern([UInt8])
    case monitor

    /// Whether the connection still wants it. Called by its loop, during a turn.
    func concerns(_ connection: Connection) -> Bool {
        switch self {
        case .channel(let name): connection.resp.subscriptions?.channels.contains(name) ?? false
        case .pattern(let name): connection.resp.subscriptions?.patterns.contains(name) ?? false
        case .monitor: connection.resp.flags.contains(.monitor)
        }
    }
}

/// A message in both encodings.
struct MessageBytes: Sendable {
    let cause: MessageCause
    let resp2: [UInt8]
    let resp3: [UInt8]

    init(pattern: [UInt8]?, channel: [UInt8], message: [UInt8]) {
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
        cause = pattern.map { .pattern($0) } ?? .channel(channel)
        resp2 = encode(.resp2)
        resp3 = encode(.resp3)
    }

    /// A line for monitors, which is the same in both versions.
    init(monitorLine plain: [UInt8]) {
        cause = .monitor
        resp2 = plain
        resp3 = plain
    }

    /// As `post(to:)`, but the publisher's own copy is added to `own`: it follows the reply to its command.
    func post(to receivers: Publisher.Receivers, from publisher: Connection, own: inout [MessageBytes]) {
        guard receivers[ObjectIdentifier(publisher)] != nil else { return post(to: receivers.values) }
        own.append(self)
        post(to: receivers.values.lazy.filter { $0 !== publisher })
    }

    /// Sends the bytes to the loops of the receivers, one mailbox message per loop.
    func post(to receivers: some Sequence<Connection>) {
        var byLoop: [Int: [Connection]] = [:]
        for receiver in receivers { byLoop[receiver.loop.index, default: []].append(receiver) }
        for group in byLoop.values {
            group[0].loop.mailbox.post(.deliver(self, to: group))
        }
    }
}
