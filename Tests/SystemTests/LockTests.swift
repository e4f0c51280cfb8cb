import CLinux
import Glibc
import Synchronization
import System
import Testing

/// The lock, and the lock order that debug builds enforce.
struct LockTests {
    private static func path(_ name: String) -> String {
        let tests = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        return "/\(tests)/../\(name)"
    }

    /// The documentation's table of ranks lists this enumeration: the same names in the same order.
    @Test func theDocumentationListsTheRanks() throws {
        let descriptor = open(Self.path("docs/concurrency.md"), O_RDONLY)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = read(descriptor, &bytes, bytes.count)
        let lines = String(decoding: bytes[..<max(0, count)], as: UTF8.self).split(separator: "\n")
        let listed = lines.compactMap { line -> String? in
            let cells = line.split(separator: "|").map { $0.drop { $0 == " " } }
            return cells.count > 2 && Int(cells[0].prefix { $0 != " " }) != nil
                ? cells[1].split(separator: "`").first.map(String.init) : nil
        }
        #expect(listed == LockRank.allCases.map { "\($0)" })
    }

    @Test func namesInMessages() {
        for rank in LockRank.allCases {
            #expect(String(cString: clinux_rank_name(rank.rawValue)) == "\(rank)")
        }
    }

    @Test func excludes() {
        let lock = Lock.allocate(rank: .value)
        defer { lock.deallocate() }
        let sum = Atomic<Int>(0)
        // The cell is only accessed with the lock held, so a lost increment is detected.
        nonisolated(unsafe) let cell = UnsafeMutablePointer<Int>.allocate(capacity: 1)
        cell.initialize(to: 0)
        defer { cell.deallocate() }
        TestThread.run(4) { _ in
            for _ in 0..<10_000 {
                lock.acquire()
                cell.pointee += 1
                lock.release()
                sum.add(1, ordering: .relaxed)
            }
        }
        #expect(cell.pointee == sum.load(ordering: .relaxed))
    }

    @Test func givesUp() {
        let lock = Lock.allocate(rank: .value)
        defer { lock.deallocate() }
        lock.acquire()
        let asked = Atomic<Int>(0)
        TestThread.run(1) { _ in
            let isHeld = lock.acquire(unless: { asked.add(1, ordering: .relaxed).newValue == 2 })
            #expect(!isHeld)
        }
        #expect(asked.load(ordering: .relaxed) == 2)
        lock.release()
        TestThread.run(1) { _ in
            #expect(lock.acquire(unless: { true }))
            lock.release()
        }
    }

    #if DEBUG
        /// ThreadSanitizer's runtime does not survive the child process of an exit test.
        @Test(.enabled(if: getenv("ESCAPEMENT_SANITIZER") == nil)) func outOfOrderStops() async {
            await #expect(processExitsWith: .signal(SIGABRT)) {
                let (turn, stripe) = (Lock.allocate(rank: .turn), Lock.allocate(rank: .stripe))
                stripe.acquire()
                turn.acquire()
            }
            await #expect(processExitsWith: .signal(SIGABRT)) {
                let (first, second) = (Lock.allocate(rank: .stripe, order: 1), Lock.allocate(rank: .stripe, order: 2))
                second.acquire()
                first.acquire()
            }
            await #expect(processExitsWith: .signal(SIGABRT)) {
                let lock = Lock.allocate(rank: .stripe)
                lock.acquire()
                assertHoldsNoLockButTurn()
            }
        }

        @Test func heldLocksDecideWhichMayBeAcquired() {
            TestThread.run(1) { _ in
                let stripe = Lock.allocate(rank: .stripe, order: 7)
                defer { stripe.deallocate() }
                stripe.acquire()
                #expect(clinux_rank_permits(LockRank.turn.rawValue, 0) == 0)
                #expect(clinux_rank_permits(LockRank.stripe.rawValue, 6) == 0)
                #expect(clinux_rank_permits(LockRank.stripe.rawValue, 7) == 0)
                #expect(clinux_rank_permits(LockRank.stripe.rawValue, 8) != 0)
                #expect(clinux_rank_permits(LockRank.mailbox.rawValue, 0) != 0)
                stripe.release()
                #expect(clinux_rank_permits(LockRank.fileSync.rawValue, 0) != 0)
            }
        }

        @Test func lockingInOrderSucceeds() {
            TestThread.run(1) { _ in
                let locks = LockRank.allCases.map { Lock.allocate(rank: $0) }
                for lock in locks { lock.acquire() }
                for lock in locks { lock.release() }
                assertHoldsNoLock()
                for lock in locks { lock.deallocate() }
            }
        }
    #endif
}

/// Threads of a test, all of them joined before `run` returns.
enum TestThread {
    private final class Start: Sendable {
        let number: Int
        let body: @Sendable (Int) -> Void

        init(_ number: Int, _ body: @escaping @Sendable (Int) -> Void) {
            self.number = number
            self.body = body
        }
    }

    static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        let threads = (0..<count).map { number in
            var thread = pthread_t()
            let start = Unmanaged.passRetained(Start(number, body))
            pthread_create(
                &thread, nil,
                { argument in
                    let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
                    start.body(start.number)
                    return nil
                }, start.toOpaque())
            return thread
        }
        for thread in threads { pthread_join(thread, nil) }
    }
}
