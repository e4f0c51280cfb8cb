// swift-tools-version: 6.2
import PackageDescription

// Warnings stop a build where nobody is there to read them.
let strict = Context.environment["CI"] != nil || Context.environment["ESCAPEMENT_STRICT"] != nil

// libFuzzer brings its own main function, so its target exists only when asked for (`scripts/fuzz`).
let fuzzing = Context.environment["ESCAPEMENT_FUZZ"] != nil

let swiftSettings: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
    ] + (strict ? [.treatAllWarnings(as: .error)] : [])

// The library under test needs the sanitizers as much as the target that drives it.
let fuzzSettings: [SwiftSetting] =
    fuzzing ? [.unsafeFlags(["-sanitize=fuzzer,address", "-assert-config", "Debug"])] : []

// The program says which revision it was built from. In a target of its own, so that a commit rebuilds nothing else.
let git = Context.gitInformation
let revision =
    Context.environment["ESCAPEMENT_REVISION"]
    ?? git.map { $0.currentCommit.prefix(12) + ($0.hasUncommittedChanges ? "+changes" : "") } ?? ""
let buildFacts: [CSetting] = [
    .define("ESCAPEMENT_REVISION", to: "\"\(revision)\""),
    .define("ESCAPEMENT_COMPILER", to: "\"\(Context.environment["ESCAPEMENT_COMPILER"] ?? "")\""),
]

let cSettings: [CSetting] = strict ? [.treatAllWarnings(as: .error)] : []

let package = Package(
    name: "escapement",
    products: [
        .executable(name: "escapement", targets: ["escapement"]),
        .executable(name: "loadtest", targets: ["loadtest"]),
    ],
    targets: [
        .target(name: "BuildFacts", cSettings: cSettings + buildFacts),
        .target(name: "CLinux", cSettings: cSettings),
        .target(name: "System", dependencies: ["CLinux"], swiftSettings: swiftSettings + fuzzSettings),
        .target(
            name: "LimiterEngine", dependencies: ["CLinux", "System"], swiftSettings: swiftSettings + fuzzSettings),
        .target(
            name: "Persistence", dependencies: ["CLinux", "LimiterEngine", "System"],
            swiftSettings: swiftSettings + fuzzSettings),
        .target(
            name: "Replication", dependencies: ["LimiterEngine", "Persistence", "System"],
            swiftSettings: swiftSettings + fuzzSettings),
        .target(name: "RESP", dependencies: ["System"], swiftSettings: swiftSettings + fuzzSettings),
        .target(name: "HTTP", dependencies: ["System"], swiftSettings: swiftSettings + fuzzSettings),
        .target(name: "Transport", dependencies: ["CLinux", "System"], swiftSettings: swiftSettings),
        .target(
            name: "RespServer",
            dependencies: [
                "CLinux", "HTTP", "LimiterEngine", "Persistence", "Replication", "RESP", "System", "Transport",
            ],
            swiftSettings: swiftSettings),
        .target(name: "ProgramArguments", dependencies: ["CLinux"], swiftSettings: swiftSettings),
        .executableTarget(
            name: "escapement", dependencies: ["BuildFacts", "ProgramArguments", "RespServer"],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "loadtest", dependencies: ["CLinux", "ProgramArguments", "RESP"], path: "loadtest",
            exclude: ["README.md", "curves", "failover.py", "floor", "gcra.lua", "http.py", "parts", "results"],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "curves", dependencies: ["LimiterEngine", "ProgramArguments"], path: "loadtest/curves",
            swiftSettings: swiftSettings),

        .target(
            name: "TestSupport", dependencies: ["LimiterEngine", "Persistence", "System"], path: "Tests/Support",
            swiftSettings: swiftSettings),
        .testTarget(
            name: "SystemTests", dependencies: ["CLinux", "System", "TestSupport"], swiftSettings: swiftSettings),
        .testTarget(
            name: "LimiterEngineTests", dependencies: ["LimiterEngine", "System", "TestSupport", "curves"],
            exclude: ["Golden"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "PersistenceTests", dependencies: ["Persistence", "LimiterEngine", "System", "TestSupport"],
            exclude: ["Golden"],
            swiftSettings: swiftSettings),
        .testTarget(
            name: "ReplicationTests",
            dependencies: ["Replication", "Persistence", "LimiterEngine", "System", "TestSupport"],
            swiftSettings: swiftSettings),
        .testTarget(name: "RESPTests", dependencies: ["RESP", "TestSupport"], swiftSettings: swiftSettings),
        .testTarget(name: "HTTPTests", dependencies: ["HTTP", "TestSupport"], swiftSettings: swiftSettings),
        .testTarget(
            name: "TransportTests", dependencies: ["System", "TestSupport", "Transport"], swiftSettings: swiftSettings),
        .testTarget(
            name: "RespServerTests",
            dependencies: [
                "CLinux", "HTTP", "RespServer", "Replication", "Persistence", "RESP", "LimiterEngine", "System",
                "TestSupport", "Transport",
            ],
            swiftSettings: swiftSettings),
    ]
        + (fuzzing
            ? [
                .executableTarget(
                    name: "fuzz-resp", dependencies: ["RESP"], path: "Tests/Fuzz/RESP",
                    exclude: ["corpus", "dictionary"],
                    swiftSettings: swiftSettings + fuzzSettings + [.unsafeFlags(["-parse-as-library"])],
                    linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address"])]),
                .executableTarget(
                    name: "fuzz-http", dependencies: ["HTTP"], path: "Tests/Fuzz/HTTP",
                    exclude: ["corpus", "dictionary"],
                    swiftSettings: swiftSettings + fuzzSettings + [.unsafeFlags(["-parse-as-library"])],
                    linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address"])]),
                .executableTarget(
                    name: "fuzz-json", dependencies: ["HTTP"], path: "Tests/Fuzz/JSON",
                    exclude: ["corpus", "dictionary"],
                    swiftSettings: swiftSettings + fuzzSettings + [.unsafeFlags(["-parse-as-library"])],
                    linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address"])]),
                .executableTarget(
                    name: "fuzz-zones", dependencies: ["LimiterEngine"], path: "Tests/Fuzz/Zones",
                    exclude: ["corpus", "dictionary"],
                    swiftSettings: swiftSettings + fuzzSettings + [.unsafeFlags(["-parse-as-library"])],
                    linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address"])]),
                .executableTarget(
                    name: "fuzz-persistence",
                    dependencies: ["Replication", "Persistence", "LimiterEngine", "System", "TestSupport"],
                    path: "Tests/Fuzz/Persistence", exclude: ["corpus", "dictionary"],
                    swiftSettings: swiftSettings + fuzzSettings + [.unsafeFlags(["-parse-as-library"])],
                    linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address"])]),
            ] : [])
)
