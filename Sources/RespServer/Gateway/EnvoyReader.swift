// POST /json: the question and the answer of envoyproxy/ratelimit, in the JSON form of its messages.
//
// The domain is the tenant. Of a descriptor's entries, `client` or `remote_address` is the client and `action` the
// action; without an entry `action`, the others are, joined as `key=value`. A descriptor without a rule is not limited.
// All descriptors of a request are one all-or-nothing call; the service that this stands in for would count the ones
// that had room.

import HTTP
import LimiterEngine
import RESP

enum EnvoyReader {
    private static let descriptorsMax = 60

    private enum Field: UInt8, JSONField {
        case domain, descriptors, hits

        var name: StaticString {
            switch self {
            case .domain: "domain"
            case .descriptors: "descriptors"
            case .hits: "hitsAddend"
            }
        }
    }

    private enum DescriptorField: UInt8, JSONField {
        case entries, hits

        var name: StaticString { self == .entries ? "entries" : "hitsAddend" }
    }

    private enum EntryField: UInt8, JSONField {
        case key, value

        var name: StaticString { self == .key ? "key" : "value" }
    }

    private struct Descriptor {
        var client: [UInt8]?
        var action: [UInt8]?
        var others: [UInt8] = []
        var hits: Int64?

        mutating func add(_ key: JSONString, _ value: [UInt8]) {
            if key.equals("client") || key.equals("remote_address") {
                client = value
            } else if key.equals("action") {
                action = value
            } else {
                if !others.isEmpty { others.append(UInt8(ascii: ",")) }
                others += key.bytes + [UInt8(ascii: "=")] + value
            }
        }

        func names(_ tenant: [UInt8]) -> [[UInt8]] {
            let star = [UInt8(ascii: "*")]
            return [tenant, client ?? star, action ?? (others.isEmpty ? star : others)]
        }
    }

    static func read(_ exchange: inout HTTPExchange) throws(HTTPProblem) -> GatewayStep {
        let text = try exchange.jsonBody()
        var domain: [UInt8] = []
        var descriptors: [Descriptor] = []
        var hits: Int64 = 1
        do throws(JSONError) {
            var reader = JSONReader(text.buffer)
            try reader.beginObject()
            while let field = try reader.nextField(Field.self, ignoresUnknown: true) {
                switch field {
                case .domain: domain = try reader.string().bytes
                case .hits: hits = try EnvoyReader.hits(&reader)
                case .descriptors:
                    try reader.beginArray()
                    while try reader.nextElement() {
                        guard descriptors.count < descriptorsMax else {
                            throw reader.error(.invalid("is one too many: at most \(descriptorsMax) are accepted"))
                        }
                        descriptors.append(try descriptor(&reader))
                    }
                }
            }
            try reader.finish()
            if domain.isEmpty { throw reader.error(.missing, in: "domain") }
            if descriptors.isEmpty { throw reader.error(.missing, in: "descriptors") }
        } catch {
            throw GatewayText.problem(error)
        }
        return try add(domain, descriptors, hits, &exchange)
    }

    private static func hits(_ reader: inout JSONReader) throws(JSONError) -> Int64 {
        let hits = try reader.integer()
        guard hits >= 0, hits <= UInt32.max else { throw reader.error(.invalid("must be from 0 to 4294967295")) }
        // 0 is the same as not set.
        return max(1, hits)
    }

    private static func descriptor(_ reader: inout JSONReader) throws(JSONError) -> Descriptor {
        var found = Descriptor()
        try reader.beginObject()
        while let field = try reader.nextField(DescriptorField.self, ignoresUnknown: true) {
            guard field == .entries else {
                found.hits = try hits(&reader)
                continue
            }
            try reader.beginArray()
            while try reader.nextElement() {
                var key: JSONString?
                var value: [UInt8] = []
                try reader.beginObject()
                while let field = try reader.nextField(EntryField.self, ignoresUnknown: true) {
                    if field == .key { key = try reader.string() } else { value = try reader.string().bytes }
                }
                guard let key else { throw reader.error(.missing, in: "key") }
                found.add(key, value)
            }
        }
        return found
    }

