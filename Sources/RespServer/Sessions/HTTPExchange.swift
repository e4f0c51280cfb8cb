// One request over HTTP on its way to an answer: what a route's code receives.

import HTTP
import LimiterEngine
import RESP
import System

/// A request, and where its answer is written. Valid until the route's code returns.
struct HTTPExchange {
    let request: HTTPRequest
    let parameters: HTTPPathParameters
    let connection: Connection
    unowned(unsafe) let loop: EventLoop
    /// Set for the answer; a route's code may change it before it adds calls or answers.
    var note: HTTPNote

    /// The answer: begun and filled by the route's code, sent by the session.
    var response: HTTPResponse { loop.http.response }

    /// Whether the request came in on the admin listener.
    var isAdmin: Bool {
        if case .http(let session) = connection.session { session.listener == .admin } else { false }
    }
}

/// What a route of the gateway has done.
enum GatewayStep {
    /// It has filled `response`.
    case answered
    /// It has written this many calls, beginning at `loop.batch.next`, which are answered one by one: 1.
    case call
    /// It has written this many calls, which are an all-or-nothing call.
    case group(Int)
    /// It is answered later: the connection is blocked until then.
    case waits
}
