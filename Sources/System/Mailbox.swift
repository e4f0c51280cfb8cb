// How other threads reach one that polls: a list of messages behind a lock, and a wake event.

/// Messages for one thread, which polls `wakeDescriptor`. Any thread posts.
public final class Mailbox<Message: Sendable>: Sendable {
    @usableFromInline let messages = Locked<[Message]>([], rank: .mailbox)
    @usableFromInline let wakeEvent: WakeEvent

    /// Readable while there are messages.
    public var wakeDescriptor: Int32 { wakeEvent.descriptor }

    /// Fails when the kernel has no descriptor left.
    public init() throws(SystemError) { wakeEvent = try WakeEvent() }

    /// Adds a message, and wakes the reader if it is the first.
    @inlinable
    public func post(_ message: Message) {
        let isFirst = messages.withLock { list in
            list.append(message)
            return list.count == 1
        }
        if isFirst { wakeEvent.signal() }
    }

    /// Wakes the reader without a message: there is something for it to see elsewhere.
    @inlinable
    public func wake() { wakeEvent.signal() }

    /// Takes all messages, oldest first. The reader's thread.
    @inlinable
    public func drain() -> [Message] {
        wakeEvent.clear()
        return messages.withLock { list in
            let taken = list
            list.removeAll()
            return taken
        }
    }
}
