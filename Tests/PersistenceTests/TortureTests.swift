// Random servers on random disks, stopped at random instants, repeatedly on the same files.
//
// A test simulates a number of runs, the first of them fixed. ESCAPEMENT_SEEDS reduces their number,
// ESCAPEMENT_TORTURE=seconds keeps going for that long, and ESCAPEMENT_SEED=n runs one seed alone.

import Glibc
import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct TortureTests {
    #if DEBUG
        private static let runs: UInt64 = 300
    #else
        private static let runs: UInt64 = 3_000
    #endif
    /// The number of fixed runs.
    private static let fixedRuns: UInt64 = 200

    /// One server's run: repeatedly start it, inject faults, stop it and recover. Throws a broken promise. Returns
    /// the kinds of records that its journal has contained.
    @discardableResult
    static func run<Server: ServerSimulation>(
        seed: UInt64, of type: Server.Type, _ look: (Server, UInt64) -> Void = { _, _ in }
    ) throws -> Set<String> {
        var random = SeededGenerator(seed: seed)
        let mode = ServerSimulation.Mode.allCases[random.below(2)]
        let metadata = DiskImage.Metadata.allCases[random.below(2)]
        var wall = EngineTime.seconds(1_000_000)
        var image = DiskImage()
        var promise = ServerSimulation.Promise()
        for _ in 0...random.below(4) {
            if random.below(3) == 0 { image = interruptedRecovery(of: image, wall, metadata, &random) }
            let recovered = try PromiseCheck.check(image, promise, wall: wall, seed: random.next())
            let files = recovered.files
            files.isChoppy = random.below(3) == 0
            let server = PromiseCheck.restart(
                recovered, promise, mode: mode, wall: wall, random: SeededGenerator(seed: random.next()),
                as: type)
            try runWithFaults(server, &random)
            look(server, seed)
            promise = server.promise
            promise.latest = max(promise.latest, server.now)
            // A killed process leaves everything it wrote; a machine that loses power does not.
            image = random.below(2) == 0 ? files.image : files.image.afterPowerLoss(metadata, &random)
            wall = EngineTime(nanoseconds: server.now.nanoseconds + (Int64(random.below(41)) - 20) * 1_000_000_000)
        }
        try PromiseCheck.check(image, promise, wall: wall, seed: random.next())
        return promise.kinds
    }

    /// The disk after a recovery that was interrupted or could not read.
    private static func interruptedRecovery(
        of image: DiskImage, _ wall: EngineTime, _ metadata: DiskImage.Metadata, _ random: inout SeededGenerator
    ) -> DiskImage {
        let files = SimulatedFileSystem(image: image, seed: random.next())
        if random.below(2) == 0 {
            files.stop = (1 + random.below(2), random.below(2))
        } else {
            files.failing = [.read, .open, .create, .truncate, .sync]
            files.failureOdds = 1 + random.below(10)
        }
        _ = try? PromiseCheck.recover(files, wall: wall)
        return random.below(2) == 0 ? files.image : files.image.afterPowerLoss(metadata, &random)
    }

    private static func runWithFaults(_ server: ServerSimulation, _ random: inout SeededGenerator) throws {
        let files = server.files
        if random.below(4) > 0 { files.stop = (files.calls + 1 + random.below(120), random.below(60)) }
        _ = server.start()
        let fails = random.below(2) == 0
        for _ in 0..<(10 + random.below(80)) where !files.isStopped {
            if fails, random.below(12) == 0 {
                let kinds = SystemCall.allCases.filter { _ in random.below(3) == 0 }
                files.failing = random.below(2) == 0 ? [] : Set(kinds)
                files.failureOdds = 1 + random.below(4)
            }
            server.step()
        }
        files.failing = []
        if random.below(3) == 0 { try server.heal() }
    }

    @Test func everyRunKeepsItsPromises() { runAll(as: ServerSimulation.self) }

    @Test func everyRunOfTheDriverKeepsItsPromises() {
        var sum = DriverSimulation.Coverage()
        let runs = runAll(as: DriverSimulation.self) { server, seed in
            // Counts only fixed runs, so that the verdict does not depend on a draw.
            if seed < Self.fixedRuns { sum.add(server.coverage) }
        }
        #expect(runs < Self.fixedRuns || sum.isEnough(runs: Int(Self.fixedRuns)), "too little happened: \(sum)")
    }

    @discardableResult
    private func runAll<Server: ServerSimulation>(
        as type: Server.Type, _ look: (Server, UInt64) -> Void = { _, _ in }
    ) -> UInt64 {
        if let seed = environmentNumber("ESCAPEMENT_SEED") {
            #expect(throws: Never.self, "seed \(seed)") { try Self.run(seed: seed, of: type, look) }
            return 1
        }
        let seconds = environmentNumber("ESCAPEMENT_TORTURE").map { Int64($0) }
        let most = min(Self.runs, environmentNumber("ESCAPEMENT_SEEDS") ?? Self.runs)
        let start = ContinuousClock.now
        let new = newSeed(for: "torture")
        var runs: UInt64 = 0
        var broken = 0
        var kinds: Set<String> = []
        while seconds.map({ start.duration(to: .now) < .seconds($0) }) ?? (runs < most), broken < 5 {
            let seed = runs < Self.fixedRuns ? runs : new + runs
            do {
                kinds.formUnion(try Self.run(seed: seed, of: type, look))
            } catch {
                broken += 1
                Issue.record("\(type), ESCAPEMENT_SEED=\(seed): \(error)")
            }
            runs += 1
            // Counts only fixed runs, so that the verdict does not depend on a draw.
            if runs == Self.fixedRuns {
                #expect(kinds == ServerSimulation.Promise.allKinds, "some kinds never occurred: \(kinds)")
            }
        }
        print("torture of \(type): \(runs) runs, the new ones from ESCAPEMENT_SEED=\(new + Self.fixedRuns) on")
        return runs
    }
}
