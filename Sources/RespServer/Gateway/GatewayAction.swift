// The routes of the check API: from a request's body to calls of the batch, and from decisions to answers.
//
// A route's code runs in `read`: it writes its calls starting at `loop.batch.next`, where there is room for one; a
// request that needs more room first calls `loop.decideBatch()`. It copies keys into `loop.batch.keyMemory` (after
// `hasKeyMemory`), or leaves them in the request, which stays in memory until the batch is decided. A malformed request
// throws HTTPProblem and leaves the batch unchanged. It has been admitted already: the row's `command` names the
// command whose flags decide that. A route that answers at once first has the batch decided, since all answers of a
// loop are built in the same response.
//
// `write` fills the response from the decided call or group, whose note `read` has prepared.
//
//   GatewayBody, GatewayReaders   bodies and queries          GatewayAuth      the identity that a proxy reports
//   GatewayAnswers                decisions as answers        GatewayRoutes    the rows of the table

import HTTP
import LimiterEngine

/// What a route of the check API does.
enum GatewayAction: Sendable {
    case check, take, peek, refund, takeAll, status, auth
    /// On the admin listener.
    case command(AdminCommand)
    /// Paths of other services.
    case compat(CompatAction)
    case compatCommand(CompatCommand)
    case compatHealth, compatBreaker

    /// Whether it only adds calls to the batch. Others are deferred in a turn that has lasted long.
    var isBatched: Bool {
        switch self {
        case .check, .take, .peek, .refund, .takeAll, .status, .auth, .compat: true
        case .command, .compatCommand, .compatHealth, .compatBreaker: false
        }
    }

    /// Reads the request into calls of the batch, or answers it.
    func read(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        GatewayCorrelation.note(&exchange)
        return switch self {
        case .check:
            if exchange.loop.settings.httpCompat, CompatReaders.isLimitKeyBody(exchange.request.body) {
                try CompatReaders.limitKey(&exchange)
            } else {
                try GatewayReaders.check(&exchange)
            }
        case .take: try GatewayReaders.limit(.take, &exchange)
        case .peek: try GatewayReaders.limit(.peek, &exchange)
        case .refund: try GatewayReaders.limit(.refund, &exchange)
        case .takeAll: try GatewayReaders.takeAll(&exchange)
        case .status: try GatewayReaders.status(&exchange)
        case .auth: try GatewayAuth.read(&exchange)
        case .command(let command): try command.read(&exchange)
        case .compat(let action): try action.read(&exchange)
        case .compatCommand(let command): try command.read(&exchange)
        case .compatHealth: try CompatStatus.health(&exchange)
        case .compatBreaker: try CompatStatus.breaker(&exchange)
        }
    }

    /// Fills the loop's response from a decided call, the first one of `group` if the note's form is that of a group.
    /// Returns the text if the call failed, for the statistics of errors.
    static func write(
        _ note: HTTPNote, _ call: UnsafeMutablePointer<LimitCall>, _ group: KeyspaceSession.Group?, on loop: EventLoop
    ) -> String? {
        if let group { return GatewayAnswers.write(note, call, group, on: loop) }
        return GatewayAnswers.write(note, call, on: loop)
    }
}
