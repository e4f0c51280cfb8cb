// What the answer to a limiter call over HTTP needs to know besides the decision. The loop keeps one for each call of
// its batch.

import HTTP
import System

/// The facts of a request from which its answer is formatted once the batch is decided. Of fixed size: no references.
struct HTTPNote {
    struct Flags: OptionSet {
        let rawValue: UInt8

        /// HEAD: the body is not sent.
        static let isHead = Flags(rawValue: 1 << 0)
        /// The connection is closed after the answer.
        static let closes = Flags(rawValue: 1 << 1)
        static let isVersion10 = Flags(rawValue: 1 << 2)
        /// The request has an idempotency token.
        static let hasToken = Flags(rawValue: 1 << 3)
        /// `?status=200`: a refusal has the status of success.
        static let refusesWith200 = Flags(rawValue: 1 << 4)
    }

    /// When the request was read.
    var began: SteadyInstant
    /// Position in the table of routes.
    var route: UInt8
    var method: HTTPMethod
    var flags: Flags = []
    /// How the gateway formats the answer; defined by it.
    var form: UInt8 = 0
    /// The status of a refusal.
    var denyStatus: UInt16 = 429
    /// Which families of RateLimit fields the answer has; defined by the gateway.
    var families: UInt8 = 0
    /// A small number that the gateway keeps.
    var small: UInt8 = 0
    /// Bytes that stay in memory until the batch is decided: of the request, or from `batch.keyMemory`. For the
    /// gateway: the names of a policy and a rule.
    var text = ByteView.empty
    /// A number that the gateway keeps.
    var number: Int64 = 0
    /// The request's X-Correlation-ID; if it is empty, and `madeCorrelation` is not 0, the answer has that.
    var correlation = ByteView.empty
    var madeCorrelation: UInt64 = 0
}
