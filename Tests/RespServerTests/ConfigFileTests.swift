import Glibc
import Persistence
import Testing

@testable import RespServer

/// The configuration file: its parser, the shipped file, and the command line that overrides it.
@Suite struct ConfigFileTests {
    private func apply(_ text: String) throws(ConfigFileError) -> Settings {
        var settings = Settings()
        try ConfigFile.apply(Array(text.utf8), path: "test.conf", to: &settings)
        return settings
    }

    @Test func readsLinesCommentsAndQuotes() throws {
        let settings = try apply(
            """
            # a comment
              \t# another
            port 7000\r

            \tMAXCLIENTS   20\u{20}
            requirepass "with space and \\x41 # no comment"
            logfile 'a b'
            bind 127.0.0.1 -::1
            client-output-buffer-limit normal 1mb 0 0
            client-output-buffer-limit slave 2mb 0 0
            maxclients 30
            save ""
            """)
        #expect(settings.port == 7000)
        #expect(settings.maxclients == 30)
        #expect(settings.requirepass == "with space and A # no comment")
        #expect(settings.logfile == "a b")
        #expect(settings.bind == ["127.0.0.1", "-::1"])
        #expect(settings.clientOutputBufferLimit.normal.hardBytes == 1 << 20)
        #expect(settings.clientOutputBufferLimit.replica.hardBytes == 2 << 20)
        #expect(settings.clientOutputBufferLimit.pubsub == OutputBufferLimits().pubsub)
    }

    /// In-memory files by name; a pattern matches every name with the prefix before its `*`.
    static func files(_ texts: [String: String]) -> ConfigFiles {
        ConfigFiles(
            read: { path throws(ConfigFileError) in
                guard let text = texts[path] else { throw ConfigFileError(text: "cannot read '\(path)'") }
                return Array(text.utf8)
            },
            matching: { pattern in
                texts.keys.filter { $0.hasPrefix(String(pattern.prefix { $0 != "*" })) }.sorted()
            })
    }

    private func apply(_ text: String, including texts: [String: String]) throws(ConfigFileError) -> Settings {
        var settings = Settings()
        try ConfigFile.apply(Array(text.utf8), path: "test.conf", to: &settings, files: Self.files(texts))
        return settings
    }

    @Test func anIncludeIsReplacedByTheLinesOfItsFile() throws {
        let texts = ["a": "hz 20\nport 7001\ninclude deep\n", "deep": "maxclients 5", "d/1": "hz 30", "d/2": "hz 40"]
        #expect(try apply("hz 11\ninclude a\nport 7000", including: texts).hz == 20)
        #expect(try apply("include a\nport 7000", including: texts).port == 7000)
        #expect(try apply("INCLUDE a", including: texts).maxclients == 5)
        #expect(try apply("include d/*", including: texts).hz == 40)
        #expect(try apply("include \"d/2\" d/1", including: texts).hz == 30)
        // A pattern may match nothing; a plain name must exist.
        #expect(try apply("include none/*", including: texts).hz == Settings().hz)
    }

    @Test func includesThatFailNameTheLine() {
        func problem(_ text: String, _ texts: [String: String]) -> String? {
            do throws(ConfigFileError) {
                _ = try apply(text, including: texts)
                return nil
            } catch {
                return error.text
            }
        }
        #expect(problem("\ninclude missing", [:]) == "test.conf:2: cannot read 'missing'")
        #expect(problem("include", [:]) == "test.conf:1: include needs a file name")
        #expect(problem("include a", ["a": "hz 10\nnosuch 1"])?.hasPrefix("a:2: unknown setting 'nosuch'") == true)
        #expect(problem("include a", ["a": "include a"]) == "a:1: includes are nested more than 16 deep")
    }

    @Test func emptyFileChangesNothing() throws {
        #expect(try apply("") == Settings())
        #expect(try apply("\n\n") == Settings())
    }

