// The paths of other rate-limit services, for clients that cannot be changed yet: from their bodies to calls of the
// batch. Served with `http-compat yes`; all of them are takes and peeks of the limits that the check API uses.
//
// Unknown fields are ignored, as those services do, and null counts as absent. CompatAnswers formats their answers.

import HTTP
import LimiterEngine
import RESP

/// A path of another service.
enum CompatAction: Sendable {
    /// POST /check: identifier and tier.
    case tier
    /// POST /api/check_and_consume and GET /api/status/…: tenant, client and action.
    case consume, consumeState
    /// POST /throttle: a limit in numbers.
    case throttle
    /// POST /json: descriptors, as Envoy's rate-limit service has them.
    case envoy

    func read(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        if self != .envoy { try CompatReaders.requireSetting(exchange) }
        return switch self {
        case .tier: try CompatReaders.tier(&exchange)
        case .consume: try CompatReaders.consume(&exchange)
        case .consumeState: try CompatReaders.consumeState(&exchange)
        case .throttle: try CompatReaders.throttle(&exchange)
        case .envoy: try EnvoyReader.read(&exchange)
        }
    }
}

enum CompatReaders {
    /// Without the setting, these paths do not exist.
    static func requireSetting(_ exchange: HTTPExchange) throws(HTTPProblem) {
        guard exchange.loop.settings.httpCompat else {
            throw HTTPProblem(.notFound, "there is no route \(exchange.request.path.shown)")
        }
    }

    // MARK: POST /check

    private enum TierField: UInt8, JSONField {
        case identifier, tier

        var name: StaticString { self == .identifier ? "identifier" : "tier" }
    }

    static func tier(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        let text = try exchange.jsonBody()
        let loop = exchange.loop
        var memory = GatewayMemory(loop, body: text)
        var identifier = ByteView.empty
        var tier = ByteView("free")
        do throws(JSONError) {
            var reader = JSONReader(text.buffer)
            try reader.beginObject()
            while let field = try reader.nextField(TierField.self, ignoresUnknown: true) {
                guard try !reader.null() else { continue }
                let value = memory.view(try reader.string())
                if field == .identifier { identifier = value } else { tier = value }
            }
            try reader.finish()
            if identifier.isEmpty { throw reader.error(.missing, in: "identifier") }
        } catch {
            throw GatewayText.problem(error)
        }
        let policies = loop.keyspace.policies
        guard let policy = policies.policyNumber(named: tier.raw) else {
            loop.decideBatch()
            exchange.response.begin(.badRequest, .json)
            var writer = JSONWriter(exchange.response.body)
            writer.beginObject()
            writer.name("detail")
            writer.string("Invalid tier: \(tier.shown)")
            writer.endObject()
            GatewayCorrelation.addField(exchange.note, to: exchange.response)
            return .answered
        }
        let call = loop.batch.next
        call.pointee.begin(.take)
        call.pointee.demand = .one
        policies.writeTerms(ofPolicy: policy, to: call)
        try setKey(of: call, identifier, field: "identifier")
        exchange.note.text = tier
        exchange.note.form = GatewayForm.tier.rawValue
        return .call
    }

    private static func setKey(
        of call: UnsafeMutablePointer<LimitCall>, _ key: ByteView, field: String
    ) throws(HTTPProblem) {
        guard key.count <= keyLengthMax else {
            throw HTTPProblem(.invalidField, "\(field) exceeds the maximum length of a key", field: field)
        }
        call.pointee.setKey(key.base, count: key.count)
    }

    // MARK: POST /v1/check with client_id

    private enum LimitKeyField: UInt8, JSONField {
        case clientID, limitKey, cost

        var name: StaticString {
            switch self {
            case .clientID: "client_id"
            case .limitKey: "limit_key"
            case .cost: "cost"
            }
        }
    }

    /// Whether the body has the other service's field instead of ours.
    static func isLimitKeyBody(_ text: ByteView) -> Bool {
        var reader = JSONReader(text.buffer)
        var isFound = false
        // An error is reported when the body is read.
        do throws(JSONError) {
            try reader.beginObject()
            while let name = try reader.nextName() {
                if name.equals("client_id") { isFound = true }
                try reader.skip()
            }
        } catch {
            return isFound
        }
        return isFound
    }

