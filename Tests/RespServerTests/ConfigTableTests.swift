import Replication
import Testing

@testable import RespServer

/// The settings table as a whole, and which values each kind of setting accepts and refuses.
@Suite struct ConfigTableTests {
    @Test func namesAreUniqueAndLowerCase() {
        let names = SettingsTable.all.flatMap(\.names)
        #expect(Set(names).count == names.count)
        #expect(names.allSatisfy { $0 == $0.lowercased() && !$0.isEmpty })
    }

    @Test func everyFieldHasASetting() {
        // One setting for each stored property: this detects a field without a setting and a setting without a field.
        #expect(Mirror(reflecting: Settings()).children.count == SettingsTable.all.count)
    }

    @Test func everySettingIsDocumented() {
        for setting in SettingsTable.all {
            #expect(!setting.summary.isEmpty && !setting.allowed.isEmpty, "\(setting.name)")
            for line in setting.summary { #expect(line.count <= 116, "\(setting.name): \(line)") }
        }
    }

    @Test func aliasesFindTheirSetting() {
        #expect(SettingsTable.setting(named: "slave-read-only")?.name == "replica-read-only")
        #expect(SettingsTable.setting(named: "MaxClients")?.name == "maxclients")
        #expect(SettingsTable.setting(named: "nothing") == nil)
    }

    /// Every setting accepts the value it reports, in its CONFIG GET form and its file form, and stays unchanged.
    @Test func everySettingAcceptsItsOwnValue() throws {
        var changed = Settings()
        changed.maxclients = 77
        changed.clientOutputBufferLimit.pubsub = OutputBufferLimit(hardBytes: 3, softBytes: 1 << 20, softSeconds: 9)
        changed.latencyTrackingInfoPercentiles = [0.001, 50, 99.9, 100]
        changed.requirepass = "with \"quotes\", a tab\t, # and é"
        changed.logfile = "/var/log/a file.log"
        for settings in [Settings(), changed] {
            for setting in SettingsTable.all {
                var copy = settings
                try setting.parse(&copy, setting.read(settings))
                #expect(copy == settings, "\(setting.name) by its CONFIG GET value")

                let line = Array(setting.line(settings).utf8)
                try ConfigFile.apply(line, path: "test", to: &copy)
                #expect(copy == settings, "\(setting.name) by its line in a file")

                guard setting.isMutable else { continue }
                for name in setting.names {
                    let change = try settings.configSet([(name, setting.read(settings))])
                    #expect(change.settings == settings, "\(name) by CONFIG SET")
                    #expect(change.names == [setting.name])
                }
            }
        }
    }

    // MARK: Values

    /// Every value in the list is refused with an error for the operator and one for the client, and changes nothing.
    private func expectRefused(
        _ name: String, _ values: [String], client: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let setting = try #require(SettingsTable.setting(named: name))
        for value in values {
            var settings = Settings()
            let error = #expect(throws: SettingError.self, "\(name) \(value)", sourceLocation: sourceLocation) {
                try setting.parse(&settings, value)
            }
            #expect(settings == Settings(), sourceLocation: sourceLocation)
            #expect(error?.reasonForClient == client, sourceLocation: sourceLocation)
            #expect(
                error?.text == "\(name): '\(SettingError.printable(value))' is not valid; allowed: \(setting.allowed)",
                sourceLocation: sourceLocation)
        }
    }

    private func parsed(_ name: String, _ value: String) throws -> Settings {
        var settings = Settings()
        try #require(SettingsTable.setting(named: name)).parse(&settings, value)
        return settings
    }

    @Test func integers() throws {
        #expect(try parsed("maxclients", "1").maxclients == 1)
        #expect(try parsed("maxclients", "1000000").maxclients == 1_000_000)
        #expect(try parsed("slowlog-log-slower-than", "-1").slowlogLogSlowerThanMicroseconds == -1)
        try expectRefused(
            "maxclients", ["", "abc", "010", "+5", " 5", "5 ", "0x10", "1.5", "-0", "99999999999999999999", "٣"],
            client: "argument couldn't be parsed into an integer")
        try expectRefused(
            "maxclients", ["0", "-1", "1000001", "9223372036854775807", "-9223372036854775808"],
            client: "argument must be between 1 and 1000000 inclusive")
    }

    @Test func aBadIntegerIsExplained() throws {
        var settings = Settings()
        let error = #expect(throws: SettingError.self) {
            try #require(SettingsTable.setting(named: "shards")).parse(&settings, "abc")
        }
        #expect(error?.text == "shards: 'abc' is not valid; allowed: a power of two from 1 to 4096")
    }

    @Test func powersOfTwo() throws {
        #expect(try parsed("shards", "1").shards == 1)
        #expect(try parsed("shards", "4096").shards == 4096)
        try expectRefused("shards", ["3", "255", "4095"], client: "argument must be a power of two")
        try expectRefused("shards", ["0", "-4", "8192"], client: "argument must be between 1 and 4096 inclusive")
        try expectRefused("shards", ["", "many"], client: "argument couldn't be parsed into an integer")
    }

    @Test func octal() throws {
        #expect(try parsed("unixsocketperm", "700").unixsocketperm == 0o700)
        #expect(try parsed("unixsocketperm", "0770").unixsocketperm == 0o770)
        try expectRefused(
            "unixsocketperm", ["", "8", "-7", "0o7", "7777777777777"],
            client: "argument couldn't be parsed as an octal number")
        try expectRefused("unixsocketperm", ["1000"], client: "argument must be between 0 and 777 inclusive")
    }

    @Test func memory() throws {
        let spellings = [
            ("100", 100), ("1b", 1), ("1k", 1000), ("1kb", 1024), ("2M", 2_000_000), ("2MB", 2 << 20),
            ("3g", 3_000_000_000),
            ("3Gb", 3 << 30), ("010", 10), ("0", 0),
        ]
        for (text, bytes) in spellings { #expect(try parsed("maxmemory", text).maxmemoryBytes == bytes, "\(text)") }
        try expectRefused(
            "maxmemory",
            ["", "abc", "-1", "+1", "1.5gb", " 10", "10 mb", "kb", "10tb", "9999999999999gb", "99999999999999999999"],
            client: "argument must be a memory value")
        try expectRefused(
            "proto-max-bulk-len", ["1023", "17mb"], client: "argument must be between 1024 and 16777216 inclusive")
        try expectRefused(
            "client-query-buffer-limit", ["1m"], client: "argument must be between 1048576 and 1073741824 inclusive")
    }

    @Test func memoryTextReadsBack() {
        for bytes in [0, 1, 1000, 1023, 1024, 1536, 1 << 20, (1 << 20) + 1, 5 << 30, 1 << 50] {
            #expect(MemorySize.parse(MemorySize.text(bytes)) == bytes)
        }
        #expect(MemorySize.text(16 << 20) == "16mb")
    }

    @Test func flags() throws {
        #expect(try parsed("protected-mode", "NO").protectedMode == false)
        try expectRefused("protected-mode", ["", "maybe", "1", "true"], client: "argument must be 'yes' or 'no'")
    }

    @Test func choices() throws {
        #expect(try parsed("loglevel", "DEBUG").loglevel == .debug)
        #expect(try parsed("maxmemory-policy", "evict-soonest").maxmemoryPolicy == .evictSoonest)
        try expectRefused(
            "loglevel", ["", "loud"],
            client: "argument(s) must be one of the following: debug, verbose, notice, warning")
        try expectRefused(
            "maxmemory-policy", ["allkeys-lru"],
            client: "argument(s) must be one of the following: noeviction, evict-soonest")
    }

    @Test func texts() throws {
        #expect(try parsed("logfile", "").logfile == "")
        let long = String(repeating: "a", count: 4096)
        try expectRefused(
            "logfile", ["a\0b", "a\u{FFFD}", long], client: "argument must be text in UTF-8 of at most 4095 bytes")
        try expectRefused("dir", [""], client: "argument must be text in UTF-8 of 1 to 4000 bytes")
    }

    @Test func aSecretIsNotInTheError() throws {
        let setting = try #require(SettingsTable.setting(named: "requirepass"))
        var settings = Settings()
        for words in [["hunter2\u{FFFD}"], ["hunter2", "more"]] {
            let error = #expect(throws: SettingError.self) { try setting.parse(words: words, into: &settings) }
            #expect(error?.text == "requirepass: this value is not valid; allowed: text in UTF-8 of at most 512 bytes")
        }
        settings.requirepass = "hunter2"
        #expect(setting.read(settings) == "hunter2")
        #expect(setting.readForLog(settings) == "(hidden)")
    }

    @Test func addresses() throws {
        #expect(try parsed("bind", "").bind == [])
        let settings = try parsed("bind", "127.0.0.1  -::1 * -::* fe80::1%eth0 my-host.example")
        #expect(settings.bind == ["127.0.0.1", "-::1", "*", "-::*", "fe80::1%eth0", "my-host.example"])
        #expect(settings.bindAddresses[1] == Settings.BindAddress(host: "::1", mayFail: true))
        #expect(settings.bindAddresses[0] == Settings.BindAddress(host: "127.0.0.1", mayFail: false))
        let setting = try #require(SettingsTable.setting(named: "bind"))
        let tooMany = Array(repeating: "::1", count: 17).joined(separator: " ")
        try expectRefused("bind", ["-", "a b c/d", "\"::1\"", tooMany], client: "argument must be \(setting.allowed)")
    }

    /// The primary's host is written to a file of space-separated words, so it must be a single word.
    @Test func thePrimarysHostIsOneWord() {
        #expect(PeerAddress(words: ["db-1", "7777"]) == PeerAddress(host: "db-1", port: 7777))
        for host in ["", "a b", "a\tb", "a\r\nb", " a", "a\u{7F}", String(repeating: "x", count: 256)] {
            #expect(PeerAddress(words: [host, "7777"]) == nil)
        }
    }

    @Test func percentiles() throws {
        #expect(try parsed("latency-tracking-info-percentiles", "").latencyTrackingInfoPercentiles == [])
        #expect(
            try parsed("latency-tracking-info-percentiles", "0 99.99 100").latencyTrackingInfoPercentiles.count == 3)
        try expectRefused(
            "latency-tracking-info-percentiles", ["a", "50 101", "-1", "nan", "inf", "0x10", "50,99", "1e999"],
            client: "argument must be at most 32 numbers from 0 to 100")
        #expect([50, 99.9, 0.001].map(SettingsTable.percentileText) == ["50", "99.9", "0.001"])
    }

    @Test func outputBufferLimits() throws {
        let settings = try parsed("client-output-buffer-limit", "slave 1mb 2mb 3 NORMAL 0 0 0")
        #expect(
            settings.clientOutputBufferLimit.replica
                == OutputBufferLimit(hardBytes: 1 << 20, softBytes: 2 << 20, softSeconds: 3))
        #expect(
            settings.clientOutputBufferLimit.normal == OutputBufferLimit(hardBytes: 0, softBytes: 0, softSeconds: 0))
        #expect(settings.clientOutputBufferLimit.pubsub == OutputBufferLimits().pubsub)
        let setting = try #require(SettingsTable.setting(named: "client-output-buffer-limit"))
        #expect(setting.read(settings) == "normal 0 0 0 slave 1048576 2097152 3 pubsub 33554432 8388608 60")
        #expect(setting.fileValue(settings) == "normal 0 0 0 replica 1mb 2mb 3 pubsub 32mb 8mb 60")
        try expectRefused(
            setting.name, ["", "normal 1 2", "normal 1 2 3 4"],
            client: "Wrong number of arguments in buffer limit configuration.")
        try expectRefused(
            setting.name, ["foo 1 2 3", "normal 1 2 3 foo 1 2 3"],
            client: "Invalid client class specified in buffer limit configuration.")
        try expectRefused(
            setting.name,
            ["normal a 2 3", "normal 1 -2 3", "normal 1 2 3mb", "normal 1 2 -3", "normal 1 2 2147483648"],
            client: "Error in hard, soft or soft_seconds setting in buffer limit configuration.")
    }

    @Test(arguments: [
        ("replica-read-only", "no", "yes")
    ])
    func valuesOfMissingFeaturesAreRefused(name: String, value: String, allowed: String) throws {
        let setting = try #require(SettingsTable.setting(named: name))
        var settings = Settings()
        let error = #expect(throws: SettingError.self) {
            try setting.parse(words: value.split(separator: " ").map(String.init), into: &settings)
        }
        #expect(error?.text == "\(name): '\(value)' is not supported by this version; allowed: \(allowed)")
        #expect(error?.reasonForClient == "'\(value)' is not supported by this version; allowed: \(allowed)")
        #expect(setting.summary.contains { $0.contains("upported by this") || $0.contains("version") })
    }

    @Test func aValueThatNoVersionTakesIsInvalid() throws {
        var settings = Settings()
        let error = #expect(throws: SettingError.self) {
            try #require(SettingsTable.setting(named: "replica-read-only")).parse(&settings, "perhaps")
        }
        #expect(error?.text == "replica-read-only: 'perhaps' is not valid; allowed: yes")
    }

    @Test func longAndUnprintableValuesAreShortened() {
        #expect(SettingError.printable("a\r\n\u{1B}[31m\u{9B}") == "a\\x0d\\x0a\\x1b[31m\\x9b")
        #expect(SettingError.printable(String(repeating: "x", count: 100)) == String(repeating: "x", count: 64) + "…")
    }

    // MARK: Suggestions

    @Test(arguments: [
        ("maxclinets", "maxclients"), ("max-clients", "maxclients"), ("slowlog-max-length", "slowlog-max-len"),
        ("prot", "port"), ("BINDD", "bind"), ("log-level", "loglevel"),
    ])
    func misspeltNamesGetASuggestion(wrong: String, right: String) {
        #expect(SettingsTable.suggestion(for: wrong) == right)
    }

    @Test func strangeNamesGetNone() {
        #expect(SettingsTable.suggestion(for: "cluster-enabled") == nil)
        #expect(SettingsTable.suggestion(for: "") == nil)
        #expect(SettingsTable.suggestion(for: String(repeating: "port", count: 10_000)) == nil)
    }

    @Test func editDistance() {
        func distance(_ a: String, _ b: String) -> Int { SettingsTable.editDistance(Array(a.utf8), Array(b.utf8)) }
        #expect(distance("", "abc") == 3)
        #expect(distance("abc", "abc") == 0)
        #expect(distance("abc", "acb") == 1)
        #expect(distance("kitten", "sitting") == 3)
    }
}
