// Sends messages to a thread that polls: a list of messages behind a lock, and a wake event.

/// Messages for one thread, which polls `wakeDescriptor`. Any thread may post.
public final class Mailbox<Message: Sendable>: Sendable {
    @usableFromInline let messages = Locked<[Message]>([], rank: .mailbox)
    @usableFromInline let wakeEvent: WakeEvent

    /// Readable while there are messages.
    public var wakeDescriptor: Int32 { wakeEvent.descriptor }

    /// Throws if the process has no descriptor left.
    public init() throws(SystemError) { wakeEvent = try WakeEvent() }

    /// Adds a message, and wakes the reader if the list was empty.
    @inlinable
    public func post(_ message: Message) {
        let isFirst = messages.withLock { list in
            list.append(message)
            return list.count == 1
        }
        if isFirst { wakeEvent.signal() }
    }

    /// Wakes the reader without a message: there is work for it elsewhere.
    @inlinable
    public func wake() { wakeEvent.signal() }

    /// Removes and returns all messages, oldest first. Call on the reader's thread.
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