    static func limitKey(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        let text = try exchange.jsonBody()
        var memory = GatewayMemory(exchange.loop, body: text)
        var client = ByteView.empty
        var action = ByteView("global")
        var words = DemandWords()
        do throws(JSONError) {
            var reader = JSONReader(text.buffer)
            try reader.beginObject()
            while let field = try reader.nextField(LimitKeyField.self, ignoresUnknown: true) {
                guard try !reader.null() else { continue }
                switch field {
                case .clientID: client = memory.view(try reader.string())
                case .limitKey: action = memory.view(try reader.string())
                case .cost:
                    let cost = try reader.integer()
                    try GatewayText.naming(reader) { () throws(ArgumentProblem) in try words.set(.cost, cost) }
                }
            }
            try reader.finish()
        } catch {
            throw GatewayText.problem(error)
        }
        try exchange.readOptions(&words, acceptsToken: true)
        exchange.note.form = GatewayForm.limitKey.rawValue
        return try GatewayReaders.rule(
            .take, words, tenant: ByteView("default"), client: client, action: action, &exchange, &memory)
    }

    // MARK: /api/…

    private enum ConsumeField: UInt8, JSONField {
        case tenant, client, action, maximum, window

        var name: StaticString {
            switch self {
            case .tenant: "tenant_id"
            case .client: "client_id"
            case .action: "action_type"
            case .maximum: "max_requests"
            case .window: "window_duration_seconds"
            }
        }
    }

    private struct Numbers {
        var maximum: Int64?
        var window: Int64?

        /// A sliding log while it can hold that many grants, otherwise the sliding window that approximates it; nil if
        /// no numbers were given.
        func limit() throws(HTTPProblem) -> Limit? {
            guard maximum != nil || window != nil else { return nil }
            guard let maximum else {
                throw HTTPProblem(.invalidField, "max_requests is missing", field: "max_requests")
            }
            guard let window else {
                throw HTTPProblem(
                    .invalidField, "window_duration_seconds is missing", field: "window_duration_seconds")
            }
            do {
                return try Limit(
                    maximum <= SlidingLog.unitsMax ? .slidingLog : .slidingWindow, units: maximum,
                    period: try LimitArguments.seconds(window, .per))
            } catch let error as LimitError {
                let isPeriod = error == .negative(.period) || error == .zero(.period)
                throw HTTPProblem(
                    .invalidField,
                    isPeriod ? "window_duration_seconds must be above zero" : "max_requests is out of range",
                    field: isPeriod ? "window_duration_seconds" : "max_requests")
            } catch {
                throw HTTPProblem(
                    .invalidField, "window_duration_seconds is out of range", field: "window_duration_seconds")
            }
        }
    }

    static func consume(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        let text = try exchange.jsonBody()
        var memory = GatewayMemory(exchange.loop, body: text)
        var names: [ByteView?] = [nil, nil, nil]
        var numbers = Numbers()
        do throws(JSONError) {
            var reader = JSONReader(text.buffer)
            try reader.beginObject()
            while let field = try reader.nextField(ConsumeField.self, ignoresUnknown: true) {
                guard try !reader.null() else { continue }
                switch field {
                case .tenant, .client, .action: names[Int(field.rawValue)] = memory.view(try reader.string())
                case .maximum: numbers.maximum = try reader.integer()
                case .window: numbers.window = try reader.integer()
                }
            }
            try reader.finish()
            for field in [ConsumeField.tenant, .client, .action] where names[Int(field.rawValue)] == nil {
                throw reader.error(.missing, in: field.name)
            }
        } catch {
            throw GatewayText.problem(error)
        }
        exchange.note.form = GatewayForm.consume.rawValue
        return try subject(
            .take, DemandWords(), names[0]!, names[1]!, names[2]!, try numbers.limit(), &exchange, &memory)
    }

    static func consumeState(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        let text = exchange.loop.http.text
        text.removeAll()
        var ends: [Int] = []
        for number in 0..<3 {
            guard exchange.parameters[number].appendDecoded(to: text) else {
                throw HTTPProblem(.invalidField, "the path is not percent-encoded", field: "path")
            }
            ends.append(text.count)
        }
        var numbers = Numbers()
        numbers.maximum = try number("max_requests", exchange)
        numbers.window = try number("window_duration_seconds", exchange)
        var words = DemandWords()
        do throws(ArgumentProblem) {
            try words.set(.cost, 0)
        } catch {
            throw GatewayText.problem(error)
        }
        var memory = GatewayMemory(exchange.loop, body: .empty)
        exchange.note.form = GatewayForm.consume.rawValue
        let names = text.view()
        return try subject(
            .peek, words, names[0..<ends[0]], names[ends[0]..<ends[1]], names[ends[1]..<ends[2]], try numbers.limit(),
            &exchange, &memory)
    }

