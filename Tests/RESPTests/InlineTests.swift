import RESP
import Testing

@Suite("Inline commands")
struct InlineTests {
    @Test("words and white space")
    func words() {
        verify("PING\r\n", gives: [request("PING")])
        verify("PING\n", gives: [request("PING")])
        verify("  set\tfoo   bar  \r\n", gives: [request("set", "foo", "bar")])
        verify("POST / HTTP/1.1\r\n", gives: [request("POST", "/", "HTTP/1.1")])
        // Only the CR directly before the LF belongs to the line end; any other CR is white space.
        verify("a\rb\r\r\n", gives: [request("a", "b")])
        verify("caf\u{E9} \u{1F600}\n", gives: [request("caf\u{E9}", "\u{1F600}")])
    }

    @Test("double quotes and their escapes")
    func doubleQuotes() {
        verify("ECHO \"a b\"\r\n", gives: [request("ECHO", "a b")])
        verify("ECHO \"\"\r\n", gives: [request("ECHO", "")])
        verify(#"E "\n\r\t\b\a\\\"\q'""# + "\r\n", gives: [request("E", "\n\r\t\u{8}\u{7}\\\"q'")])
        verify(#"E "\x41\x7a\x4A\xzz\x4""# + "\r\n", gives: [request("E", "AzJxzzx4")])
        verify(Array(#"E "\xFF\x00""#.utf8) + [0x0A], gives: [.request([[0x45], [0xFF, 0x00]])])
        verify(#"k"e"'y'"# + "\n", gives: [.failure(.unbalancedQuotes)])
        verify(#"ab"c d""# + "\n", gives: [request("abc d")])
    }

    @Test("single quotes have only one escape")
    func singleQuotes() {
        verify(#"E 'a b\n\'"'"# + "\r\n", gives: [request("E", #"a b\n'""#)])
        verify("''\n", gives: [request("")])
    }

    @Test(
        "unbalanced quotes",
        arguments: [
            #"""#, #"a "b"#, #"a 'b"#, #"'it\'"#, #""a"b"#, #"'a'b"#, #"a "b\"#, #""a\""#, #""a""b""#,
        ])
    func unbalanced(line: String) {
        verify(line + "\n", gives: [.failure(.unbalancedQuotes)])
        verify(line + "\r\n", gives: [.failure(.unbalancedQuotes)])
    }
}
