import Glibc
import Testing

@testable import RespServer

@Suite struct ConfigGetSetTests {
    private func get(_ patterns: String...) -> [String] { Settings().configGet(patterns: patterns).map(\.name) }

    @Test func getShowsValuesWithoutUnits() {
        let found = Settings().configGet(patterns: ["maxmemory", "save", "client-query-buffer-limit", "bind"])
        #expect(found.map(\.name) == ["bind", "client-query-buffer-limit", "maxmemory", "save"])
        #expect(found.map(\.value) == ["127.0.0.1 -::1", "16777216", "0", ""])
    }

    @Test func getTakesGlobsInAnyCase() {
        #expect(get("MAX*") == ["maxclients", "maxmemory", "maxmemory-policy"])
        #expect(get("*") == SettingsTable.all.flatMap(\.names))
        #expect(get("nothing*") == [])
        #expect(get() == [])
    }

    @Test func getShowsANameOnce() {
        #expect(get("maxclients", "max*s", "MAXCLIENTS") == ["maxclients"])
    }

    @Test func getShowsAliasesThatMatch() {
        #expect(get("*read-only") == ["replica-read-only", "slave-read-only"])
        #expect(get("slave-r*") == ["slave-read-only"])
        #expect(get("replica-read-only") == ["replica-read-only"])
    }

    @Test func setChangesEverythingNamed() throws {
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
            [("appendonly", "yes")],
            "ERR CONFIG SET failed (possibly related to argument 'appendonly') - "
                + "'yes' is not supported by this version; allowed: no"
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
        // Whatever the layout: read again, the file gives the settings that were to be written.
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
                == "port 7000\n\n# Generated by CONFIG REWRITE\nrequirepass \"two words\"\nmaxclients 30\nmaxmemory 5gb\n"
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
        // Someone set maxclients and added a line for a later version while the server ran.
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

    // MARK: On disk

    private func temporaryDirectory() throws -> String {
        var template = Array("/tmp/escapement-config-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
        return String(cString: try #require(made))
    }

    private func mode(_ path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
    }

    @Test func replacesTheFileWhole() throws {
        let directory = try temporaryDirectory()
        defer { rmdir(directory) }
        let path = directory + "/a.conf"
        defer { unlink(path) }
        try ConfigFile.replace(path, with: Array("port 1\n".utf8))
        #expect(mode(path) == 0o640)
        chmod(path, 0o604)
        try ConfigFile.replace(path, with: Array("port 2\n".utf8))
        #expect(try ConfigFile.read(path) == Array("port 2\n".utf8))
        #expect(mode(path) == 0o604)
        // Through a link: the link stays, its target changes, and nothing else is left in the directory.
        let link = directory + "/link.conf"
        defer { unlink(link) }
        #expect(symlink(path, link) == 0)
        try ConfigFile.replace(link, with: Array("port 3\n".utf8))
        #expect(try ConfigFile.read(path) == Array("port 3\n".utf8))
        var buffer = [CChar](repeating: 0, count: 256)
        #expect(readlink(link, &buffer, buffer.count) == path.utf8.count)
        #expect(access("\(path).\(getpid()).tmp", F_OK) != 0)
    }

    @Test func aFailureIsNamedAndLeavesTheFile() throws {
        let error = #expect(throws: ConfigFileError.self) {
            try ConfigFile.replace("/nonexistent/a.conf", with: [])
        }
        #expect(error?.text.contains("cannot write configuration file '/nonexistent/a.conf") == true)
        #expect(error?.text.hasSuffix(": No such file or directory") == true)
        // The directory stands in the file's way: the temporary file has to go again.
        let directory = try temporaryDirectory()
        defer { rmdir(directory) }
        #expect(throws: ConfigFileError.self) { try ConfigFile.replace(directory, with: [1]) }
        #expect(access("\(directory).\(getpid()).tmp", F_OK) != 0)
    }
}
