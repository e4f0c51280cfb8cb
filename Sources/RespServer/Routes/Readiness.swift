// Whether the server can do its work now: GET /ready, and the metric of that name.

import HTTP

/// Reasons why requests should go to another server.
struct Readiness: OptionSet, Sendable {
    let rawValue: UInt8

    /// The state is being recovered, or received from the primary.
    static let loading = Readiness(rawValue: 1 << 0)
    static let stopping = Readiness(rawValue: 1 << 1)
    /// The disk has failed, and writes are refused without it.
    static let diskFailed = Readiness(rawValue: 1 << 2)
    /// The link to the primary is down, and stale data must not be served.
    static let linkDown = Readiness(rawValue: 1 << 3)

    /// Names for the body of /ready, in order.
    static let names: [(Readiness, StaticString)] = [
        (.loading, "loading"), (.stopping, "shutting_down"), (.diskFailed, "disk_failed"), (.linkDown, "link_down"),
    ]

    /// The reasons in this state.
    init(_ state: ServerState, isStopping: Bool) {
        self = []
        if !state.isDisjoint(with: [.loading, .receiving, .restoring]) { insert(.loading) }
        if isStopping { insert(.stopping) }
        if state.contains(.diskFailed) { insert(.diskFailed) }
        if !state.isDisjoint(with: [.stale, .lacksState]) { insert(.linkDown) }
    }

    init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Answers GET /ready.
    func answer(to response: HTTPResponse) {
        response.begin(isEmpty ? .ok : .unavailable, .json)
        if !isEmpty { response.field("Retry-After", 1) }
        response.body.append(isEmpty ? "{\"ready\":true,\"reasons\":[" : "{\"ready\":false,\"reasons\":[")
        var isFirst = true
        for (reason, name) in Readiness.names where contains(reason) {
            response.body.append(isFirst ? "\"" : ",\"")
            response.body.append(name)
            response.body.append("\"")
            isFirst = false
        }
        response.body.append("]}\n")
    }
}
