// Messages of an event loop in transit to its connections, in order. Each receiver costs a system call, and a channel
// may have thousands, so a turn delivers as many as its time limit allows and the next one continues.

import RESP
import System

/// Messages and their remaining receivers. Belongs to its event loop.
struct Deliveries {
    /// While more messages than this are waiting, they are delivered regardless of the turn's time limit: this slows
    /// down publishers that are faster than their messages can be sent, and bounds memory.
    static let waitingMax = 1024

    private struct Delivery {
        let message: MessageBytes
        let receivers: [Connection]
        var next = 0
    }

    private var queue: [Delivery] = []
    private var head = 0

    var isEmpty: Bool { head == queue.count }

    /// Number of messages waiting.
    var count: Int { queue.count - head }

    mutating func append(_ message: MessageBytes, to receivers: [Connection]) {
        if !receivers.isEmpty { queue.append(Delivery(message: message, receivers: receivers)) }
    }

    /// Removes the next message for one receiver.
    mutating func removeFirst() -> (message: MessageBytes, receiver: Connection)? {
        guard head < queue.count else { return nil }
        let taken = (queue[head].message, queue[head].receivers[queue[head].next])
        queue[head].next += 1
        if queue[head].next == queue[head].receivers.count { dropFirst() }
        return taken
    }

    private mutating func dropFirst() {
        head += 1
        // Delivered entries are removed once they are the larger part: each entry is moved at most once.
        guard head * 2 > queue.count else { return }
        queue.removeFirst(head)
        head = 0
    }
}

extension EventLoop {
    /// Sends messages to their receivers until the turn's time limit.
    func deliverMessages() {
        while deliveries.count > Deliveries.waitingMax || !isTurnSpent {
            guard let (message, receiver) = deliveries.removeFirst() else { return }
            // A client that has left the channel meanwhile has had its confirmation, and would take this message for a
            // reply.
            if !receiver.flags.contains(.closed), message.cause.concerns(receiver) {
                deliver(receiver.resp.version == .resp3 ? message.resp3 : message.resp2, to: receiver)
            }
            lastTimestamp = SteadyInstant.now()
        }
    }
}
