// The rows of the check API in the table of routes, with the schemas that /openapi.json shows.

import HTTP

extension HTTPRoute {
    /// Whether it is a path of another service, served with `http-compat yes`.
    var isOfAnotherService: Bool {
        guard case .gateway(let action) = action else { return false }
        return switch action {
        case .compat(.envoy): false
        case .compat, .compatCommand, .compatHealth, .compatBreaker: true
        default: false
        }
    }
}

extension GatewayAction {
    /// The rows of the table.
    static let routes: [HTTPRoute] = checks + compat + AdminCommand.routes + CompatCommand.routes

    private static let compat: [HTTPRoute] = [
        row(.post, "/json", "rl.takeall", .compat(.envoy), "As envoyproxy/ratelimit answers it"),
        row(.post, "/check", "rl.take", .compat(.tier)),
        row(.post, "/api/check_and_consume", "rl.check", .compat(.consume)),
        row(.get, "/api/status/{tenant}/{client}/{action}", "rl.peek", .compat(.consumeState)),
        row(.post, "/throttle", "rl.take", .compat(.throttle)),
        row(.get, "/circuit-breaker-status", nil, .compatBreaker),
        row(.get, "/api/health", nil, .compatHealth),
    ]

    private static func row(
        _ method: HTTPMethod, _ template: StaticString, _ command: String?, _ action: GatewayAction,
        _ summary: String = "Of another service, with http-compat: see docs/check-api.md"
    ) -> HTTPRoute {
        HTTPRoute(
            method, template, on: .gateway, access: .open, command: command, .gateway(action),
            RouteDocumentation(summary: summary))
    }

    private static let checks: [HTTPRoute] = [
        HTTPRoute(
            nil, "/v1/auth/*", on: .gateway, access: .open, command: "rl.check", .gateway(.auth), authDocumentation),
        HTTPRoute(
            .post, "/v1/check", on: .gateway, access: .open, command: "rl.check", .gateway(.check),
            RouteDocumentation(
                summary: "Takes from the limit that a rule assigns to a tenant's client's action",
                parameters: options + [tokenParameter], body: checkSchema,
                answers: decisions + [answer(.notFound, "No rule matches")] + failures)),
        HTTPRoute(
            .post, "/v1/take", on: .gateway, access: .open, command: "rl.take", .gateway(.take),
            RouteDocumentation(
                summary: "Takes from a limit given in numbers or as a policy's name",
                parameters: options + [tokenParameter], body: limitSchema(with: [cost, atMost, id]),
                answers: decisions + failures)),
        HTTPRoute(
            .post, "/v1/peek", on: .gateway, access: .open, command: "rl.peek", .gateway(.peek),
            RouteDocumentation(
                summary: "What a take would do, and the limit's state; takes nothing",
                parameters: options + [tokenParameter], body: limitSchema(with: [cost, atMost, id]),
                answers: [decisions[0]] + failures)),
        HTTPRoute(
            .post, "/v1/refund", on: .gateway, access: .open, command: "rl.refund", .gateway(.refund),
            RouteDocumentation(
                summary: "Gives units back", parameters: options, body: limitSchema(with: [cost]),
                answers: [decisions[0]] + failures)),
        HTTPRoute(
            .post, "/v1/take-all", on: .gateway, access: .open, command: "rl.takeall", .gateway(.takeAll),
            RouteDocumentation(
                summary: "Takes from every limit, or from none", parameters: options, body: takeAllSchema,
                answers: [
                    answer(.ok, "Allowed", .json, groupSchema), answer(.tooManyRequests, "Refused", .problem),
                ] + failures)),
        HTTPRoute(
            .get, "/v1/status", on: .gateway, access: .open, command: "rl.peek", .gateway(.status),
            RouteDocumentation(
                summary: "The state of the limit that a rule assigns; takes nothing",
                parameters: ["tenant", "client", "action"].map {
                    RouteDocumentation.Parameter(
                        name: $0, place: .query, summary: "As in POST /v1/check", isRequired: true)
                },
                answers: [decisions[0], answer(.notFound, "No rule matches")] + failures)),
    ]

    // MARK: Documentation

