import Glibc
import TestSupport
import Testing

@testable import RespServer

@Suite struct ConfigGetSetTests {
    private func get(_ patterns: String...) -> [String] {
        Settings().configGet(patterns.map { GlobPattern($0, ignoringCase: true) }).map(\.name)
    }

    @Test func getShowsValuesWithoutUnits() {
        let found = Settings().configGet(
            ["maxmemory", "save", "client-query-buffer-limit", "bind"].map { GlobPattern($0, ignoringCase: true) })
        #expect(found.map(\.name) == ["bind", "client-query-buffer-limit", "maxmemory", "save"])
        #expect(found.map(\.value) == ["127.0.0.1 -::1", "16777216", "0", ""])
    }

    @Test func getAcceptsGlobsInAnyCase() {
        #expect(get("MAX*") == ["maxclients", "maxmemory-clients", "maxmemory", "maxmemory-policy"])
        #expect(get("*") == SettingsTable.all.flatMap(\.names))
        #expect(get("nothing*") == [])
        #expect(get() == [])
    }

    @Test func getShowsANameOnce() {
        #expect(get("maxclients", "max*s", "MAXCLIENTS") == ["maxclients", "maxmemory-clients"])
    }

    @Test func getShowsAliasesThatMatch() {
        #expect(get("*read-only") == ["replica-read-only", "slave-read-only"])
        #expect(get("slave-r*") == ["slave-read-only"])
        #expect(get("replica-read-only") == ["replica-read-only"])
    }

    @Test func setChangesAllNamedSettings() throws {
        let change = try Settings().configSet([("MaxClients", "20"), ("maxmemory", "1gb")])
        #expect(change.settings.maxclients == 20)
        #expect(change.settings.maxmemoryBytes == 1 << 30)
        #expect(change.names == ["maxclients", "maxmemory"])
    }

    @Test(arguments: [
        ([("x", "1")], "ERR Unknown option or number of arguments for CONFIG SET - 'x'"),
        ([("maxclients", "0"), ("X", "1")], "ERR Unknown option or number of arguments for CONFIG SET - 'X'"),
        (
            [("maxclients", "0")],
            "ERR CONFIG SET failed (possibly related to argument 'maxclients') - "
                + "argument must be between 1 and 1000000 inclusive"
        ),
        (
            [("maxmemory", "10"), ("MAXCLIENTS", "abc")],
            "ERR CONFIG SET failed (possibly related to argument 'maxclients') - "
                + "argument couldn't be parsed into an integer"
        ),
        (
            [("databases", "1")],
            "ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config"
        ),
        (
            [("maxclients", "10"), ("maxclients", "20")],
            "ERR CONFIG SET failed (possibly related to argument 'maxclients') - duplicate parameter"
        ),
        (
            [("replica-read-only", "yes"), ("slave-read-only", "yes")],
            "ERR CONFIG SET failed (possibly related to argument 'slave-read-only') - duplicate parameter"
        ),
        (
            [("replica-read-only", "no")],
            "ERR CONFIG SET failed (possibly related to argument 'replica-read-only') - "
                + "'no' is not supported by this version; allowed: yes"
        ),
        (
            [("save", "900 1 300")],
            "ERR CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters"
        ),
        (
            [("appenddirname", "elsewhere")],
            "ERR CONFIG SET failed (possibly related to argument 'appenddirname') - can't set immutable config"
        ),
        ([("a\r\nb", "1")], "ERR Unknown option or number of arguments for CONFIG SET - 'a\\x0d\\x0ab'"),
    ])
    func setRefusesAsRedisDoes(pairs: [(String, String)], text: String) {
        #expect(throws: ConfigSetError(text: text)) {
            try Settings().configSet(pairs.map { (name: $0.0, value: $0.1) })
        }
    }
}

