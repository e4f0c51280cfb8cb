// From decisions to the answers of the check API: status, RateLimit fields, body.
//
// Runs for every request in a batch, so nothing here allocates unless a call has failed.

import HTTP
import LimiterEngine
import RESP
import System

/// How an answer is formatted: `HTTPNote.form`.
enum GatewayForm: UInt8 {
    /// 200, or 429 with the decision in a problem document.
    case decision
    /// Always 200: nothing was requested that could be refused.
    case state
    /// All-or-nothing.
    case group
    /// For proxies: no body, and the status they expect.
    case auth
    /// Forms of other services: see CompatReaders.
    case tier, limitKey, consume, throttle, envoy
}

enum GatewayAnswers {
    static func write(_ note: HTTPNote, _ call: UnsafeMutablePointer<LimitCall>, on loop: EventLoop) -> String? {
        guard call.pointee.decision.isAnswer else { return fail(note, call, on: loop) }
        let isDenied = call.pointee.decision.outcome == .denied
        let form = GatewayForm(rawValue: note.form)!
        switch form {
        case .decision where isDenied && !note.flags.contains(.refusesWith200): refusal(note, call, on: loop)
        case .decision, .state: decision(note, call, on: loop)
        case .auth: auth(note, call, isDenied: isDenied, on: loop)
        case .tier, .limitKey, .consume, .throttle:
            CompatAnswers.write(form, call, on: loop)
            addFields(note, call, on: loop)
        case .group, .envoy: preconditionFailure("a group has its own function")
        }
        GatewayCorrelation.addField(note, to: loop.http.response)
        return nil
    }

    // MARK: One limit

    private static func decision(_ note: HTTPNote, _ call: UnsafeMutablePointer<LimitCall>, on loop: EventLoop) {
        let response = loop.http.response
        response.begin(.ok, .json)
        addFields(note, call, on: loop)
        response.body.append(byte: UInt8(ascii: "{"))
        members(note, call, to: response.body)
        response.body.append("}\n")
    }

    private static func refusal(_ note: HTTPNote, _ call: UnsafeMutablePointer<LimitCall>, on loop: EventLoop) {
        let response = loop.http.response
        response.begin(.tooManyRequests, .problem)
        addFields(note, call, on: loop)
        RateLimitFields.writeRetryAfter(nanoseconds: call.pointee.decision.retryAfter, to: response.lines)
        _ = Problem.begin(.quotaExceeded, to: response.body)
        response.body.append(",\"violated-policies\":[")
        response.body.appendJSON(string: GatewayItems.name(note))
        response.body.append("],")
        members(note, call, to: response.body)
        response.body.append("}\n")
    }

    /// The members of a decision, the same names as the reply of RL.TAKE in RESP3.
    static func members(_ note: HTTPNote, _ call: UnsafeMutablePointer<LimitCall>, to body: ByteWriter) {
        let wait = call.pointee.decision.retryAfter
        body.append(
            call.pointee.decision.outcome == .allowed
                ? "\"allowed\":true,\"granted\":" : "\"allowed\":false,\"granted\":"
        )
        body.append(call.pointee.decision.granted)
        body.append(",\"limit\":")
        body.append(call.pointee.decision.limit)
        body.append(",\"remaining\":")
        body.append(call.pointee.decision.remaining)
        body.append(",\"retry_after_ms\":")
        body.append(wait < 0 ? -1 : ceilingUnits(wait, unit: millisecond))
        body.append(",\"reset_after_ms\":")
        body.append(ceilingUnits(call.pointee.decision.resetAfter, unit: millisecond))
        body.append(",\"policy\":")
        note.text.isEmpty ? body.append("null") : body.appendJSON(string: note.text.buffer)
        body.append(",\"rule\":")
        rule(note, call, to: body)
        body.append(call.pointee.decision.isShadowed ? ",\"shadow\":true" : ",\"shadow\":false")
    }