    private static func number(_ name: StaticString, _ exchange: HTTPExchange) throws(HTTPProblem) -> Int64? {
        guard let text = exchange.request.query.parameter(name) else { return nil }
        guard let number = text.decimal else {
            throw HTTPProblem(.invalidField, "\(name) must be an integer", field: "\(name)")
        }
        return Int64(number)
    }

    /// A call for three names: with a limit in numbers, or that of their rule. Both keep their state in the same key,
    /// and one finds what the other has spent.
    private static func subject(
        _ operation: LimitCall.Operation, _ words: DemandWords, _ tenant: ByteView, _ client: ByteView,
        _ action: ByteView, _ limit: Limit?, _ exchange: inout HTTPExchange, _ memory: inout GatewayMemory
    ) throws(HTTPProblem) -> GatewayStep {
        guard let limit else {
            return try GatewayReaders.rule(
                operation, words, tenant: tenant, client: client, action: action, &exchange, &memory)
        }
        let length = CheckKey.count(tenant: tenant.raw, client: client.raw, action: action.raw)
        guard length <= keyLengthMax else {
            throw HTTPProblem(.invalidField, "the names exceed the maximum length of a key", field: "client_id")
        }
        memory.reserve(length)
        let call = exchange.loop.batch.next
        do throws(ArgumentProblem) {
            try words.begin(operation, call, exchange.loop.settings.tokenWindow)
        } catch {
            throw GatewayText.problem(error)
        }
        call.pointee.limit = limit
        call.pointee.carriesOver = true
        let key = memory.place(length) {
            CheckKey.write(tenant: tenant.raw, client: client.raw, action: action.raw, to: $0)
        }
        call.pointee.setKey(key.base, count: key.count)
        return .call
    }

    // MARK: POST /throttle

    private enum ThrottleField: UInt8, JSONField {
        case key, maxBurst, count, period, quantity

        var name: StaticString {
            switch self {
            case .key: "key"
            case .maxBurst: "max_burst"
            case .count: "count_per_period"
            case .period: "period"
            case .quantity: "quantity"
            }
        }
    }

    /// There `max_burst` is the number of units available at once; in CL.THROTTLE it is one less.
    static func throttle(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        let text = try exchange.jsonBody()
        let loop = exchange.loop
        var memory = GatewayMemory(loop, body: text)
        var key: ByteView?
        var numbers: (burst: Int64?, count: Int64?, period: Int64?, quantity: Int64) = (nil, nil, nil, 1)
        let call: UnsafeMutablePointer<LimitCall>
        do throws(JSONError) {
            var reader = JSONReader(text.buffer)
            try reader.beginObject()
            while let field = try reader.nextField(ThrottleField.self, ignoresUnknown: true) {
                guard try !reader.null() else { continue }
                switch field {
                case .key: key = memory.view(try reader.string())
                case .maxBurst: numbers.burst = try reader.integer()
                case .count: numbers.count = try reader.integer()
                case .period: numbers.period = try reader.integer()
                case .quantity: numbers.quantity = try reader.integer()
                }
            }
            try reader.finish()
            if key == nil { throw reader.error(.missing, in: "key") }
            guard let burst = numbers.burst else { throw reader.error(.missing, in: "max_burst") }
            guard let count = numbers.count else { throw reader.error(.missing, in: "count_per_period") }
            guard let period = numbers.period else { throw reader.error(.missing, in: "period") }
            call = loop.batch.next
            if burst < 1 { throw reader.error(.invalid("must be above zero"), in: "max_burst") }
            let problem = call.pointee.setThrottle(
                maxBurst: burst - 1, count: count, period: period, quantity: numbers.quantity)
            switch problem {
            case nil: break
            case .negative(.quantity): throw reader.error(.invalid("must not be negative"), in: "quantity")
            case .zeroRate, .negative:
                let field: StaticString = count <= 0 ? "count_per_period" : "period"
                throw reader.error(.invalid("must be above zero, and at most one per nanosecond"), in: field)
            case .outOfRange: throw reader.error(.invalid("is out of range"), in: "period")
            }
        } catch {
            throw GatewayText.problem(error)
        }
        try setKey(of: call, key!, field: "key")
        exchange.note.form = GatewayForm.throttle.rawValue
        return .call
    }
}