@Suite struct ConfigRewriteTests {
    private func rewrite(_ old: String, changed: Set<String>, _ change: (inout Settings) -> Void) throws -> String {
        var settings = Settings()
        try ConfigFile.apply(Array(old.utf8), path: "old", to: &settings)
        change(&settings)
        let new = ConfigRewrite.text(Array(old.utf8), settings: settings, changed: changed)
        // Whatever the layout, the file must read back as the settings that were written.
        var readBack = Settings()
        try ConfigFile.apply(new, path: "new", to: &readBack)
        #expect(readBack == settings)
        return String(decoding: new, as: UTF8.self)
    }

    @Test func keepsCommentsOrderAndLayout() throws {
        let old = "# top\n\nport   7000\n  # indented\n\tMaxClients\t 10\nmaxmemory 1048576\n\n# end\n"
        let new = try rewrite(old, changed: ["maxclients", "maxmemory"]) { $0.maxclients = 20 }
        #expect(new == "# top\n\nport   7000\n  # indented\n\tMaxClients\t 20\nmaxmemory 1048576\n\n# end\n")
    }

    @Test func changesNothingWhenNothingChanged() throws {
        let old = "port 7000\nmaxmemory 1024kb"
        #expect(try rewrite(old, changed: ["maxmemory"]) { _ in } == old + "\n")
        #expect(try rewrite("", changed: []) { _ in } == "")
    }

    @Test func replacesTheFirstLineAndDropsFurtherOnes() throws {
        let new = try rewrite("maxclients 1\nport 2\nmaxclients 3\n", changed: ["maxclients"]) { $0.maxclients = 4 }
        #expect(new == "maxclients 4\nport 2\n")
        let limits = "client-output-buffer-limit normal 1mb 0 0\n# x\nclient-output-buffer-limit pubsub 1mb 0 0\n"
        let kept = try rewrite(limits, changed: ["client-output-buffer-limit"]) { _ in }
        #expect(kept == limits)
        let merged = try rewrite(limits, changed: ["client-output-buffer-limit"]) {
            $0.clientOutputBufferLimit.normal.hardBytes = 2 << 20
        }
        #expect(merged == "client-output-buffer-limit normal 2mb 0 0 replica 256mb 64mb 60 pubsub 1mb 0 0\n# x\n")
    }

