// Exhaustive faults in one small run: every system call cut at every byte, every call failing once or permanently,
// every bit of every file flipped.

import Glibc
import LimiterEngine
import TestSupport
import Testing

@testable import Persistence

@Suite struct EveryCutTests {
    private static let wall = EngineTime.seconds(1_000_000)
    /// Seeds of short runs with a snapshot and every kind of record: see what `forEachCut` expects.
    private static func seed(_ mode: ServerSimulation.Mode) -> UInt64 { mode == .always ? 2651 : 1808 }

    /// A server whose every step follows from the seed of `mode`.
    private static func server(
        _ files: SimulatedFileSystem, mode: ServerSimulation.Mode,
        as type: ServerSimulation.Type = ServerSimulation.self
    ) throws -> ServerSimulation {
        let promise = ServerSimulation.Promise()
        let (engine, report) = try PromiseCheck.recover(files, wall: wall)
        return type.init(
            files: files, engine: engine, report: report, promise: promise, mode: mode, wall: wall,
            random: SeededGenerator(seed: seed(mode)))
    }

    private static func promise(of server: ServerSimulation) -> ServerSimulation.Promise {
        var promise = server.promise
        promise.latest = max(promise.latest, server.now)
        return promise
    }

    // MARK: Cuts

    /// Simulates a run and passes to `body` every state of the disk between two bytes or two calls.
    private static func forEachCut(
        mode: ServerSimulation.Mode, steps: Int,
        _ body: @escaping (DiskImage, ServerSimulation.Promise, _ place: String) throws -> Void
    ) throws -> Int {
        let files = SimulatedFileSystem()
        let server = try server(files, mode: mode)
        var cuts = 0
        var failure: (any Error)?
        files.observer = { call, write in
            guard failure == nil else { return }
            do {
                for count in 0..<max(1, write?.bytes.count ?? 0) {
                    var image = files.image
                    if let write, count > 0 {
                        image.write(Array(write.bytes.prefix(count)), at: write.offset, write.inode)
                    }
                    cuts += 1
                    try body(image, promise(of: server), "call \(files.calls + 1), \(call), byte \(count)")
                }
            } catch {
                failure = error
            }
        }
        _ = server.start()
        for _ in 0..<steps { server.step() }
        files.observer = nil
        if let failure { throw failure }
        #expect(server.log.manifest.snapshot != nil, "no snapshot was adopted: choose another seed")
        let kinds = server.promise.kinds
        #expect(kinds == ServerSimulation.Promise.allKinds, "only \(kinds) were there: choose another seed")
        return cuts
    }

    @Test(arguments: [(ServerSimulation.Mode.always, 45), (.everysec, 70)])
    func everyCallAtEveryByte(mode: ServerSimulation.Mode, steps: Int) throws {
        var random = SeededGenerator(seed: Self.seed(mode))
        var number = 0
        let cuts = try Self.forEachCut(mode: mode, steps: steps) { image, promise, place in
            number += 1
            let workers = [1 << (number / 3 % 3)]
            do {
                try PromiseCheck.check(image, promise, wall: Self.wall, workers: workers, seed: 1)
                // To save time, power is lost at every third byte only; ESCAPEMENT_TORTURE tests every byte.
                guard number % 3 == 0 || environmentNumber("ESCAPEMENT_TORTURE") != nil else { return }
                let metadata = DiskImage.Metadata.allCases[number % 2]
                let after = image.afterPowerLoss(metadata, &random)
                let recovered = try PromiseCheck.check(after, promise, wall: Self.wall, workers: workers, seed: 1)
                guard number % 15 == 0 else { return }
                // The recovered server continues, and loses power again during its first steps.
                let second = PromiseCheck.restart(
                    recovered, promise, mode: mode, wall: Self.wall, random: SeededGenerator(seed: UInt64(number)))
                second.files.stop = (second.files.calls + 1 + random.below(30), random.below(40))
                _ = second.start()
                for _ in 0..<8 { second.step() }
                let image = second.files.image.afterPowerLoss(metadata, &random)
                try PromiseCheck.check(image, Self.promise(of: second), wall: Self.wall, workers: workers)
            } catch {
                throw BrokenPromise(description: "\(mode), \(place): \(error)")
            }
        }
        print("every cut: \(cuts) in \(mode)")
    }

