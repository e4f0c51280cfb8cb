// From decisions to HTTP responses.

import HTTP
import LimiterEngine

extension HTTPSession {
    /// Writes the response to a decided request: to `call`, or to the `group` of calls that begins there. Returns the
    /// error text if the call failed.
    @inline(never)
    static func answer(
        _ call: UnsafeMutablePointer<LimitCall>, _ group: KeyspaceSession.Group?, on loop: EventLoop
    ) -> String? {
        let note = loop.http.notes[call - loop.batch.calls]
        let problem = GatewayAction.write(note, call, group, on: loop)
        loop.append(loop.http.response, note)
        return problem
    }
}
