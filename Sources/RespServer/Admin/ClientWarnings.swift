// What clients do that an operator has to know, said in the log without letting them fill it.
//
// Each kind of event is logged at once for a host that has not been named for a minute, and for a few hosts a minute.
// The others are counted: INFO has all events, and the next line about a kind has how many came since the last one.
//
// Owns no text of a client's: what a line shows is the caller's to choose, and no caller shows a password.

import System

/// Lines about clients, few a minute. Thread-safe; a short lock, taken only where something is wrong.
final class ClientWarnings: Sendable {
    enum Event: Hashable {
        case http, tls, authentication, protectedMode, maxclients, eviction
    }

    /// How long a host is not named again.
    static let interval = Nanoseconds.seconds(60)
    /// Hosts named in that time, for each kind of event.
    static let hostsMax = 8

    private struct Record {
        /// When a host was named last.
        var saidAt: [String: SteadyInstant] = [:]
        /// Events not said since the last line.
        var unsaid = 0
    }

    private let records = Locked<[Event: Record]>([:])

    /// Notes an event. Returns what its line has to say of others since the last one; nil when there is to be no line.
    func note(_ event: Event, address: String, steady: SteadyInstant) -> Int? {
        let host = ClientWarnings.host(of: address)
        return records.withLock { records in
            var record = records[event] ?? Record()
            defer { records[event] = record }
            record.saidAt = record.saidAt.filter { steady - $0.value < ClientWarnings.interval }
            guard record.saidAt[host] == nil, record.saidAt.count < ClientWarnings.hostsMax else {
                record.unsaid += 1
                return nil
            }
            record.saidAt[host] = steady
            defer { record.unsaid = 0 }
            return record.unsaid
        }
    }

    /// `[::1]:50123` without the port.
    private static func host(of address: String) -> String {
        String(address[..<(address.lastIndex(of: ":") ?? address.endIndex)])
    }
}

extension Server {
    /// Tells the log of something that a client does, unless enough has been said of it lately.
    func warn(
        _ event: ClientWarnings.Event, _ message: @autoclosure () -> String, address: String, id: Int64? = nil,
        bytes: Int? = nil
    ) {
        guard let unsaid = clientWarnings.note(event, address: address, steady: SteadyInstant.now()) else { return }
        var fields: LogFields = ["addr": .string(address)]
        if let id { fields.append("id", .integer(Int(id))) }
        if let bytes { fields.append("bytes", .integer(bytes)) }
        if unsaid > 0 { fields.append("not_logged_before", .integer(unsaid)) }
        log.warning(message(), fields)
    }
}
