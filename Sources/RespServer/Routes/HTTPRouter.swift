// From a request's method and path to a route.

import HTTP

/// The parts of a path that matched the segments in braces of a template, still encoded; for a last segment `*`, the
/// rest of the path.
struct HTTPPathParameters {
    static let countMax = 3

    private var values = (ByteView.empty, ByteView.empty, ByteView.empty)
    private(set) var count = 0

    subscript(index: Int) -> ByteView {
        precondition(index >= 0 && index < count)
        return index == 0 ? values.0 : index == 1 ? values.1 : values.2
    }

    fileprivate mutating func append(_ value: ByteView) {
        precondition(count < HTTPPathParameters.countMax, "a template has at most three parameters")
        switch count {
        case 0: values.0 = value
        case 1: values.1 = value
        default: values.2 = value
        }
        count += 1
    }
}

/// Finds routes.
struct HTTPRouter {
    enum Outcome {
        /// The number of a route in the table, and the parameters in the path.
        case route(Int, HTTPPathParameters)
        case noPath
        /// Other methods have a route.
        case noMethod
        /// The server does not know the method at all.
        case unknownMethod
    }

    static func find(_ request: HTTPRequest, on listener: HTTPListeners) -> Outcome {
        var hasPath = false
        for (number, route) in RouteTable.all.enumerated() where !route.listeners.isDisjoint(with: listener) {
            guard let parameters = match(request.path, route.template) else { continue }
            guard let method = route.method else { return .route(number, parameters) }
            if method == request.method || method == .get && request.method == .head {
                return .route(number, parameters)
            }
            hasPath = true
        }
        if request.method == .other { return .unknownMethod }
        return hasPath ? .noMethod : .noPath
    }

    /// The value of Allow for a path: the methods that have a route.
    static func allow(_ path: ByteView, on listener: HTTPListeners) -> String {
        var methods: [String] = []
        for route in RouteTable.all where !route.listeners.isDisjoint(with: listener) {
            guard let method = route.method, match(path, route.template) != nil else { continue }
            methods.append("\(method.name)")
            if method == .get { methods.append("HEAD") }
        }
        return methods.joined(separator: ", ")
    }

    /// Matches a path with a template; nil if it does not match.
    @inline(__always)
    static func match(_ path: ByteView, _ template: StaticString) -> HTTPPathParameters? {
        let pattern = ByteView(template)
        let last = pattern[pattern.count - 1]
        if last != UInt8(ascii: "*"), last != UInt8(ascii: "}"), pattern.count != path.count,
            !pattern.buffer.contains(UInt8(ascii: "{"))
        {
            return nil
        }
        return matchSegments(path, pattern)
    }

    private static func matchSegments(_ path: ByteView, _ pattern: ByteView) -> HTTPPathParameters? {
        var parameters = HTTPPathParameters()
        var inPath = 0
        var inPattern = 0
        while inPattern < pattern.count {
            let wanted = pattern[inPattern]
            if wanted == UInt8(ascii: "{") {
                let start = inPath
                while inPath < path.count, path[inPath] != UInt8(ascii: "/") { inPath += 1 }
                guard inPath > start else { return nil }
                parameters.append(path[start..<inPath])
                while pattern[inPattern] != UInt8(ascii: "}") { inPattern += 1 }
                inPattern += 1
            } else if wanted == UInt8(ascii: "*"), inPattern == pattern.count - 1 {
                parameters.append(path[inPath..<path.count])
                return parameters
            } else {
                guard inPath < path.count, path[inPath] == wanted else {
                    // `/a/*` also matches `/a`.
                    let isLastSlash = inPattern == pattern.count - 2 && pattern[pattern.count - 1] == UInt8(ascii: "*")
                    guard inPath == path.count, wanted == UInt8(ascii: "/"), isLastSlash else { return nil }
                    parameters.append(.empty)
                    return parameters
                }
                inPath += 1
                inPattern += 1
            }
        }
        return inPath == path.count ? parameters : nil
    }
}