    @Test func appendsWhatHasNoLine() throws {
        let new = try rewrite("port 7000\n", changed: ["maxclients", "requirepass", "hz"]) {
            $0.maxclients = 20
            $0.requirepass = "two words"
        }
        #expect(
            new == "port 7000\n\n# Generated by CONFIG REWRITE\nrequirepass \"two words\"\nmaxclients 20\n")
        let again = try rewrite(new, changed: ["maxclients", "maxmemory"]) {
            $0.maxclients = 30
            $0.maxmemoryBytes = 5 << 30
        }
        #expect(
            again
                == "port 7000\n\n# Generated by CONFIG REWRITE\nrequirepass \"two words\"\n"
                + "maxclients 30\nmaxmemory 5gb\n"
        )
    }

    @Test func backToTheDefaultReplacesTheLine() throws {
        #expect(
            try rewrite("maxclients 20\n", changed: ["maxclients"]) { $0.maxclients = 10_000 } == "maxclients 10000\n")
        #expect(
            try rewrite("requirepass a\n", changed: ["requirepass"]) { $0.requirepass = "" } == "requirepass \"\"\n")
    }

    @Test func keepsAliasesCarriageReturnsAndOddBytes() throws {
        #expect(
            try rewrite("slave-read-only YES\r\nhz 5\r\n", changed: ["hz"]) { $0.hz = 7 }
                == "slave-read-only YES\r\nhz 7\r\n")
        let comment: [UInt8] = [0x23, 0xFF, 0xFE, 0x0A]
        #expect(ConfigRewrite.text(comment, settings: Settings(), changed: []) == comment)
    }

    @Test func keepsEditsMadeSinceTheStart() {
        // The file was edited while the server ran: another maxclients, and a setting of a later version.
        let edited = Array("maxclients 99\nfuture-setting 1\nhz bad\n".utf8)
        var settings = Settings()
        settings.hz = 20
        let new = ConfigRewrite.text(edited, settings: settings, changed: ["hz"])
        #expect(String(decoding: new, as: UTF8.self) == "maxclients 99\nfuture-setting 1\nhz 20\n")
    }

    @Test func repairsALineWithoutAValue() {
        var settings = Settings()
        settings.hz = 20
        let new = ConfigRewrite.text(Array("hz\n".utf8), settings: settings, changed: ["hz"])
        #expect(String(decoding: new, as: UTF8.self) == "hz 20\n")
    }

    /// Random files and random changes: the new text always reads back as the settings it was written for, keeps
    /// every comment, and does not change when rewritten again.
    @Test func randomRewritesReadBack() throws {
        var random = SeededGenerator(for: "randomRewritesReadBack")
        let seed = random.seed
        for round in 0..<100 {
            var settings = Settings()
            var old = ""
            var comments: [Substring] = []
            for _ in 0..<Int.random(in: 0...12, using: &random) {
                if Bool.random(using: &random) {
                    let comment = "# \(random.next())"
                    comments.append(comment[...])
                    old += comment + "\n"
                } else {
                    var elsewhere = Settings()
                    randomize(&elsewhere, using: &random)
                    old += randomLine(elsewhere, using: &random) + "\n\n"
                }
            }
            try ConfigFile.apply(Array(old.utf8), path: "old", to: &settings)
            let start = settings
            randomize(&settings, using: &random)
            let changed = Set(SettingsTable.all.filter { $0.read(start) != $0.read(settings) }.map(\.name))
            let new = ConfigRewrite.text(Array(old.utf8), settings: settings, changed: changed)
            var readBack = Settings()
            try ConfigFile.apply(new, path: "new", to: &readBack)
            let kept = String(decoding: new, as: UTF8.self).split(separator: "\n").filter { $0.hasPrefix("# ") }
            try #require(readBack == settings, "seed \(seed), round \(round)")
            try #require(
                kept.filter { $0 != ConfigRewrite.header } == comments, "seed \(seed), round \(round)")
            try #require(
                ConfigRewrite.text(new, settings: settings, changed: changed) == new, "seed \(seed), round \(round)")
        }
    }

    /// Random bytes are parsed or refused, and never crash the parser.
    @Test func randomBytesAreRefusedOrRead() {
        var random = SeededGenerator(for: "randomBytesAreRefusedOrRead")
        let seed = random.seed
        let pieces =
            SettingsTable.all.flatMap(\.names).map { Array($0.utf8) }
            + [
                [0x20], [0x20], [0x0A], [0x22], [0x27], [0x5C], [0x23], [0x00], [0xFF], [0x2D],
                Array("18446744073709551616gb".utf8),
            ]
        for _ in 0..<500 {
            let bytes = (0..<Int.random(in: 0...12, using: &random)).flatMap { _ in
                pieces.randomElement(using: &random)!
            }
            var settings = Settings()
            do throws(ConfigFileError) {
                try ConfigFile.apply(bytes, path: "f", to: &settings)
            } catch {
                #expect(error.text.hasPrefix("f:") && !error.text.contains("\n"), "seed \(seed)")
            }
            _ = ConfigRewrite.text(bytes, settings: settings, changed: Set(SettingsTable.all.map(\.name)))
        }
    }

    private func randomize(_ settings: inout Settings, using random: inout SeededGenerator) {
        if Bool.random(using: &random) { settings.maxclients = .random(in: 1...5, using: &random) }
        if Bool.random(using: &random) { settings.maxmemoryBytes = .random(in: 0...3, using: &random) << 20 }
        if Bool.random(using: &random) {
            settings.requirepass = ["", "a b", "\"'\\#", "plain"].randomElement(using: &random)!
        }
        if Bool.random(using: &random) { settings.loglevel = Log.Level.allCases.randomElement(using: &random)! }
        if Bool.random(using: &random) {
            settings.latencyTrackingInfoPercentiles = [[], [50], [0.5, 99.99]].randomElement(using: &random)!
        }
        if Bool.random(using: &random) {
            let limit = OutputBufferLimit(
                hardBytes: .random(in: 0...2, using: &random) << 10, softBytes: 1000, softSeconds: 1)
            settings.clientOutputBufferLimit[OutputBufferLimits.ClientClass.allCases.randomElement(using: &random)!] =
                limit
        }
    }

    private func randomLine(_ settings: Settings, using random: inout SeededGenerator) -> String {
        let names = [
            "maxclients", "maxmemory", "requirepass", "loglevel", "latency-tracking-info-percentiles",
            "client-output-buffer-limit",
        ]
        return ["", " ", "\t"].randomElement(using: &random)!
            + SettingsTable.setting(named: names.randomElement(using: &random)!)!.line(settings)
    }

    // MARK: On disk

    private func mode(_ path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
    }

    @Test func replacesTheFileAtomically() throws {
        let directory = TemporaryDirectory("config")
        defer { withExtendedLifetime(directory) {} }
        let path = directory.file("a.conf")
        try ConfigFile.replace(path, with: Array("port 1\n".utf8))
        #expect(mode(path) == 0o640)
        chmod(path, 0o604)
        try ConfigFile.replace(path, with: Array("port 2\n".utf8))
        #expect(try ConfigFile.read(path) == Array("port 2\n".utf8))
        #expect(mode(path) == 0o604)
        // Through a symbolic link: the link stays, its target changes, and no temporary file is left in the
        // directory.
        let link = directory.file("link.conf")
        #expect(symlink(path, link) == 0)
        try ConfigFile.replace(link, with: Array("port 3\n".utf8))
        #expect(try ConfigFile.read(path) == Array("port 3\n".utf8))
        var buffer = [CChar](repeating: 0, count: 256)
        #expect(readlink(link, &buffer, buffer.count) == path.utf8.count)
        #expect(access("\(path).\(getpid()).tmp", F_OK) != 0)
    }

    @Test func aFailureIsReportedAndLeavesTheFileUnchanged() throws {
        let error = #expect(throws: ConfigFileError.self) {
            try ConfigFile.replace("/nonexistent/a.conf", with: [])
        }
        #expect(error?.text.contains("cannot write configuration file '/nonexistent/a.conf") == true)
        #expect(error?.text.hasSuffix(": No such file or directory") == true)
        // The target is a directory, so the rename fails and the temporary file must be removed.
        let directory = TemporaryDirectory("config")
        #expect(throws: ConfigFileError.self) { try ConfigFile.replace(directory.path, with: [1]) }
        #expect(access("\(directory.path).\(getpid()).tmp", F_OK) != 0)
    }

    // MARK: Included files

    private func rewritten(_ text: String, including texts: [String: String], _ change: (inout Settings) -> Void) throws
        -> String
    {
        let files = ConfigFileTests.files(texts)
        var settings = Settings()
        try ConfigFile.apply(Array(text.utf8), path: "main", to: &settings, files: files)
        change(&settings)
        let new = ConfigRewrite.text(Array(text.utf8), settings: settings, changed: ["hz"], files: files)
        var readBack = Settings()
        try ConfigFile.apply(new, path: "new", to: &readBack, files: files)
        #expect(readBack == settings)
        return String(decoding: new, as: UTF8.self)
    }

    /// Values set by an included file stay there; a value that differs from the included one is appended after the
    /// include.
    @Test func rewriteLeavesIncludedFilesAlone() throws {
        let texts = ["a": "maxclients 5\nhz 20\n"]
        #expect(try rewritten("port 7000\ninclude a\n", including: texts) { _ in } == "port 7000\ninclude a\n")
        #expect(
            try rewritten("include a\nport 7000\n", including: texts) { $0.hz = 30 }
                == "include a\nport 7000\n\n\(ConfigRewrite.header)\nhz 30\n")
        #expect(
            try rewritten("hz 10\ninclude a\n", including: texts) { $0.hz = 30 }
                == "hz 30\ninclude a\n\n\(ConfigRewrite.header)\nhz 30\n")
        #expect(try rewritten("include a\nhz 10\n", including: texts) { $0.hz = 30 } == "include a\nhz 30\n")
    }
}
