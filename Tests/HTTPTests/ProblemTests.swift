import HTTP
import Testing

@Suite("Problem documents")
struct ProblemTests {
    @Test("members that every problem has, and the field's name")
    func document() {
        let out = ByteWriter()
        Problem.write(.invalidField, detail: "cost must be an integer", field: "cost", to: out)
        let text =
            #"{"type":"urn:escapement:problem:invalid-field","title":"Invalid field","status":400,"#
            + #""detail":"cost must be an integer","field":"cost"}"#
        #expect(String(decoding: out.bytes, as: UTF8.self) == text)
    }

    @Test("another status, and further members")
    func members() {
        let out = ByteWriter()
        var writer = Problem.begin(.quotaExceeded, status: 403, to: out)
        writer.name("retry_after_ms")
        writer.integer(1500)
        writer.endObject()
        let text =
            #"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Quota exceeded","#
            + #""status":403,"retry_after_ms":1500}"#
        #expect(String(decoding: out.bytes, as: UTF8.self) == text)
    }

    @Test("every kind is an error with a type of its own, and valid JSON")
    func kinds() throws {
        #expect(Set(ProblemKind.allCases.map { "\($0.type)" }).count == ProblemKind.allCases.count)
        for kind in ProblemKind.allCases {
            #expect((400...599).contains(kind.status))
            let out = ByteWriter()
            Problem.write(kind, detail: "\"\n", to: out)
            _ = try tree(Array(out.bytes))
        }
    }
}
