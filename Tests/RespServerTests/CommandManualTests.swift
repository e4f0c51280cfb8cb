// The reference of the commands is current and complete. That what it says is true, Tests/Integration/test_examples.py
// verifies on the real server.

import Glibc
import Testing

@testable import RespServer

@Suite struct CommandManualTests {
    /// `make docs` regenerates the files.
    @Test(arguments: ["commands.md", "redis-commands.md"])
    func theFilesAreUpToDate(name: String) throws {
        let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
        let path = "\(root)/docs/\(name)"
        let file = try #require(fopen(path, "r"), "cannot open \(path)")
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
        let text = name == "commands.md" ? CommandManual.limiterPage() : CommandManual.redisPage()
        #expect(String(decoding: bytes, as: UTF8.self) == text, "docs/\(name) is out of date")
    }

    /// Every command and subcommand, and no container that is not a command itself unless it has notes.
    @Test func eachCommandHasAPage() {
        let runnable = CommandTable.specs.flatMap { spec in
            (spec.isRunnable ? [spec.name] : []) + spec.subcommands.map { $0.fullName(in: spec) }
        }
        for name in runnable {
            let page = CommandPages.all[name]
            #expect(page?.replies.isEmpty == false, "\(name) has no replies in the reference")
        }
        let known = Set(runnable + CommandTable.specs.map(\.name))
        for name in CommandPages.all.keys { #expect(known.contains(name), "there is no command \(name)") }
    }

    @Test func eachCommandIsInOneGroup() {
        for spec in CommandTable.specs {
            let groups = (CommandManual.limiterGroups + CommandManual.redisGroups).filter { $0.names(spec) }
            #expect(groups.count == 1, "\(spec.name)")
        }
    }

    /// GitHub numbers repeated headings: `keys` is the group, `keys-1` the command KEYS.
    @Test(arguments: [CommandManual.limiterPage(), CommandManual.redisPage()])
    func linksInsideAPageLeadToAHeading(page: String) {
        var seen: [String: Int] = [:]
        var anchors: Set<String> = []
        var isCode = false
        for line in page.split(separator: "\n") {
            if line.hasPrefix("```") { isCode.toggle() }
            guard !isCode, line.hasPrefix("#"), let space = line.firstIndex(of: " ") else { continue }
            let anchor = CommandManual.anchor(String(line[line.index(after: space)...]))
            let number = seen[anchor, default: 0]
            seen[anchor] = number + 1
            anchors.insert(number == 0 ? anchor : "\(anchor)-\(number)")
        }
        for link in page.matches(of: /\]\(#([^)]*)\)/) {
            #expect(anchors.contains(String(link.1)), "no heading for \(link.0)")
        }
        #expect(!page.contains("[KEYS](#keys)"), "leads to the group")
    }

    @Test func anchors() {
        #expect(CommandManual.anchor("CL.THROTTLE") == "clthrottle")
        #expect(CommandManual.anchor("CLIENT NO-EVICT") == "client-no-evict")
        #expect(CommandManual.anchor("EVAL_RO") == "eval_ro")
    }
}