    private static var millisecond: Int64 { 1_000_000 }

    /// The subject of the rule: of the names in the key, those that the rule has, and `*` for the others.
    private static func rule(_ note: HTTPNote, _ call: UnsafeMutablePointer<LimitCall>, to body: ByteWriter) {
        guard note.small & HTTPNote.hasRule != 0 else { return body.append("null") }
        let names = CheckKey.names(call.pointee.keyBytes)
        body.append("[")
        name(names.tenant, isNamed: note.small & 1 != 0, to: body)
        body.append(",")
        name(names.client, isNamed: note.small & 2 != 0, to: body)
        body.append(",")
        name(names.action, isNamed: note.small & 4 != 0, to: body)
        body.append("]")
    }

    private static func name(_ name: UnsafeRawBufferPointer, isNamed: Bool, to body: ByteWriter) {
        isNamed ? body.appendJSON(string: name.assumingMemoryBound(to: UInt8.self)) : body.append("\"*\"")
    }

    // MARK: Proxies

    private static func auth(
        _ note: HTTPNote, _ call: UnsafeMutablePointer<LimitCall>, isDenied: Bool, on loop: EventLoop
    ) {
        let response = loop.http.response
        if isDenied {
            response.begin(HTTPStatus(rawValue: note.denyStatus), .problem)
            // The client sees this body: it is the same for all, and contains no name.
            var writer = Problem.begin(.quotaExceeded, status: Int(note.denyStatus), to: response.body)
            writer.endObject()
            response.body.append("\n")
        } else {
            response.begin(.ok)
        }
        addFields(note, call, on: loop)
        if isDenied {
            RateLimitFields.writeRetryAfter(nanoseconds: call.pointee.decision.retryAfter, to: response.lines)
        }
        if note.text.buffer.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) {
            response.beginField("X-Limit-Policy").append(note.text)
            response.endField()
        }
    }

    // MARK: Groups

    static func write(
        _ note: HTTPNote, _ calls: UnsafeMutablePointer<LimitCall>, _ group: KeyspaceSession.Group, on loop: EventLoop
    ) -> String? {
        var refused: Int?
        var wait: Int64 = -1
        switch group.outcome {
        case .allowed: break
        case .denied(let first, let retryAfter):
            for position in 0..<group.count where !calls[position].decision.isAnswer {
                return fail(note, calls + position, prefix: "limits[\(position)]: ", on: loop)
            }
            (refused, wait) = (first, retryAfter)
        case .sameKey(let first, let second):
            let text = "limits[\(first)] and limits[\(second)] have the same key, which holds one state"
            loop.http.response.begin(HTTPProblem(.invalidField, text, field: "limits[\(second)].key"))
            GatewayCorrelation.addField(note, to: loop.http.response)
            return "ERR \(text)"
        case .tooMany: preconditionFailure("the number of limits has been checked")
        }
        if note.form == GatewayForm.envoy.rawValue {
            EnvoyAnswer.write(note, calls, count: group.count, isAllowed: refused == nil, on: loop)
            addFields(loop.http.notes + (calls - loop.batch.calls), calls, count: group.count, on: loop)
            if refused != nil { RateLimitFields.writeRetryAfter(nanoseconds: wait, to: loop.http.response.lines) }
            GatewayCorrelation.addField(note, to: loop.http.response)
            return nil
        }
        let response = loop.http.response
        let isProblem = refused != nil && !note.flags.contains(.refusesWith200)
        response.begin(isProblem ? .tooManyRequests : .ok, isProblem ? .problem : .json)
        let notes = loop.http.notes + (calls - loop.batch.calls)
        addFields(notes, calls, count: group.count, on: loop)
        if isProblem {
            RateLimitFields.writeRetryAfter(nanoseconds: wait, to: response.lines)
            _ = Problem.begin(.quotaExceeded, to: response.body)
            violated(notes, calls, count: group.count, to: response.body)
            response.body.append(",")
        } else {
            response.body.append("{")
        }
        response.body.append(refused == nil ? "\"allowed\":true,\"granted\":" : "\"allowed\":false,\"granted\":")
        // One cost applies to all limits.
        response.body.append(refused == nil ? calls[0].demand.units : 0)
        response.body.append(",\"refused\":")
        if let refused {
            response.body.appendJSON(string: calls[refused].keyBytes.assumingMemoryBound(to: UInt8.self))
        } else {
            response.body.append("null")
        }
        response.body.append(",\"retry_after_ms\":")
        response.body.append(wait < 0 ? -1 : ceilingUnits(wait, unit: millisecond))
        response.body.append(",\"limits\":[")
        for position in 0..<group.count {
            response.body.append(position == 0 ? "{" : ",{")
            members(notes[position], calls + position, to: response.body)
            response.body.append("}")
        }
        response.body.append("]}\n")
        GatewayCorrelation.addField(note, to: response)
        return nil
    }

    private static func violated(
        _ notes: UnsafePointer<HTTPNote>, _ calls: UnsafePointer<LimitCall>, count: Int, to body: ByteWriter
    ) {
        body.append(",\"violated-policies\":[")
        var isFirst = true
        for position in 0..<count where calls[position].decision.outcome == .denied {
            if !isFirst { body.append(",") }
            isFirst = false
            body.appendJSON(string: GatewayItems.name(notes[position]))
        }
        body.append("]")
    }

    // MARK: RateLimit fields

    private static func addFields(_ note: HTTPNote, _ call: UnsafeMutablePointer<LimitCall>, on loop: EventLoop) {
        withUnsafePointer(to: note) { addFields($0, call, count: 1, on: loop) }
    }

    private static func addFields(
        _ notes: UnsafePointer<HTTPNote>, _ calls: UnsafeMutablePointer<LimitCall>, count: Int, on loop: EventLoop
    ) {
        let families = loop.settings.httpRateLimitHeaders
        guard !families.isEmpty else { return }
        withUnsafeTemporaryAllocation(of: RateLimitItem.self, capacity: count) { items in
            var itemCount = 0
            for position in 0..<count {
                guard let item = GatewayItems.item(notes[position], calls + position) else { continue }
                items.initializeElement(at: itemCount, to: item)
                itemCount += 1
            }
            RateLimitFields.write(
                UnsafeBufferPointer(rebasing: items[..<itemCount]), families, unixSeconds: loop.unixSeconds,
                to: loop.http.response.lines)
        }
    }

    // MARK: Failures

    @inline(never)
    private static func fail(
        _ note: HTTPNote, _ call: UnsafeMutablePointer<LimitCall>, prefix: String = "", on loop: EventLoop
    ) -> String {
        let text = LimitReply.errorText(call.pointee)!
        let kind: ProblemKind
        var field: String?
        switch call.pointee.decision.outcome {
        case .wrongKind: kind = .wrongKind
        case .outOfMemory: kind = .outOfMemory
        case .tooManyTokens: kind = .tooManyTokens
        case .outOfRange:
            kind = .invalidField
            field =
                call.pointee.decision.foundKind == .token
                ? "id" : call.pointee.limit.algorithm.hasBurst ? "cost" : "per"
        default: kind = .unavailable
        }
        let detail = prefix + text.drop { $0 != " " }.dropFirst()
        let response = loop.http.response
        response.begin(HTTPProblem(kind, detail, field: field))
        if kind.isTemporary { response.field("Retry-After", 1) }
        GatewayCorrelation.addField(note, to: response)
        GatewayCorrelation.log(note, kind.status, detail, on: loop)
        return text
    }
}