    private static let authDocumentation = RouteDocumentation(
        summary: "For proxies: whether to pass a request on, by the X-Limit- header fields alone",
        parameters: [
            field("X-Limit-Tenant", "The tenant; `default` if absent"),
            field("X-Limit-Client", "The client; its address if absent"),
            field("X-Limit-Action", "The action; `*` if absent"),
            field(
                "X-Limit-Cost", "Units to take", schema: #"{"type":"integer","minimum":0,"maximum":9007199254740991}"#),
            field("X-Limit-Id", "Idempotency token", schema: tokenSchema),
            field(
                "X-Limit-Deny-Status", "Status of a refusal",
                schema: #"{"type":"string","enum":["401","403","429","503"]}"#),
        ],
        answers: [answer(.ok, "Allowed", .none)]
            + [.unauthorized, .forbidden, .tooManyRequests].map { answer($0, "Refused", .problem) }
            + [answer(.notFound, "No rule matches")] + failures)

    private static func field(
        _ name: String, _ summary: String, schema: String = #"{"type":"string"}"#
    ) -> RouteDocumentation.Parameter {
        RouteDocumentation.Parameter(name: name, place: .header, summary: summary, schema: schema)
    }

    private static let tokenSchema = #"{"type":"string","minLength":1,"maxLength":256}"#
    private static let tokenParameter = field("Idempotency-Key", "As the member id", schema: tokenSchema)
    private static let options = [
        RouteDocumentation.Parameter(
            name: "status", place: .query, summary: "200: refusals have the status 200, too",
            schema: #"{"type":"string","enum":["200"]}"#),
        field("X-Correlation-ID", "Returned in the answer, and logged with failures"),
    ]

    private static func answer(
        _ status: HTTPStatus, _ summary: String, _ type: HTTPContentType = .problem, _ schema: String? = nil
    ) -> RouteDocumentation.Answer {
        RouteDocumentation.Answer(
            status: status, summary: summary, contentType: type,
            schema: schema ?? (type == .problem ? problemSchema : nil))
    }

    private static let decisions = [
        answer(.ok, "The decision", .json, decisionSchema), answer(.tooManyRequests, "Refused", .problem),
    ]
    private static let failures = [
        answer(.badRequest, "Malformed; `field` names the culprit"),
        answer(.conflict, "The key holds another kind of state"),
        answer(.lengthRequired, "No body"), answer(.contentTooLarge, "Body too large"),
        answer(.unsupportedMediaType, "Not JSON"), answer(.unavailable, "Temporarily unable to decide"),
    ]

    private static let problemSchema =
        #"{"type":"object","required":["type","title","status"],"properties":{"type":{"type":"string"},"#
        + #""title":{"type":"string"},"status":{"type":"integer"},"detail":{"type":"string"},"#
        + #""field":{"type":"string"}}}"#
    private static let decisionProperties =
        #""allowed":{"type":"boolean"},"granted":{"type":"integer"},"limit":{"type":"integer"},"#
        + #""remaining":{"type":"integer"},"retry_after_ms":{"type":"integer","minimum":-1},"#
        + #""reset_after_ms":{"type":"integer","minimum":0},"policy":{"type":["string","null"]},"#
        + #""rule":{"type":["array","null"],"items":{"type":"string"}},"shadow":{"type":"boolean"}"#
    private static let decisionSchema =
        #"{"type":"object","additionalProperties":false,"required":["allowed","granted","limit","remaining","#
        + #""retry_after_ms","reset_after_ms","policy","rule","shadow"],"properties":{"# + decisionProperties + "}}"
    private static let groupSchema =
        #"{"type":"object","required":["allowed","granted","refused","retry_after_ms","limits"],"properties":{"#
        + #""allowed":{"type":"boolean"},"granted":{"type":"integer"},"refused":{"type":["string","null"]},"#
        + #""retry_after_ms":{"type":"integer"},"limits":{"type":"array","items":"# + decisionSchema + "}}}"

    private static let integer = #"{"type":"integer","minimum":0,"maximum":9223372036854775807}"#
    private static let cost = #""cost":"# + integer
    private static let atMost = #""at_most":{"type":"boolean"}"#
    private static let id = #""id":"# + tokenSchema
    private static let checkSchema =
        #"{"type":"object","additionalProperties":false,"required":["tenant","client","action"],"properties":{"#
        + #""tenant":{"type":"string"},"client":{"type":"string"},"action":{"type":"string"},"#
        + [cost, atMost, id].joined(separator: ",") + "}}"

    private static func limitSchema(with further: [String]) -> String {
        let duration = #"{"type":["integer","string"]}"#
        let properties = [
            #""key":{"type":"string"}"#, #""limit":"# + integer, #""per":"# + duration, #""burst":"# + integer,
            #""algorithm":{"type":"string","enum":["gcra","token-bucket","fixed-window","sliding-window","#
                + #""sliding-log","calendar"]}"#,
            #""offset":"# + duration, #""zone":{"type":"string"}"#, #""start":"# + integer,
            #""policy":{"type":"string"}"#,
        ]
        return #"{"type":"object","additionalProperties":false,"required":["key"],"properties":{"#
            + (properties + further).joined(separator: ",") + "}}"
    }

    private static let takeAllSchema =
        #"{"type":"object","additionalProperties":false,"required":["limits"],"properties":{"#
        + #""limits":{"type":"array","minItems":1,"maxItems":128,"items":"# + limitSchema(with: []) + "}," + cost + "}}"
}
