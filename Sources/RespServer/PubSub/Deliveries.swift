// Messages of an event loop that are on their way to its connections, in order. Each receiver is a system call, and a
// channel may have thousands, so a turn delivers as long as it may last and the next one continues.

import RESP
import System

/// Messages and who still gets them. Belongs to its event loop.
struct Deliveries {
    /// More messages than this are delivered however long it takes: publishers that are faster than their messages can
    /// be sent are held up by it, and memory stays bounded.
    static let waitingMax = 1024

    private struct Delivery {
        let message: MessageBytes
        let receivers: [Connection]
        var next = 0
    }

    private var queue: [Delivery] = []
    private var head = 0

    var isEmpty: Bool { head == queue.count }

    /// Messages waiting.
    var count: Int { queue.count - head }

    mutating func append(_ message: MessageBytes, to receivers: [Connection]) {
        if !receivers.isEmpty { queue.append(Delivery(message: message, receivers: receivers)) }
    }

    /// Takes the next message for one receiver.
    mutating func removeFirst() -> (message: MessageBytes, receiver: Connection)? {
        guard head < queue.count else { return nil }
        let taken = (queue[head].message, queue[head].receivers[queue[head].next])
        queue[head].next += 1
        if queue[head].next == queue[head].receivers.count { dropFirst() }
        return taken
    }

    private mutating func dropFirst() {
        head += 1
        // What has been delivered is let go of once it is the larger part: everything is moved once at most.
        guard head * 2 > queue.count else { return }
        queue.removeFirst(head)
        head = 0
    }
}

extension EventLoop {
    /// Sends messages to their receivers as long as the turn may last.
    func deliverMessages() {
        while deliveries.count > Deliveries.waitingMax || !isTurnSpent {
            guard let (message, receiver) = deliveries.removeFirst() else { return }
            // A client that has left the channel in the meantime has been told so, and would take this for a reply.
            if !receiver.flags.contains(.closed), message.cause.concerns(receiver) {
                deliver(receiver.resp.version == .resp3 ? message.resp3 : message.resp2, to: receiver)
            }
            lastTimestamp = SteadyInstant.now()
        }
    }
}