    @Test(arguments: [
        (
            "port 1\nmaxclients abc",
            "test.conf:2: maxclients: 'abc' is not valid; allowed: an integer from 1 to 1000000 (connections)"
        ),
        ("maxclinets 3", "test.conf:1: unknown setting 'maxclinets'; did you mean 'maxclients'?"),
        (
            "\n\ncluster-enabled yes",
            "test.conf:3: unknown setting 'cluster-enabled': there is no cluster mode: one server serves all keys, "
                + "replicas take over through Sentinel"
        ),
        (
            "daemonize yes",
            "test.conf:1: unknown setting 'daemonize': it always runs in the foreground: let systemd, a container or "
                + "`&` put it into the background"
        ),
        (
            "maxclients",
            "test.conf:1: maxclients: a value is missing; allowed: an integer from 1 to 1000000 (connections)"
        ),
        (
            "maxclients 1 2",
            "test.conf:1: maxclients: '1 2' is not valid; allowed: an integer from 1 to 1000000 (connections)"
        ),
        ("requirepass \"open", "test.conf:1: unbalanced quotes"),
        ("requirepass 'a'b", "test.conf:1: unbalanced quotes"),
        (
            "save 900",
            "test.conf:1: save: '900' is not valid; allowed: pairs of seconds and changes, or nothing"
        ),
    ])
    func mistakesNameFileAndLine(text: String, message: String) {
        #expect(throws: ConfigFileError(text: message)) { try apply(text) }
    }

