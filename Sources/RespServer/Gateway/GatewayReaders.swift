// From requests of the check API to calls of the batch: see GatewayAction for the rules.

import HTTP
import LimiterEngine
import RESP

/// A demand for one unit, or what a request changes of it.
typealias DemandWords = LimitArguments

extension HTTPExchange {
    /// The request's body, which must be JSON.
    func jsonBody() throws(HTTPProblem) -> ByteView {
        if request["content-type"] != nil, !request.hasJSONType {
            throw HTTPProblem(
                .unsupportedMediaType, "the body must be JSON, with the content type application/json",
                field: "Content-Type")
        }
        if request.body.isEmpty, request["content-length"] == nil, request["transfer-encoding"] == nil {
            throw HTTPProblem(.lengthRequired, "the request needs a body, and its length")
        }
        return request.body
    }

    /// Takes over the parameters and header fields that all requests with a decision accept: `status=200`, and
    /// Idempotency-Key unless `words` is nil or has a token.
    mutating func readOptions(_ words: inout DemandWords, acceptsToken: Bool) throws(HTTPProblem) {
        if !request.query.isEmpty, let status = request.query.parameter("status") {
            guard status.equals("200") else {
                throw HTTPProblem(.invalidField, "status must be 200, which refusals then have", field: "status")
            }
            note.flags.insert(.refusesWith200)
        }
        guard request.fields.occurrences("idempotency-key") > 0 else { return }
        guard acceptsToken else {
            throw HTTPProblem(
                .invalidField, "Idempotency-Key has no meaning for this request", field: "Idempotency-Key")
        }
        guard !words.has(.id) else {
            throw HTTPProblem(.invalidField, "Idempotency-Key and id are the same, give one", field: "Idempotency-Key")
        }
        guard var key = request.fields.only("idempotency-key") else {
            throw HTTPProblem(.invalidField, "Idempotency-Key is given twice", field: "Idempotency-Key")
        }
        // A draft makes it a structured string, with quotes; most clients send it bare.
        let quote = UInt8(ascii: "\"")
        if key.count >= 2, key[0] == quote, key[key.count - 1] == quote { key = key[1..<key.count - 1] }
        do throws(ArgumentProblem) {
            try words.set(.id, Argument(base: key.base, count: key.count))
        } catch {
            throw HTTPProblem(
                .invalidField, "Idempotency-Key must have 1 to \(LimitArguments.tokenLengthMax) bytes",
                field: "Idempotency-Key")
        }
    }
}

enum GatewayReaders {
    // MARK: Limits in requests

    /// POST /v1/take, /v1/peek, /v1/refund.
    static func limit(
        _ operation: LimitCall.Operation, _ exchange: inout HTTPExchange
    ) throws(HTTPProblem) -> GatewayStep {
        let text = try exchange.jsonBody()
        var memory = GatewayMemory(exchange.loop, body: text)
        var body = LimitBody()
        do throws(JSONError) {
            var reader = JSONReader(text.buffer)
            try body.read(&reader, accepting: operation == .refund ? .refund : .take, &memory)
            try reader.finish()
        } catch {
            throw GatewayText.problem(error)
        }
        var words = body.words
        try exchange.readOptions(&words, acceptsToken: operation != .refund)
        let key = memory.view(body.key!)
        try write(operation, words, key: key, exchange)
        exchange.note.text = body.policy
        exchange.note.form = (operation == .take ? GatewayForm.decision : .state).rawValue
        return .call
    }

    /// Writes a call for a limit given in the request.
    static func write(
        _ operation: LimitCall.Operation, _ words: LimitArguments, key: ByteView, at position: Int = 0,
        _ exchange: HTTPExchange, prefix: @autoclosure () -> String = ""
    ) throws(HTTPProblem) {
        let loop = exchange.loop
        guard key.count <= keyLengthMax else {
            let prefix = prefix()
            throw HTTPProblem(.invalidField, "\(prefix)key exceeds the maximum length of a key", field: prefix + "key")
        }
        let call = loop.batch.next + position
        do throws(ArgumentProblem) {
            try words.write(
                operation, to: call, loop.keyspace, tokenWindow: loop.settings.tokenWindow, loop.arguments,
                loop.limitCache)
        } catch {
            throw GatewayText.problem(error, prefix: prefix())
        }
        call.pointee.setKey(key.base, count: key.count)
    }

    /// POST /v1/take-all. The limits are counted before they are read, since a batch has to have room for all of them.
    static func takeAll(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        let text = try exchange.jsonBody()
        let loop = exchange.loop
        var memory = GatewayMemory(loop, body: text)
        var demand = DemandWords()
        try exchange.readOptions(&demand, acceptsToken: false)
        do throws(JSONError) {
            let count = try takeAllCount(text, &demand)
            if count > loop.batch.room { loop.decideBatch() }
        } catch {
            throw GatewayText.problem(error)
        }
        let first = loop.batch.count
        var count = 0
        do {
            var reader = JSONReader(text.buffer)
            try reader.beginObject()
            while let field = try reader.nextField(TakeAllField.self) {
                guard field == .limits else {
                    try reader.skip()
                    continue
                }
                try reader.beginArray()
                while try reader.nextElement() {
                    var body = LimitBody()
                    try body.read(&reader, accepting: .limit, &memory)
                    try write(body, demand, at: count, exchange, &memory)
                    if count == 0 {
                        exchange.note.text = body.policy
                    } else {
                        (loop.http.notes + first + count).initialize(to: exchange.note)
                        loop.http.notes[first + count].text = body.policy
                    }
                    count += 1
                }
            }
        } catch let error as JSONError {
            throw GatewayText.problem(error)
        } catch let error as HTTPProblem {
            throw error
        } catch {
            preconditionFailure("no other error is thrown")
        }
        exchange.note.form = GatewayForm.group.rawValue
        return .group(count)
    }

