// From the bytes of an HTTP connection to its requests, and requests that are not valid HTTP.

import HTTP
import RESP

extension HTTPSession {
    /// Parses and runs everything complete in `count` bytes from `base`. Returns how many bytes were consumed; the rest
    /// is an incomplete request, or input that has to wait.
    func consume(_ base: UnsafePointer<UInt8>, count: Int, of connection: Connection, on loop: EventLoop) -> Int {
        var parser = parser
        defer { self.parser = parser }
        var offset = 0
        loop.isTimestampFresh = false
        while offset < count {
            switch parser.parse(base + offset, count: count - offset, into: loop.http.scratch) {
            case .request(let request):
                guard loop.dispatch(request, connection, self) else {
                    // Suspended: this request is run again later, from its first byte.
                    parser.startNext()
                    return offset
                }
                // The next chunked body overwrites this one, so no call may wait that refers to it.
                if parser.usesScratch { loop.decideBatch() }
                offset &+= parser.consumed
                parser.startNext()
                noteRequest()
                if !connection.isFastPathEligible {
                    if !connection.flags.isDisjoint(with: [.closeAfterReply, .closed]) { return count }
                    if !connection.flags.isDisjoint(with: [.blocked, .congested]) { return offset }
                }
            case .incomplete:
                return offset
            case .awaitsContinue:
                loop.decideBatch()
                loop.reply.append("HTTP/1.1 100 Continue\r\n\r\n")
                loop.endReply()
                return offset
            case .failure(let refusal):
                loop.refuse(refusal, connection, self)
                return count
            }
        }
        return offset
    }
}