    @Test func bytesThatAreNotTextAreRefused() {
        var settings = Settings()
        #expect(throws: ConfigFileError.self) {
            try ConfigFile.apply(Array("requirepass ".utf8) + [0xFF, 0x61], path: "test.conf", to: &settings)
        }
        #expect(settings == Settings())
    }

    @Test func quotedWordsReadBack() {
        for word in ["", "plain", "two words", "\"", "'", "\\", "\\n", "a\nb\r\t\u{1}\u{7F}", "#x", "é…🙂", "a\\x41"] {
            #expect(ConfigWord.split(line: Array(ConfigWord.quoted(word).utf8)) == [word], "\(word)")
        }
    }

    @Test func missingFileIsNamed() {
        let error = #expect(throws: ConfigFileError.self) { try ConfigFile.read("/nonexistent/x.conf") }
        #expect(error?.text == "cannot read configuration file '/nonexistent/x.conf': No such file or directory")
        let directory = #expect(throws: ConfigFileError.self) { try ConfigFile.read("/tmp") }
        #expect(directory?.text == "cannot read configuration file '/tmp': Is a directory")
        let endless = #expect(throws: ConfigFileError.self) { try ConfigFile.read("/dev/zero") }
        #expect(endless?.text == "cannot read configuration file '/dev/zero': larger than 1048576 bytes")
    }

    // MARK: The shipped file

    @Test func shippedFileMatchesTheTable() throws {
        let root = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
        let shipped = String(decoding: try ConfigFile.read(root + "/escapement.conf"), as: UTF8.self)
        #expect(
            shipped == ConfigText.defaultFile(),
            "escapement.conf does not match the settings table; run: escapement --print-config > escapement.conf")
    }

    @Test func shippedFileHoldsTheDefaults() throws {
        let text = ConfigText.defaultFile()
        #expect(try apply(text) == Settings())
        for line in text.split(separator: "\n") { #expect(line.count <= 120, "\(line)") }
    }

    /// Every commented-out setting in the file is a valid line that, uncommented, sets the default.
    @Test func everySettingIsInTheShippedFile() throws {
        let lines = ConfigText.defaultFile().split(separator: "\n").map(String.init)
        for setting in SettingsTable.all {
            let line = setting.line(Settings())
            #expect(lines.contains(setting.isActiveInFile ? line : "# " + line), "\(setting.name)")
            #expect(try apply(line) == Settings(), "\(setting.name)")
        }
    }

    @Test func helpListsEverySetting() {
        let help = ConfigText.help()
        for setting in SettingsTable.all { #expect(help.contains("\n  --\(setting.name) "), "\(setting.name)") }
    }
}

@Suite struct ConfigLaunchTests {
    private func parse(_ words: String..., file: String? = nil) -> LaunchRequest {
        LaunchRequest(words) { path throws(ConfigFileError) in
            guard let file, path == "my.conf" else { throw ConfigFileError(text: "no file '\(path)'") }
            return Array(file.utf8)
        }
    }

    private func launch(_ words: String..., file: String? = nil) throws -> LaunchRequest.Launch {
        let request = LaunchRequest(words) { _ throws(ConfigFileError) in Array((file ?? "").utf8) }
        guard case .run(let launch) = request else { throw ConfigFileError(text: "\(request)") }
        return launch
    }

    @Test func noArgumentsMeanDefaults() {
        #expect(parse() == .run(.init(settings: Settings(), configPath: nil, flagNames: [])))
    }

    @Test func flagsWinOverTheFile() throws {
        let launch = try launch("my.conf", "--port", "7001", file: "port 7000\nmaxclients 5\n")
        #expect(launch.settings.port == 7001)
        #expect(launch.settings.maxclients == 5)
        #expect(launch.configPath == "my.conf")
        #expect(launch.flagNames == ["port"])
    }

    @Test func allFormsOfFlags() throws {
        let launch = try launch(
            "--port=7001", "--save", "", "--bind", "127.0.0.1", "::1", "--client-output-buffer-limit", "normal", "0",
            "0",
            "0", "--slowlog-log-slower-than", "-1", "--requirepass=--a=b", "--SLAVE-priority", "100", "--logfile=")
        #expect(launch.settings.port == 7001)
        #expect(launch.settings.save.rules.isEmpty)
        #expect(launch.settings.bind == ["127.0.0.1", "::1"])
        #expect(launch.settings.clientOutputBufferLimit.normal.hardBytes == 0)
        #expect(launch.settings.slowlogLogSlowerThanMicroseconds == -1)
        #expect(launch.settings.requirepass == "--a=b")
        #expect(launch.flagNames.contains("replica-priority"))
    }

    @Test func informationalFlags() {
        #expect(parse("--help") == .help)
        #expect(parse("-h") == .help)
        #expect(parse("--version") == .version)
        #expect(parse("-v") == .version)
        #expect(parse("--print-config") == .printConfig)
        #expect(parse("--port", "99999", "--help") == .help)
        #expect(parse("no-such.conf", "--version") == .version)
    }

    @Test func mistakesAreOneClearLine() {
        #expect(
            parse("--port", "70000") == .failure("--port: '70000' is not valid; allowed: an integer from 0 to 65535"))
        #expect(parse("--maxclinets", "3") == .failure("unknown option '--maxclinets'; did you mean '--maxclients'?"))
        #expect(parse("--port") == .failure("--port: a value is missing; allowed: an integer from 0 to 65535"))
        #expect(
            parse("--port", "1", "2") == .failure("--port: '1 2' is not valid; allowed: an integer from 0 to 65535"))
        #expect(parse("--port=1", "2") == .failure("--port: '1 2' is not valid; allowed: an integer from 0 to 65535"))
        #expect(parse("--", "x") == .failure("unknown option '--'"))
        #expect(parse("x.conf") == .failure("no file 'x.conf'"))
        #expect(
            parse("x.conf", "y") == .failure("unexpected argument 'y'; usage: escapement [FILE] [--NAME VALUE …]"))
        #expect(parse("-p") == .failure("unexpected argument '-p'; usage: escapement [FILE] [--NAME VALUE …]"))
        #expect(
            parse("my.conf", file: "port x")
                == .failure("my.conf:1: port: 'x' is not valid; allowed: an integer from 0 to 65535"))
    }
}
