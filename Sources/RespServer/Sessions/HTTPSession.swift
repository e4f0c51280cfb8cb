// A client's HTTP session: the progress of its parser, and which listener it belongs to.
//
// Owns all state of a connection that is specific to HTTP. It sets no flag in the word that it shares with the
// connection, so its limiter calls are on the fast path like those of any session.
//
// Threads: the same as its connection.
//
// Other files: +Input (from bytes to requests), +Answers (from decisions to bytes); of the loop, EventLoop+HTTP (from a
// request to its route).

import HTTP
import System
import Transport

/// A session in HTTP/1.1. Belongs to one connection.
final class HTTPSession {
    /// The listener that accepted the connection.
    let listener: HTTPListeners
    private let fields: Pinned<ConnectionFields>
    var parser = HTTPRequestParser()
    /// When the first byte of the incomplete request in the kept input arrived; nil if no input is kept.
    private(set) var requestBegan: SteadyInstant?

    /// The request whose command has left work for another thread.
    var pending: PendingHTTPAnswer?
    /// The address of the peer, once it has been asked for.
    private var knownPeer: IPAddress??

    /// How much larger a session's object is than one in RESP.
    static let excessMemory = 256

    init(_ listener: HTTPListeners, sharing fields: Pinned<ConnectionFields>) {
        self.listener = listener
        self.fields = fields
    }

    /// The address of the peer; nil if it is not an IP address. Asks the kernel once.
    func peer(of connection: Connection) -> IPAddress? {
        if let knownPeer { return knownPeer }
        let peer = IPAddress(peerOf: connection.channel.stream.descriptor)
        knownPeer = .some(peer)
        return peer
    }

    /// Remembers that the input kept begins with an incomplete request.
    func keepPlace(at now: SteadyInstant) {
        if requestBegan == nil { requestBegan = now }
    }

    /// No incomplete request is kept any more.
    func forgetPlace() {
        requestBegan = nil
        parser.startNext()
    }

    /// Makes the incomplete request appear to have begun this much earlier, for tests.
    func age(by length: Nanoseconds) { requestBegan = requestBegan.map { $0 - length } }

    /// A request is complete, or was not read for a while: it or the next one has its own time to arrive.
    func noteRequest() { requestBegan = nil }

    /// Shown by CLIENT LIST: the last command as which a request was counted.
    func noteCommand(_ command: Int16) {
        fields.pointee.lastCommand = command
        fields.pointee.lastSubcommand = -1
    }

    /// Counts bytes by listener.
    @inline(never)
    func note(received: Int, sent: Int, on counters: LoopCounters) {
        let isAdmin = listener == .admin
        if received > 0 { counters.add(isAdmin ? .adminInputBytes : .gatewayInputBytes, UInt64(received)) }
        if sent > 0 { counters.add(isAdmin ? .adminOutputBytes : .gatewayOutputBytes, UInt64(sent)) }
    }

    // MARK: Time

    /// Whether an incomplete request, or the next one, has taken too long to arrive.
    func isOverdue(_ connection: Connection, at now: SteadyInstant, _ settings: Settings) -> Bool {
        if let requestBegan, !connection.flags.contains(.congested) {
            return now - requestBegan > .seconds(settings.httpRequestTimeoutSeconds)
        }
        return now - connection.lastActiveAt > .seconds(settings.httpIdleTimeoutSeconds)
    }

    /// Tells a client whose request is incomplete that the server waits no longer.
    func sendFarewell(to connection: Connection) {
        guard requestBegan != nil, !connection.channel.hasOutput, connection.held == nil else { return }
        let loop = connection.loop
        let response = loop.http.response
        response.begin(HTTPProblem(.requestTimeout, "the request did not arrive within http-request-timeout"))
        let note = HTTPNote(
            began: loop.steady, route: UInt8(RouteTable.all.count), method: .other, flags: .closes)
        let head = response.formatHead(at: loop.unixSeconds, .close, common: HTTPLoop.commonFields)
        loop.send(connection, head.buffer[...])
        loop.send(connection, response.body.bytes[...])
        loop.http.statistics.count(note, response.status, took: .zero)
    }
}
