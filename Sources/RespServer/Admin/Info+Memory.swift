// INFO memory: Redis's lines under Redis's names. docs/memory.md says what each counts.

import Glibc
import LimiterEngine

extension Info {
    mutating func writeMemory() {
        let settings = server.currentSettings.value
        let dataset = statistics.memory
        let clients = server.clientMemory
        let overhead = server.memory.overhead(clients: clients)
        let used = dataset + overhead
        let startup = server.memory.startup
        let resident = ProcessMemory.resident()
        let peak = server.memory.peak(with: used)
        let total = Int(sysconf(Int32(_SC_PHYS_PAGES))) * Int(sysconf(Int32(_SC_PAGESIZE)))
        line("used_memory", used)
        line("used_memory_human", Info.human(used))
        line("used_memory_rss", resident)
        line("used_memory_rss_human", Info.human(resident))
        line("used_memory_peak", peak)
        line("used_memory_peak_human", Info.human(peak))
        line("used_memory_peak_perc", Info.percent(used, of: peak))
        line("used_memory_overhead", overhead)
        line("used_memory_startup", startup)
        line("used_memory_dataset", dataset)
        line("used_memory_dataset_perc", Info.percent(dataset, of: max(dataset, used - startup)))
        line("total_system_memory", total)
        line("total_system_memory_human", Info.human(total))
        line("maxmemory", settings.maxmemoryBytes)
        line("maxmemory_human", Info.human(settings.maxmemoryBytes))
        line("maxmemory_policy", settings.maxmemoryPolicy.rawValue)
        line("mem_fragmentation_ratio", used > 0 ? Double(resident) / Double(used) : 0, decimals: 2)
        line("mem_fragmentation_bytes", resident - used)
        line("mem_clients_normal", clients)
        line("mem_allocator", "escapement-slab")
    }

    private static func percent(_ part: Int, of whole: Int) -> String {
        fixed(whole > 0 ? 100 * Double(part) / Double(whole) : 0, 2) + "%"
    }
}