    private static func write(
        _ body: LimitBody, _ demand: DemandWords, at position: Int, _ exchange: HTTPExchange,
        _ memory: inout GatewayMemory
    ) throws(HTTPProblem) {
        let key = memory.view(body.key!)
        try write(.take, body.words, key: key, at: position, exchange, prefix: "limits[\(position)].")
        do throws(ArgumentProblem) {
            (exchange.loop.batch.next + position).pointee.demand = try demand.demand()
        } catch {
            throw GatewayText.problem(error)
        }
    }

    private enum TakeAllField: UInt8, JSONField {
        case limits, cost

        var name: StaticString { self == .limits ? "limits" : "cost" }
    }

    /// The number of limits in the body, and its cost.
    private static func takeAllCount(_ text: ByteView, _ demand: inout DemandWords) throws(JSONError) -> Int {
        var count = 0
        var reader = JSONReader(text.buffer)
        try reader.beginObject()
        while let field = try reader.nextField(TakeAllField.self) {
            switch field {
            case .limits:
                try reader.beginArray()
                while try reader.nextElement() {
                    count += 1
                    try reader.skip()
                }
                guard count > 0 else { throw reader.error(.invalid("must not be empty")) }
                guard count <= KeyspaceSession.takeAllMax else {
                    throw reader.error(.invalid("must have at most \(KeyspaceSession.takeAllMax) elements"))
                }
            case .cost:
                let cost = try reader.integer()
                try GatewayText.naming(reader) { () throws(ArgumentProblem) in
                    try demand.set(.cost, cost)
                    _ = try demand.demand()
                }
            }
        }
        guard count > 0 else { throw reader.error(.missing, in: "limits") }
        try reader.finish()
        return count
    }

    // MARK: Rules

    /// POST /v1/check.
    static func check(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        let text = try exchange.jsonBody()
        var memory = GatewayMemory(exchange.loop, body: text)
        var body = CheckBody()
        do throws(JSONError) {
            var reader = JSONReader(text.buffer)
            try body.read(&reader, &memory)
            try reader.finish()
        } catch {
            throw GatewayText.problem(error)
        }
        var words = body.words
        try exchange.readOptions(&words, acceptsToken: true)
        exchange.note.form = GatewayForm.decision.rawValue
        return try rule(
            .take, words, tenant: body.tenant, client: body.client, action: body.action, &exchange, &memory)
    }

    /// GET /v1/status?tenant=…&client=…&action=…
    static func status(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        let query = exchange.request.query
        let text = exchange.loop.http.text
        text.removeAll()
        var ends: (Int, Int, Int) = (0, 0, 0)
        try append("tenant", query, to: text)
        ends.0 = text.count
        try append("client", query, to: text)
        ends.1 = text.count
        try append("action", query, to: text)
        ends.2 = text.count
        let names = text.view()
        var memory = GatewayMemory(exchange.loop, body: .empty)
        var words = DemandWords()
        do throws(ArgumentProblem) {
            try words.set(.cost, 0)
        } catch {
            throw GatewayText.problem(error)
        }
        exchange.note.form = GatewayForm.state.rawValue
        return try rule(
            .peek, words, tenant: names[0..<ends.0], client: names[ends.0..<ends.1], action: names[ends.1..<ends.2],
            &exchange, &memory)
    }

    private static func append(_ name: StaticString, _ query: ByteView, to text: ByteWriter) throws(HTTPProblem) {
        guard let value = query.parameter(name) else {
            throw HTTPProblem(.invalidField, "\(name) is missing", field: "\(name)")
        }
        guard value.appendDecoded(to: text, isQuery: true) else {
            throw HTTPProblem(.invalidField, "\(name) is not percent-encoded", field: "\(name)")
        }
    }

    /// Writes the call for the limit that a rule assigns to these names, which need not stay in memory.
    static func rule(
        _ operation: LimitCall.Operation, _ words: DemandWords, tenant: ByteView, client: ByteView, action: ByteView,
        _ exchange: inout HTTPExchange, _ memory: inout GatewayMemory
    ) throws(HTTPProblem) -> GatewayStep {
        let loop = exchange.loop
        let length = CheckKey.count(tenant: tenant.raw, client: client.raw, action: action.raw)
        guard length <= keyLengthMax else {
            throw HTTPProblem(
                .invalidField, "tenant, client and action together exceed the maximum length of a key", field: "client")
        }
        let policies = loop.keyspace.policies
        guard let found = policies.resolve(tenant: tenant.raw, client: client.raw, action: action.raw) else {
            throw HTTPProblem(.noRule, "no rule matches this tenant, client and action")
        }
        let policy = policies.name(ofPolicy: found.policy)
        memory.reserve(length + policy.count)
        let call = loop.batch.next
        do throws(ArgumentProblem) {
            try words.begin(operation, call, loop.settings.tokenWindow)
        } catch {
            throw GatewayText.problem(error)
        }
        policies.writeTerms(ofPolicy: found.policy, to: call)
        let key = memory.place(length) {
            CheckKey.write(tenant: tenant.raw, client: client.raw, action: action.raw, to: $0)
        }
        call.pointee.setKey(key.base, count: key.count)
        exchange.note.text = memory.place(policy)
        exchange.note.small = found.names | HTTPNote.hasRule
        return .call
    }
}

extension HTTPNote {
    /// In `small`: the limit was assigned by a rule; the lower bits are the names that the rule has.
    static let hasRule: UInt8 = 1 << 7
}
