// GET /openapi.json: the table of routes as an OpenAPI 3.1 document, made once.

import HTTP

enum OpenAPIDocument {
    /// The document for the routes of a listener.
    static func text(_ listener: HTTPListeners) -> String { listener == .admin ? admin : gateway }

    /// Administration describes the check API, too.
    private static let admin = make(.both)
    private static let gateway = make(.gateway)

    private static func make(_ listeners: HTTPListeners) -> String {
        var paths: [(path: String, operations: [String])] = []
        for route in RouteTable.all where !route.listeners.isDisjoint(with: listeners) {
            let path = path(route)
            let methods = route.method.map { [$0] } ?? [.get, .head, .post, .put, .patch, .delete, .options]
            let operations = methods.map { "\(quoted("\($0.name)".lowercased())):\(operation(route, $0))" }
            if let position = paths.firstIndex(where: { $0.path == path }) {
                paths[position].operations += operations
            } else {
                paths.append((path, operations))
            }
        }
        let info = #"{"title":"Escapement","version":\#(quoted(Escapement.version)),"license":{"name":"see LICENSE"}}"#
        let token = #"{"token":{"type":"http","scheme":"bearer","description":"The setting admin-token"}}"#
        let problem =
            #"{"Problem":{"type":"object","required":["type","title","status"],"properties":{"type":{"type":"string"},"#
            + #""title":{"type":"string"},"status":{"type":"integer"},"detail":{"type":"string"},"#
            + #""field":{"type":"string"}}}}"#
        return #"{"openapi":"3.1.0","info":\#(info),"paths":{"#
            + paths.map { "\(quoted($0.path)):{\($0.operations.joined(separator: ","))}" }.joined(separator: ",")
            + #"},"components":{"securitySchemes":\#(token),"schemas":\#(problem)}}"# + "\n"
    }

    /// The template without a last segment `*`, which OpenAPI does not have.
    private static func path(_ route: HTTPRoute) -> String {
        let template = "\(route.template)"
        return template.hasSuffix("/*") ? String(template.dropLast(2)) : template
    }

    private static func operation(_ route: HTTPRoute, _ method: HTTPMethod) -> String {
        let documentation = route.documentation
        var members = [
            #""operationId":\#(quoted(identifier(route, method)))"#,
            #""tags":[\#(quoted(route.listeners == .gateway ? "check" : "administration"))]"#,
            #""summary":\#(quoted(documentation.summary))"#,
        ]
        if route.access != .open, route.listeners.contains(.admin) { members.append(#""security":[{},{"token":[]}]"#) }
        let parameters = pathParameters(route) + documentation.parameters.map(parameter)
        if !parameters.isEmpty { members.append(#""parameters":[\#(parameters.joined(separator: ","))]"#) }
        if let body = documentation.body, !method.isSafe {
            members.append(#""requestBody":{"required":true,"content":{"application/json":{"schema":\#(body)}}}"#)
        }
        var answers = documentation.answers
        if answers.isEmpty { answers = [RouteDocumentation.Answer(status: .ok, summary: "The answer")] }
        let responses = answers.map { "\(quoted("\($0.status.rawValue)")):\(response($0))" }
        let problem = #"{"description":"A problem","content":{"application/problem+json":{"schema":"#
        members.append(
            #""responses":{\#(responses.joined(separator: ",")),"default":"# + problem
                + ##"{"$ref":"#/components/schemas/Problem"}}}}}"##)
        return "{\(members.joined(separator: ","))}"
    }

    private static func identifier(_ route: HTTPRoute, _ method: HTTPMethod) -> String {
        let words = "\(route.template)".split { !$0.isLetter && !$0.isNumber }.joined(separator: "_")
        return "\("\(method.name)".lowercased())_\(words.isEmpty ? "root" : words)"
    }

    /// Parameters in the template that the row does not describe.
    private static func pathParameters(_ route: HTTPRoute) -> [String] {
        let described = route.documentation.parameters.filter { $0.place == .path }.map(\.name)
        return "\(route.template)".split(separator: "/").filter { $0.hasPrefix("{") }
            .map { String($0.dropFirst().dropLast()) }.filter { !described.contains($0) }
            .map { #"{"name":\#(quoted($0)),"in":"path","required":true,"schema":{"type":"string"}}"# }
    }

    private static func parameter(_ parameter: RouteDocumentation.Parameter) -> String {
        #"{"name":\#(quoted(parameter.name)),"in":"\#(parameter.place.rawValue)","#
            + #""description":\#(quoted(parameter.summary)),"#
            + #""required":\#(parameter.isRequired || parameter.place == .path),"schema":\#(parameter.schema)}"#
    }

    private static func response(_ answer: RouteDocumentation.Answer) -> String {
        var text = #"{"description":\#(quoted(answer.summary))"#
        if answer.contentType != .none, answer.schema != nil || answer.contentType != .json {
            let type = "\(answer.contentType.text)".split(separator: ";").first.map(String.init) ?? "text/plain"
            text += #","content":{\#(quoted(type)):{"schema":\#(answer.schema ?? #"{"type":"string"}"#)}}"#
        }
        return text + "}"
    }

    private static func quoted(_ text: String) -> String {
        let writer = ByteWriter(capacity: 64)
        writer.appendQuoted(text: text)
        return writer.view().string
    }
}
