// INFO as printed from the registry, against the golden text.

import Replication
import System
import TestSupport
import Testing

@testable import RespServer

@Suite struct InfoPrinterTests {
    private let sample: SampleServer

    init() throws { sample = try SampleServer() }

    private static func lines(_ text: String) -> [String] {
        text.split(separator: "\r\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// Whether a value has the format that the golden text names.
    private static func fits(_ value: String, _ kind: String) -> Bool {
        switch kind {
        case "i": value.wholeMatch(of: /-?\d+/) != nil
        case "2": value.wholeMatch(of: /-?\d+\.\d{2}/) != nil
        case "3": value.wholeMatch(of: /\d+\.\d{3}/) != nil
        case "6": value.wholeMatch(of: /\d+\.\d{6}/) != nil
        case "%": value.wholeMatch(of: /\d+\.\d{2}%/) != nil
        case "h": value.wholeMatch(of: /\d+B|\d+\.\d\d[KMGT]/) != nil
        case "t": true
        default: kind.hasPrefix("=") ? fitsPairs(value, String(kind.dropFirst())) : value == kind
        }
    }

    private static func fitsPairs(_ value: String, _ kinds: String) -> Bool {
        let pairs = value.split(separator: ",").map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
        let wanted = kinds.split(separator: ",").map { $0.split(separator: ":").map(String.init) }
        guard pairs.count == wanted.count else { return false }
        return zip(pairs, wanted).allSatisfy { pair, kind in
            pair.count == 2 && pair[0] == kind[0] && (kind.count == 1 || fits(pair[1], kind[1]))
        }
    }

    private static func expect(_ lines: [String], are golden: String) {
        let wanted = golden.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let names = lines.map { $0.hasPrefix("#") ? $0 : String($0.prefix { $0 != ":" }) }
        #expect(names == wanted.map { $0.hasPrefix("#") ? $0 : String($0.prefix { $0 != " " }) })
        for (line, wanted) in zip(lines, wanted) where line.contains(":") {
            let value = String(line.drop { $0 != ":" }.dropFirst())
            let kind = String(wanted.drop { $0 != " " }.dropFirst())
            #expect(fits(value, kind), "\(line), where \(kind) is expected")
        }
    }

    @Test func fieldsOrderAndFormatsMatchTheGoldenText() {
        let sections = InfoPrinter.sections(["everything"])
        var lines = Self.lines(InfoPrinter.text(sections, sample.primaryReading()))
        // The text ends with a line terminator.
        #expect(lines.last == "")
        lines.removeLast()
        Self.expect(lines, are: InfoGolden.primary)
    }

    @Test func aReplicaHasItsOwnLines() {
        var reading = sample.reading([.replication])
        reading.replication.primary = PeerAddress(host: "10.0.0.1", port: 6379)
        reading.replication.isLinkUp = false
        reading.replication.downSince = reading.steady - .milliseconds(3500)
        let text = InfoPrinter.text([.replication], reading)
        Self.expect(Array(Self.lines(text).dropFirst().dropLast()), are: InfoGolden.replica)
        #expect(text.contains("\r\nmaster_link_down_since_seconds:3\r\n") && text.contains("seconds_ago:-1\r\n"))
        reading.replication.isLinkUp = true
        reading.replication.lastHeard = reading.steady - .seconds(2)
        let up = InfoPrinter.text([.replication], reading)
        #expect(!up.contains("master_link_down_since_seconds") && up.contains("master_last_io_seconds_ago:2\r\n"))
        #expect(
            up.contains("master_link_status:up\r\n") && up.contains("role:slave\r\n") && !up.contains("role:master"))
    }

    /// Lines that appear only in some server states.
    @Test func linesComeAndGo() {
        var reading = sample.reading()
        reading.isRecovering = false
        reading.storage.isLogging = false
        reading.storage.restoreBegan = nil
        var text = InfoPrinter.text([.persistence, .keyspace, .replication], reading)
        for absent in [
            "aof_current_size", "aof_delayed_fsync", "loading_", "db0", "min_slaves", "slave0", "master_host",
        ] {
            #expect(!text.contains(absent), "\(absent)")
        }
        reading.isRecovering = true
        reading.recovery = (25, 100)
        reading.startedAt = reading.steady - .seconds(10)
        reading.startedAtUnix = 1_234
        reading.settings.minReplicasToWrite = 1
        text = InfoPrinter.text([.persistence, .replication], reading)
        let loading =
            "loading:1\r\nasync_loading:0\r\nloading_start_time:1234\r\nloading_total_bytes:100\r\n"
            + "loading_loaded_bytes:25\r\nloading_loaded_perc:25.00\r\nloading_eta_seconds:30\r\n"
            + "rdb_changes_since_last_save:"
        #expect(text.contains(loading))
        #expect(text.contains("connected_slaves:0\r\nmin_slaves_good_slaves:0\r\nmaster_failover_state:"))
    }

    @Test func replicasAreOneLineEach() {
        var reading = sample.reading([.replication])
        reading.replication.replicas = (0..<20).map {
            ReplicaLine(host: "h", port: 7000 + $0, state: "send_bulk", offset: Int64($0), lag: .zero)
        }
        let text = InfoPrinter.text([.replication], reading)
        #expect(text.contains("\r\nslave0:ip=h,port=7000,state=send_bulk,offset=0,lag=0\r\nslave1:ip=h,port=7001,"))
        #expect(text.contains("\r\nslave19:ip=h,port=7019,state=send_bulk,offset=19,lag=0\r\nmaster_failover_state:"))
    }

    @Test func valuesAreInRedissUnits() {
        var reading = sample.reading()
        reading.storage.lastSyncTook = .microseconds(1_234_567)
        reading.storage.lastSnapshotSeconds = -1
        reading.storage.isSnapshotRunning = true
        reading.storage.snapshotIsRewrite = true
        reading.storage.snapshotStartedAt = reading.steady - .milliseconds(7900)
        reading.clockSkew = Nanoseconds(-1_500_999)
        reading.startedAt = reading.steady - .seconds(200_000)
        reading.memoryUsed = 1_572_864
        let lines = Set(Self.lines(InfoPrinter.text([.server, .memory, .persistence], reading)))
        for line in [
            "journal_last_sync_usec:1234567", "rdb_last_bgsave_time_sec:-1", "rdb_current_bgsave_time_sec:-1",
            "aof_current_rewrite_time_sec:7", "engine_time_skew_usec:-1500", "uptime_in_seconds:200000",
            "uptime_in_days:2", "used_memory:1572864", "used_memory_human:1.50M", "aof_rewrite_in_progress:1",
            "rdb_bgsave_in_progress:0",
        ] { #expect(lines.contains(line), "\(line)") }
    }

    @Test func commandsAreOneLineEach() {
        let text = InfoPrinter.text([.commandStatistics], sample.primaryReading())
        #expect(
            text == "# Commandstats\r\n"
                + "cmdstat_cl.throttle:calls=3,usec=3000,usec_per_call=1000.00,rejected_calls=0,failed_calls=0\r\n"
                + "cmdstat_config:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0\r\n")
    }

    @Test func sectionsAreChosenByName() {
        let usual = MetricSection.allCases.filter(\.isDefault)
        let all = MetricSection.allCases.filter(\.isInInfo)
        #expect(InfoPrinter.sections([]) == usual && InfoPrinter.sections(["DEFAULT"]) == usual)
        #expect(InfoPrinter.sections(["all"]) == all && InfoPrinter.sections(["Everything"]) == all)
        #expect(
            !usual.contains(.commandStatistics) && !usual.contains(.latencyStatistics) && all.count == usual.count + 2)
        #expect(InfoPrinter.sections(["memory", "CLIENTS", "nonsense"]) == [.clients, .memory])
        #expect(InfoPrinter.sections(["nonsense"]) == [] && InfoPrinter.sections(["process"]) == [])
        #expect(InfoPrinter.sections(["default", "commandstats"]).count == usual.count + 1)
        #expect(InfoPrinter.text([], sample.reading([])) == "")
    }
}
