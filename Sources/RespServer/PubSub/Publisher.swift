// The registry of channels, patterns and their subscribers. All loops share it; messages travel through their
// mailboxes.
//
// Lock order: after turn locks and stripes, before mailboxes. Only look-ups are done under the lock: matching patterns
// and building lists happen with nothing held.

import RESP
import System

/// What one connection is subscribed to. Belongs to the connection.
final class Subscriptions {
    var channels: Set<[UInt8]> = []
    var patterns: Set<[UInt8]> = []
    /// Bytes of the names and of the server's bookkeeping for them: bounded by client-query-buffer-limit.
    var bytes = 0
    var count: Int { channels.count + patterns.count }

    /// Bytes that a subscription uses besides its name: entries in two tables.
    static let overhead = 256
    /// Maximum length of a channel name, in bytes. Patterns have a bound of their own, GlobPattern.lengthMax.
    static let nameLengthMax = 64 << 10

    /// Removes a name from one of the sets. False if it was not a member.
    func remove(_ name: [UInt8], from names: ReferenceWritableKeyPath<Subscriptions, Set<[UInt8]>>) -> Bool {
        guard self[keyPath: names].remove(name) != nil else { return false }
        bytes -= name.count + Subscriptions.overhead
        return true
    }
}

/// The registry of subscriptions. Thread-safe.
final class Publisher: Sendable {
    typealias Receivers = [ObjectIdentifier: Connection]

    /// A pattern with at least one subscriber.
    ///
    /// `@unchecked Sendable`: `receivers` and `place` are accessed only with the publisher's lock held; the rest is
    /// immutable.
    final class Pattern: @unchecked Sendable {
        let name: [UInt8]
        let glob: GlobPattern
        fileprivate var receivers: Receivers = [:]
        /// Position in the list of patterns.
        fileprivate var place: Int

        fileprivate init(_ name: [UInt8], place: Int) {
            self.name = name
            glob = GlobPattern(name)
            self.place = place
        }
    }

    fileprivate struct State {
        var channels: [[UInt8]: Receivers] = [:]
        var patterns: [[UInt8]: Pattern] = [:]
        /// The same patterns as a list: PUBLISH shares it without a copy.
        var list: [Pattern] = []
    }

    private let state = Locked(State())

    // MARK: Subscribing

    func subscribe(_ connection: Connection, channel: [UInt8]) {
        state.withLock { $0.channels[channel, default: [:]][ObjectIdentifier(connection)] = connection }
    }

    /// - Precondition: The pattern is `GlobPattern.lengthMax` bytes at most.
    func subscribe(_ connection: Connection, pattern name: [UInt8]) {
        state.withLock { state in
            if state.patterns[name] == nil {
                let pattern = Pattern(name, place: state.list.count)
                state.patterns[name] = pattern
                state.list.append(pattern)
            }
            state.patterns[name]!.receivers[ObjectIdentifier(connection)] = connection
        }
    }

    func unsubscribe(_ connection: Connection, channel: [UInt8]) {
        state.withLock { $0.remove(connection, channel: channel) }
    }

    func unsubscribe(_ connection: Connection, pattern: [UInt8]) {
        state.withLock { $0.remove(connection, pattern: pattern) }
    }

    func unsubscribeAll(_ connection: Connection) {
        guard let subscriptions = connection.resp.subscriptions else { return }
        state.withLock { state in
            for channel in subscriptions.channels { state.remove(connection, channel: channel) }
            for pattern in subscriptions.patterns { state.remove(connection, pattern: pattern) }
        }
        connection.resp.subscriptions = nil
    }

    // MARK: Look-up

    /// The connections subscribed to a channel.
    func receivers(channel: [UInt8]) -> Receivers { state.withLock { $0.channels[channel] ?? [:] } }

    /// The connections subscribed to a pattern.
    func receivers(_ pattern: Pattern) -> Receivers { state.withLock { _ in pattern.receivers } }

    /// The connections subscribed to a channel and all patterns, at this instant.
    func audience(channel: [UInt8]) -> (receivers: Receivers, patterns: [Pattern]) {
        state.withLock { state in (state.channels[channel] ?? [:], state.list) }
    }

    /// All channels at this instant.
    var channels: [[UInt8]: Receivers] { state.withLock { $0.channels } }

    func subscriberCount(of channel: [UInt8]) -> Int { state.withLock { $0.channels[channel]?.count ?? 0 } }

    var channelCount: Int { state.withLock { $0.channels.count } }
    var patternCount: Int { state.withLock { $0.list.count } }
}

extension Publisher.State {
    fileprivate mutating func remove(_ connection: Connection, channel: [UInt8]) {
        channels[channel]?[ObjectIdentifier(connection)] = nil
        if channels[channel]?.isEmpty == true { channels[channel] = nil }
    }

    fileprivate mutating func remove(_ connection: Connection, pattern name: [UInt8]) {
        guard let pattern = patterns[name] else { return }
        pattern.receivers[ObjectIdentifier(connection)] = nil
        guard pattern.receivers.isEmpty else { return }
        patterns[name] = nil
        let last = list.removeLast()
        guard last !== pattern else { return }
        list[pattern.place] = last
        last.place = pattern.place
    }
}