/// What RateLimit fields show of a decision.
enum GatewayItems {
    /// The name of a limit in RateLimit fields: its policy's, or `default` for a limit given in numbers.
    static func name(_ note: HTTPNote) -> UnsafeBufferPointer<UInt8> {
        note.text.isEmpty ? ByteView("default").buffer : note.text.buffer
    }

    /// The item of a limit; nil if it is in shadow mode or off, since clients must not notice it.
    ///
    /// The draft does not say what quota and window of a bucket are: here they are the burst, and the time in which it
    /// is replenished. `t` is the time until the next unit, or until a refused call would be allowed; with windows,
    /// until the window ends.
    static func item(_ note: HTTPNote, _ call: UnsafePointer<LimitCall>) -> RateLimitItem? {
        guard call.pointee.mode == .enforce else { return nil }
        let limit = call.pointee.limit
        let quota = call.pointee.decision.limit
        let isRate = limit.algorithm.hasBurst
        let length =
            isRate && quota > 0 ? limit.tolerance : limit.calendar == nil ? limit.period : 0
        let second: Int64 = 1_000_000_000
        return RateLimitItem(
            name: name(note), quota: quota, window: length < second ? 0 : RateLimitFields.wholeSeconds(length),
            remaining: call.pointee.decision.remaining,
            wait: quota == 0 ? -1 : RateLimitFields.wholeSeconds(wait(call, limit, isRate: isRate)),
            reset: RateLimitFields.wholeSeconds(call.pointee.decision.resetAfter))
    }

