// Rate-limited log lines about client behavior that an operator should know of, so that clients cannot fill the log.
//
// An event is logged immediately if its host was not logged for the same kind in the last minute, up to a few hosts a
// minute. Other events are only counted: INFO counts all of them, and the next line of a kind reports how many were
// suppressed since the previous line.
//
// Holds no text from clients: the caller chooses what a line shows, and no caller shows a password.

import System

/// Rate limiter for log lines about clients. Thread-safe; a short lock, taken only when something is wrong.
final class ClientWarnings: Sendable {
    enum Event: Hashable {
        case http, tls, authentication, protectedMode, maxclients, eviction
    }

    /// Minimum time between two lines about the same host.
    static let interval = Nanoseconds.seconds(60)
    /// Hosts logged per interval, for each kind of event.
    static let hostsMax = 8

    private struct Record {
        /// When each host was last logged.
        var loggedAt: [String: SteadyInstant] = [:]
        /// Events suppressed since the last line.
        var suppressed = 0
    }

    private let records = Locked<[Event: Record]>([:])

    /// Records an event. Returns the number of events suppressed since the last line, or nil to suppress this one too.
    func note(_ event: Event, address: String, steady: SteadyInstant) -> Int? {
        let host = ClientWarnings.host(of: address)
        return records.withLock { records in
            var record = records[event] ?? Record()
            defer { records[event] = record }
            record.loggedAt = record.loggedAt.filter { steady - $0.value < ClientWarnings.interval }
            guard record.loggedAt[host] == nil, record.loggedAt.count < ClientWarnings.hostsMax else {
                record.suppressed += 1
                return nil
            }
            record.loggedAt[host] = steady
            defer { record.suppressed = 0 }
            return record.suppressed
        }
    }

    /// `[::1]:50123` without the port.
    private static func host(of address: String) -> String {
        String(address[..<(address.lastIndex(of: ":") ?? address.endIndex)])
    }
}

extension Server {
    /// Logs a warning about a client, rate-limited by `ClientWarnings`.
    func warn(
        _ event: ClientWarnings.Event, _ message: @autoclosure () -> String, address: String, id: Int64? = nil,
        bytes: Int? = nil
    ) {
        guard let suppressed = clientWarnings.note(event, address: address, steady: SteadyInstant.now()) else { return }
        var fields: LogFields = ["addr": .string(address)]
        if let id { fields.append("id", .integer(Int(id))) }
        if let bytes { fields.append("bytes", .integer(bytes)) }
        if suppressed > 0 { fields.append("not_logged_before", .integer(suppressed)) }
        log.warning(message(), fields)
    }
}
