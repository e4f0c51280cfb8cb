// PUBLISH and PUBSUB CHANNELS as sliced work: both match one name or pattern against everything that clients have
// subscribed to.

import LimiterEngine
import RESP

/// PUBLISH: a message to the subscribers of a channel and of the patterns that match it. A connection with several
/// matching patterns gets it once for each.
///
/// First all patterns are matched, then everything is sent, so a PUBLISH that ends early has reached no receiver. A
/// client that subscribes meanwhile may or may not get the message.
final class PublishWork: SlicedWork {
    private let publisher: Publisher
    private let channel: [UInt8]
    private let message: [UInt8]
    private let sender: Connection
    private(set) var ownMessages: [MessageBytes] = []
    private let patterns: [Publisher.Pattern]
    private var matched: [Publisher.Pattern] = []
    private var nextPattern = 0
    private var nextDelivery = 0
    private var hasReachedChannel = false
    private var receiverCount = 0

    /// Steps that a receiver costs, and how many bytes of a message cost one step.
    private static let stepsPerReceiver = 50
    private static let bytesPerStep = 8

    init(
        _ publisher: Publisher, patterns: [Publisher.Pattern], channel: [UInt8], message: [UInt8],
        from sender: Connection
    ) {
        self.publisher = publisher
        self.patterns = patterns
        self.channel = channel
        self.message = message
        self.sender = sender
    }

    func advance(_ keyspace: KeyspaceSession, now: EngineTime, _ budget: inout StepBudget) -> Bool {
        channel.withUnsafeBufferPointer { name in
            while nextPattern < patterns.count, !budget.isSpent {
                if patterns[nextPattern].glob.matches(name, budget: &budget) { matched.append(patterns[nextPattern]) }
                nextPattern += 1
            }
        }
        guard nextPattern == patterns.count else { return false }
        // Inside EXEC, a PUBLISH that has begun sending is completed.
        while budget.isFinal || !budget.isSpent {
            if !hasReachedChannel {
                hasReachedChannel = true
                send(to: publisher.receivers(channel: channel), pattern: nil, &budget)
            } else if nextDelivery < matched.count {
                let pattern = matched[nextDelivery]
                nextDelivery += 1
                send(to: publisher.receivers(pattern), pattern: pattern.name, &budget)
            } else {
                return true
            }
        }
        return nextDelivery == matched.count
    }

    private func send(to receivers: Publisher.Receivers, pattern: [UInt8]?, _ budget: inout StepBudget) {
        guard !receivers.isEmpty else { return }
        MessageBytes(pattern: pattern, channel: channel, message: message)
            .post(to: receivers, from: sender, own: &ownMessages)
        receiverCount += receivers.count
        budget.steps -= receivers.count * PublishWork.stepsPerReceiver + message.count / PublishWork.bytesPerStep
    }

    func writeReply(to reply: ReplyBuffer) { reply.integer(receiverCount) }

    var mustFinish: Bool { hasReachedChannel }

    var refusalInTransaction: String {
        "ERR PUBLISH in a transaction: matching the channel with this many patterns takes too long; nothing was sent"
    }
}

/// PUBSUB CHANNELS: the channels that have subscribers and match the pattern, if there is one.
final class ChannelsWork: SlicedWork {
    private let pattern: GlobPattern?
    private let channels: [[UInt8]: Publisher.Receivers]
    private var next: Dictionary<[UInt8], Publisher.Receivers>.Index
    private let found = ReplyPieces()
    private var count = 0

    init(_ publisher: Publisher, _ pattern: GlobPattern?) {
        self.pattern = pattern
        channels = publisher.channels
        next = channels.startIndex
    }

    func advance(_ keyspace: KeyspaceSession, now: EngineTime, _ budget: inout StepBudget) -> Bool {
        while next != channels.endIndex, !budget.isSpent {
            let name = channels[next].key
            next = channels.index(after: next)
            budget.steps -= budget.stepsPerKey
            let isWanted = name.withUnsafeBufferPointer { pattern?.matches($0, budget: &budget) ?? true }
            guard isWanted else { continue }
            found.buffer.bulk(name)
            found.endElement()
            count += 1
        }
        return next == channels.endIndex
    }

    func writeReply(to reply: ReplyBuffer) { reply.array(count) }

    var elements: ReplyPieces? { found }

    var refusalInTransaction: String {
        "ERR PUBSUB CHANNELS in a transaction: the pattern takes too long to match with this many channels"
    }
}
