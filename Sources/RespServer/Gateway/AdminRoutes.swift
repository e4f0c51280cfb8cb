// The rows of policies, rules and keys in the table of routes.

import HTTP

extension AdminCommand {
    /// The rows of the table. The literal paths precede those with parameters that they match, too.
    static let routes: [HTTPRoute] = [
        row(
            .get, "/v1/policies", "rl.policy|list", .listPolicies, "The policies, sorted by name", [page, after],
            pageSchema("policies")),
        row(.get, "/v1/policies/{name}", "rl.policy|get", .getPolicy, "A policy", names("name"), objectSchema),
        row(
            .put, "/v1/policies/{name}", "rl.policy|set", .setPolicy, "Creates or replaces a policy", names("name"),
            objectSchema, body: policySchema),
        row(
            .delete, "/v1/policies/{name}", "rl.policy|del", .deletePolicy, "Deletes a policy that no rule uses",
            names("name")),
        row(
            .get, "/v1/rules/resolve", "rl.rule|resolve", .resolve, "The rule that wins for these names, and why",
            ["tenant", "client", "action"].map { .init(name: $0, place: .query, summary: "A name", isRequired: true) },
            objectSchema),
        row(
            .post, "/v1/rules/reload", "rl.rule|reload", .reload, "Reads the rules file again",
            [], objectSchema,
            body: #"{"type":"object","additionalProperties":false,"properties":{"force":{"type":"boolean"}}}"#),
        row(.get, "/v1/rules", "rl.rule|list", .listRules, "The rules, unsorted", [page, cursor], pageSchema("rules")),
        row(.get, subject, "rl.rule|get", .getRule, "A rule; `*` stands for all names", subjectNames, objectSchema),
        row(
            .put, subject, "rl.rule|set", .setRule, "Creates or replaces a rule; `*` stands for all names",
            subjectNames, objectSchema,
            body: #"{"type":"object","additionalProperties":false,"required":["policy"],"#
                + #""properties":{"policy":{"type":"string","minLength":1}}}"#),
        row(.delete, subject, "rl.rule|del", .deleteRule, "Deletes a rule", subjectNames),
        row(
            .delete, "/v1/keys/{key}", "rl.reset", .resetKey, "Forgets what a key of a limit has spent", names("key")),
    ]

    private static var subject: StaticString { "/v1/rules/{tenant}/{client}/{action}" }
    private static let subjectNames = names("tenant", "client", "action")

    private static func row(
        _ method: HTTPMethod, _ template: StaticString, _ command: String, _ action: AdminCommand, _ summary: String,
        _ parameters: [RouteDocumentation.Parameter], _ schema: String? = nil, body: String? = nil
    ) -> HTTPRoute {
        var answers = [RouteDocumentation.Answer(status: schema == nil ? .noContent : .ok, summary: "Done")]
        answers[0].contentType = schema == nil ? .none : .json
        answers[0].schema = schema
        let others: [(HTTPStatus, String)] = [
            (.badRequest, "Malformed; `field` names the culprit"), (.unauthorized, "No valid token"),
            (.forbidden, "Not allowed"), (.notFound, "There is none"), (.conflict, "In use, or of another kind"),
            (.lengthRequired, "No body"), (.unsupportedMediaType, "Not JSON"),
            (.unavailable, "Temporarily unable to do this"),
        ]
        answers += others.map {
            RouteDocumentation.Answer(status: $0.0, summary: $0.1, contentType: .problem, schema: objectSchema)
        }
        return HTTPRoute(
            method, template, on: .admin, command: command, .gateway(.command(action)),
            RouteDocumentation(summary: summary, parameters: parameters, body: body, answers: answers))
    }

    private static func names(_ names: String...) -> [RouteDocumentation.Parameter] {
        names.map {
            RouteDocumentation.Parameter(
                name: $0, place: .path, summary: "Percent-encoded", isRequired: true,
                schema: #"{"type":"string","minLength":1}"#)
        }
    }

    private static let page = RouteDocumentation.Parameter(
        name: "limit", place: .query, summary: "Maximum number of entries, 100 by default",
        schema: #"{"type":"integer","minimum":1,"maximum":1000}"#)
    private static let after = RouteDocumentation.Parameter(
        name: "after", place: .query, summary: "The member `next` of the previous page")
    private static let cursor = RouteDocumentation.Parameter(
        name: "cursor", place: .query, summary: "The member `next` of the previous page",
        schema: #"{"type":"string","pattern":"^[0-9]{1,18}$"}"#)

    private static let objectSchema = #"{"type":"object"}"#

    private static func pageSchema(_ name: String) -> String {
        "{\"type\":\"object\",\"required\":[\"\(name)\",\"next\"],\"properties\":{\"\(name)\":{\"type\":\"array\","
            + "\"items\":{\"type\":\"object\"}},\"next\":{\"type\":[\"string\",\"null\"]}}}"
    }

    private static let policySchema =
        #"{"type":"object","additionalProperties":false,"required":["limit","per"],"properties":{"#
        + #""limit":{"type":"integer","minimum":0},"per":{"type":["integer","string"]},"#
        + #""burst":{"type":"integer","minimum":1},"algorithm":{"type":"string"},"#
        + #""offset":{"type":["integer","string"]},"zone":{"type":"string"},"start":{"type":"integer"},"#
        + #""mode":{"type":"string","enum":["enforce","shadow","off"]}}}"#
}