    /// Writes a call for each descriptor that has a rule; remembers the others as bits of the note's number.
    private static func add(
        _ domain: [UInt8], _ descriptors: [Descriptor], _ hits: Int64, _ exchange: inout HTTPExchange
    ) throws(HTTPProblem) -> GatewayStep {
        let loop = exchange.loop
        let table = loop.keyspace.policies
        var limited: [(names: [[UInt8]], policy: Int, hits: Int64, length: Int)] = []
        var unlimited: Int64 = 0
        for (position, descriptor) in descriptors.enumerated() {
            let names = descriptor.names(domain)
            let found = GatewayNames.withRaw(names) { table.resolve(tenant: $0, client: $1, action: $2) }
            guard let found else {
                unlimited |= 1 << Int64(position)
                continue
            }
            let length = GatewayNames.withRaw(names) { CheckKey.count(tenant: $0, client: $1, action: $2) }
            guard length <= keyLengthMax else {
                throw HTTPProblem(
                    .invalidField, "the names exceed the maximum length of a key", field: "descriptors[\(position)]")
            }
            limited.append((names, found.policy, descriptor.hits ?? hits, length))
        }
        exchange.note.number = unlimited
        exchange.note.small = UInt8(descriptors.count)
        exchange.note.form = GatewayForm.envoy.rawValue
        guard !limited.isEmpty else {
            loop.decideBatch()
            EnvoyAnswer.write(exchange.note, nil, count: 0, isAllowed: true, on: loop)
            GatewayCorrelation.addField(exchange.note, to: exchange.response)
            return .answered
        }
        if limited.count > loop.batch.room { loop.decideBatch() }
        var memory = GatewayMemory(loop, body: .empty)
        memory.reserve(limited.reduce(0) { $0 + $1.length + table.name(ofPolicy: $1.policy).count })
        let first = loop.batch.count
        for (position, entry) in limited.enumerated() {
            let call = loop.batch.next + position
            call.pointee.begin(.take)
            do throws(LimitError) {
                call.pointee.demand = try Demand(entry.hits)
            } catch {
                throw HTTPProblem(.invalidField, "hitsAddend must not be negative", field: "hitsAddend")
            }
            table.writeTerms(ofPolicy: entry.policy, to: call)
            let key = memory.place(entry.length) { place in
                GatewayNames.withRaw(entry.names) { tenant, client, action in
                    _ = CheckKey.write(tenant: tenant, client: client, action: action, to: place)
                }
            }
            call.pointee.setKey(key.base, count: key.count)
            let policy = memory.place(table.name(ofPolicy: entry.policy))
            if position == 0 {
                exchange.note.text = policy
            } else {
                (loop.http.notes + first + position).initialize(to: exchange.note)
                loop.http.notes[first + position].text = policy
            }
        }
        return .group(limited.count)
    }
}

/// Three names, for functions that borrow them.
enum GatewayNames {
    static func withRaw<Result>(
        _ names: [[UInt8]],
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
    ) -> Result {
        names[0].withUnsafeBytes { tenant in
            names[1].withUnsafeBytes { client in
                names[2].withUnsafeBytes { body(tenant, client, $0) }
            }
        }
    }
}

enum EnvoyAnswer {
    /// Fills the response from the calls of a request; nil if none of its descriptors has a rule.
    static func write(
        _ note: HTTPNote, _ calls: UnsafeMutablePointer<LimitCall>?, count: Int, isAllowed: Bool, on loop: EventLoop
    ) {
        let response = loop.http.response
        response.begin(isAllowed ? .ok : .tooManyRequests, .json)
        var writer = JSONWriter(response.body)
        writer.beginObject()
        writer.name("overallCode")
        writer.string(isAllowed ? "OK" : "OVER_LIMIT" as StaticString)
        writer.name("statuses")
        writer.beginArray()
        var position = 0
        for descriptor in 0..<Int(note.small) {
            writer.beginObject()
            if note.number >> Int64(descriptor) & 1 != 0 {
                writer.name("code")
                writer.string("OK" as StaticString)
            } else if let calls {
                assert(position < count)
                status(calls + position, to: &writer)
                position += 1
            }
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
        response.body.append("\n")
    }

    private static func status(_ call: UnsafeMutablePointer<LimitCall>, to writer: inout JSONWriter) {
        writer.name("code")
        writer.string(call.pointee.decision.outcome == .denied ? "OVER_LIMIT" : "OK" as StaticString)
        let units = call.pointee.limit.units
        if let unit = unit(call.pointee.limit), units <= UInt32.max {
            writer.name("currentLimit")
            writer.beginObject()
            writer.name("requestsPerUnit")
            writer.integer(units)
            writer.name("unit")
            writer.string(unit)
            writer.endObject()
        }
        // Messages in JSON have no members that are 0.
        guard call.pointee.decision.remaining > 0 else { return }
        writer.name("limitRemaining")
        writer.integer(min(call.pointee.decision.remaining, Int64(UInt32.max)))
    }

    /// Envoy's name for the period; nil if it has none.
    private static func unit(_ limit: Limit) -> StaticString? {
        if let calendar = limit.calendar {
            return switch calendar.unit {
            case .day: "DAY"
            case .week: "WEEK"
            case .month: "MONTH"
            case .year: "YEAR"
            }
        }
        switch limit.period / 1_000_000_000 {
        case 1 where limit.period == 1_000_000_000: return "SECOND"
        case 60 where limit.period == 60_000_000_000: return "MINUTE"
        case 3600 where limit.period == 3_600_000_000_000: return "HOUR"
        case 86_400 where limit.period == 86_400_000_000_000: return "DAY"
        case 604_800 where limit.period == 604_800_000_000_000: return "WEEK"
        default: return nil
        }
    }
}