    // MARK: Failures

    @Test(arguments: ServerSimulation.Mode.allCases, [ENOSPC, EIO])
    func everyCallFailing(mode: ServerSimulation.Mode, code: Int32) throws {
        try everyCallFailing(mode: mode, code: code, as: ServerSimulation.self)
    }

    @Test(arguments: ServerSimulation.Mode.allCases, [ENOSPC, EIO])
    func everyCallOfTheDriverFailing(mode: ServerSimulation.Mode, code: Int32) throws {
        try everyCallFailing(mode: mode, code: code, as: DriverSimulation.self)
    }

    private func everyCallFailing(mode: ServerSimulation.Mode, code: Int32, as type: ServerSimulation.Type) throws {
        let calls = try Self.callsOfARun(mode: mode, as: type)
        var random = SeededGenerator(seed: UInt64(code))
        for call in 1...calls {
            for isForGood in [false, true] {
                let files = SimulatedFileSystem(seed: UInt64(call))
                let server = try Self.server(files, mode: mode, as: type)
                files.failure = (call, code)
                files.failsForGood = isForGood
                _ = server.start()
                for step in 0..<60 {
                    // A permanent failure lasts until the operator frees space.
                    if step == 50 { files.failure = nil }
                    server.step()
                }
                try server.heal()
                let metadata = DiskImage.Metadata.allCases[call % 2]
                let image = call % 3 == 0 ? files.image : files.image.afterPowerLoss(metadata, &random)
                let place = Comment(rawValue: "call \(call)\(isForGood ? " and all later ones" : "") failing")
                #expect(throws: Never.self, place) {
                    try PromiseCheck.check(image, Self.promise(of: server), wall: Self.wall, workers: [1 << (call % 3)])
                }
            }
        }
    }

    private static func callsOfARun(mode: ServerSimulation.Mode, as type: ServerSimulation.Type) throws -> Int {
        let files = SimulatedFileSystem()
        let server = try server(files, mode: mode, as: type)
        _ = server.start()
        for _ in 0..<50 { server.step() }
        return files.calls
    }

    // MARK: Bits

    @Test func everyBitOfEveryFile() throws {
        let files = SimulatedFileSystem()
        let server = try Self.server(files, mode: .everysec)
        _ = server.start()
        for _ in 0..<70 { server.step() }
        let promise = Self.promise(of: server)
        let mark = try #require(try DirectoryLayout(files: files, path: simulatedDirectory).mark)
        var outcomes: (refused: Int, cut: Int, fastPathCompatible: Int) = (0, 0, 0)
        for path in files.image.paths {
            let inode = try #require(files.image.inode(path))
            for byte in 0..<files.image.size(inode) {
                let bits = path.hasSuffix(Manifest.fileName) || path.hasSuffix(SyncMark.fileName) ? 0..<8 : 0..<1
                for bit in bits {
                    // One bit of most bytes, rotating; every bit of the small files.
                    var image = files.image
                    image.flip(bit: bits.count == 1 ? byte % 8 : bit, ofByte: byte, inode)
                    let damaged = SimulatedFileSystem(image: image)
                    do throws(RecoveryError) {
                        let (engine, report) = try PromiseCheck.recover(
                            damaged, wall: Self.wall, workers: 1 << (byte % 3))
                        #expect(report.end >= mark)
                        #expect(throws: Never.self, "\(path), byte \(byte)") {
                            try PromiseCheck.compare(engine, report, promise, wall: Self.wall)
                        }
                        if report.cut == nil { outcomes.fastPathCompatible += 1 } else { outcomes.cut += 1 }
                    } catch {
                        outcomes.refused += 1
                        #expect(error.path == path, "\(error)")
                        #expect(error.position != nil || path.hasSuffix(Manifest.fileName))
                    }
                }
            }
        }
        #expect(outcomes.refused > 0 && outcomes.fastPathCompatible > 0)
        print("every bit: \(outcomes)")
    }
}
