// Metrics of memory. docs/memory.md explains what each includes.

import LimiterEngine

extension MetricsTable {
    static let memory: [Metric] = [
        .gauge(
            "escapement_memory_used_bytes", unit: .bytes, "Memory in use: keys with their index, and everything else",
            info: InfoField("used_memory"), InfoField("used_memory_human", .human), in: .memory
        ) { .count($0.memoryUsed) },
        .gauge(
            "process_resident_memory_bytes", unit: .bytes, "Resident memory of the process",
            info: InfoField("used_memory_rss"), InfoField("used_memory_rss_human", .human), in: .memory
        ) { .count($0.memoryResident) },
        .gauge(
            "escapement_memory_peak_bytes", unit: .bytes, "Peak memory in use so far",
            info: InfoField("used_memory_peak"), InfoField("used_memory_peak_human", .human), in: .memory
        ) { .count($0.memoryPeak) },
        .infoOnly(
            .derived(["escapement_memory_used_bytes", "escapement_memory_peak_bytes"]), type: .gauge, unit: .percent,
            "Memory in use as a share of the peak", info: InfoField("used_memory_peak_perc", .percent), in: .memory
        ) { .real(share($0.memoryUsed, of: $0.memoryPeak)) },
        .gauge(
            "escapement_memory_overhead_bytes", unit: .bytes, "Memory in use for everything but keys and their index",
            info: InfoField("used_memory_overhead"), in: .memory
        ) { .count($0.memoryOverhead) },
        .gauge(
            "escapement_memory_startup_bytes", unit: .bytes, "Memory in use before the first key and the first client",
            info: InfoField("used_memory_startup"), in: .memory
        ) { .count($0.memoryStartup) },
        .gauge(
            "escapement_memory_dataset_bytes", unit: .bytes, "Memory of keys and their index, which maxmemory limits",
            info: InfoField("used_memory_dataset"), in: .memory
        ) { .count($0.engine.memory) },
        .infoOnly(
            .derived(["escapement_memory_dataset_bytes", "escapement_memory_used_bytes"]), type: .gauge, unit: .percent,
            "Memory of keys as a share of the memory added since startup",
            info: InfoField("used_memory_dataset_perc", .percent), in: .memory
        ) { .real(share($0.engine.memory, of: max($0.engine.memory, $0.memoryUsed - $0.memoryStartup))) },
        .gauge(
            "escapement_system_memory_bytes", unit: .bytes, "Physical memory of the machine",
            info: InfoField("total_system_memory"), InfoField("total_system_memory_human", .human), in: .memory
        ) { .count($0.memoryOfSystem) },
        .gauge(
            "escapement_memory_max_bytes", unit: .bytes, "Setting maxmemory, 0 for no limit",
            info: InfoField("maxmemory"), InfoField("maxmemory_human", .human), in: .memory
        ) { .count($0.settings.maxmemoryBytes) },
        .infoOnly(
            .setting, type: .info, "What happens to a new key when maxmemory is reached",
            info: InfoField("maxmemory_policy"), in: .memory
        ) { .text($0.settings.maxmemoryPolicy.rawValue) },
        .infoOnly(
            .derived(["process_resident_memory_bytes", "escapement_memory_used_bytes"]), type: .gauge, unit: .ratio,
            "Ratio of resident memory to memory in use", info: InfoField("mem_fragmentation_ratio", .fixed(2)),
            in: .memory
        ) { .real($0.memoryUsed > 0 ? Double($0.memoryResident) / Double($0.memoryUsed) : 0) },
        .infoOnly(
            .derived(["process_resident_memory_bytes", "escapement_memory_used_bytes"]), type: .gauge, unit: .bytes,
            "Resident memory that is not in use", info: InfoField("mem_fragmentation_bytes"), in: .memory
        ) { .count($0.memoryResident - $0.memoryUsed) },
        .gauge(
            "escapement_memory_clients_bytes", unit: .bytes, "Memory of clients, which maxmemory-clients limits",
            info: InfoField("mem_clients_normal"), in: .memory
        ) { .count($0.memoryClients) },
        .constant("mem_allocator", .text("escapement-slab"), "Allocator of keys", in: .memory),
    ]

    private static func share(_ part: Int, of whole: Int) -> Double {
        whole > 0 ? 100 * Double(part) / Double(whole) : 0
    }
}
