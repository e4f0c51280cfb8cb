// How `maxmemory-clients` is parsed and resolved to bytes, and how often the heap is measured.

import System
import Testing

@testable import RespServer

@Suite struct ClientMemoryTests {
    private func settings(_ text: String, maxmemory: Int = 0) throws -> Settings {
        var settings = Settings()
        settings.maxmemoryBytes = maxmemory
        try #require(SettingsTable.setting(named: "maxmemory-clients")).parse(&settings, text)
        return settings
    }

    @Test func bytesAndPercent() throws {
        #expect(try settings("0").clientMemoryLimit == Int.max)
        #expect(try settings("1mb").clientMemoryLimit == 1 << 20)
        #expect(try settings("5%", maxmemory: 1 << 30).clientMemoryLimit == (1 << 30) / 20)
        #expect(try settings("100%", maxmemory: 1 << 30).clientMemoryLimit == 1 << 30)
        // A percentage of an unlimited maxmemory is no limit, and neither is 0%.
        #expect(try settings("5%").clientMemoryLimit == Int.max)
        #expect(try settings("0%", maxmemory: 1 << 30).clientMemoryLimit == Int.max)
        // A limit too small for a few connections is raised to the minimum.
        #expect(try settings("1").clientMemoryLimit == 128 << 10)
        #expect(try settings("1%", maxmemory: 1 << 20).clientMemoryLimit == 128 << 10)
    }

    @Test func readsBackAsWritten() throws {
        let setting = try #require(SettingsTable.setting(named: "maxmemory-clients"))
        for (text, read, file) in [("0", "0", "0"), ("2mb", "2097152", "2mb"), ("5%", "5%", "5%")] {
            let settings = try settings(text)
            #expect(setting.read(settings) == read)
            #expect(setting.fileValue(settings) == file)
            #expect(try self.settings(file) == settings)
        }
        #expect(setting.defaultText == "0")
    }

    @Test func refusesInvalidText() throws {
        let setting = try #require(SettingsTable.setting(named: "maxmemory-clients"))
        for text in ["", "%", "-1", "-5%", "101%", "5.5%", "5 %", "x%", "many", "9223372036854775807"] {
            var settings = Settings()
            #expect(throws: SettingError.self, "\(text)") { try setting.parse(&settings, text) }
            #expect(settings == Settings())
        }
    }

    @Test func theHeapIsMeasuredLessOftenTheLongerItTakes() {
        let second = Nanoseconds.seconds(1)
        #expect(MemoryMonitor.pause(freePieces: 0) == second)
        #expect(MemoryMonitor.pause(freePieces: 1_000) == second)
        #expect(MemoryMonitor.pause(freePieces: 10_000) == 100 * second)
        #expect(MemoryMonitor.pause(freePieces: 1_000_000) == 1_000_000 * second)
        #expect(MemoryMonitor.pause(freePieces: .max) == 1_000_000_000 * second)
    }
}