    private static func wait(_ call: UnsafePointer<LimitCall>, _ limit: Limit, isRate: Bool) -> Int64 {
        let retry = call.pointee.decision.retryAfter
        if call.pointee.decision.outcome == .denied, retry >= 0 { return retry }
        let reset = call.pointee.decision.resetAfter
        let remaining = call.pointee.decision.remaining
        guard isRate else { return reset }
        guard remaining < limit.capacity else { return 0 }
        // The debt that leaves room for one unit more. At most the tolerance, so the product fits.
        let debt = limit.tolerance - (remaining + 1) * limit.emissionInterval
        return max(0, reset - debt)
    }
}

/// X-Correlation-ID: the name under which a client finds its request in the log.
enum GatewayCorrelation {
    private static let lengthMax = 128

    /// Takes over the request's identifier, or makes one if it has none that is acceptable.
    static func note(_ exchange: inout HTTPExchange) {
        if let given = exchange.request["x-correlation-id"], given.count >= 1, given.count <= lengthMax,
            given.buffer.allSatisfy(isAcceptable)
        {
            exchange.note.correlation = given
        } else {
            exchange.note.madeCorrelation = exchange.loop.http.nextRandom()
        }
    }

    private static func isAcceptable(_ byte: UInt8) -> Bool {
        let letter = byte | 0x20
        return letter >= 0x61 && letter <= 0x7A || byte >= 0x30 && byte <= 0x3A || byte == UInt8(ascii: ".")
            || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
    }

    static func addField(_ note: HTTPNote, to response: HTTPResponse) {
        guard !note.correlation.isEmpty || note.madeCorrelation != 0 else { return }
        append(note, to: response.beginField("X-Correlation-ID"))
        response.endField()
    }

    private static func append(_ note: HTTPNote, to out: ByteWriter) {
        guard note.correlation.isEmpty else { return out.append(note.correlation) }
        var shift: UInt64 = 64
        while shift > 0 {
            shift -= 4
            let digit = UInt8(note.madeCorrelation >> shift & 0xF)
            out.append(byte: digit < 10 ? 0x30 + digit : 0x57 + digit)
        }
    }

    /// Logs a failure of the server: once per request, and only at this level, since there may be many.
    static func log(_ note: HTTPNote, _ status: Int, _ detail: String, on loop: EventLoop) {
        guard loop.server.log.writes(.verbose) else { return }
        let text = ByteWriter()
        append(note, to: text)
        loop.server.log.verbose(
            "HTTP request failed",
            [
                "correlation": "\(text.view().string)", "route": "\(RouteTable.name(Int(note.route)))",
                "status": .integer(status), "error": "\(detail)",
            ])
    }
}
