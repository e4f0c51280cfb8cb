// The load: one thread, one epoll instance, and connections that each keep one pipeline in flight.
//
// Closed loop (no rate): a connection sends its next pipeline when the last one is answered. Suited to cost per
// command; its latencies show how long a pipeline took, not what a user would have experienced.
// Open loop (a rate): pipelines are due on a fixed schedule, whether or not the server keeps up, and latency is
// measured from the time a pipeline was due. So a stall shows in every pipeline it delayed (no coordinated omission).

import CLinux
import Glibc
import RESP

/// The result of one run.
struct LoadResult {
    var commands = 0
    var errors = 0
    var nanoseconds: UInt64 = 0
    var latencies = Histogram()

    var commandsPerSecond: Double { Double(commands) / (Double(max(nanoseconds, 1)) / 1e9) }
}

/// When a run ends.
enum LoadLimit {
    case commands(Int)
    case seconds(Double)
}

final class LoadGenerator {
    private struct Link {
        var fd: Int32
        /// Replies outstanding; 0 when the connection is free.
        var owed = 0
        var batch = 0
        /// When its pipeline was sent, or was due.
        var since: UInt64 = 0
        var scanner = ReplyScanner()
        /// Bytes that the socket has not accepted yet; almost always empty.
        var unsent: [UInt8] = []
    }

    private let batch: RequestBatch
    private let links: UnsafeMutablePointer<Link>
    private let linkCount: Int
    private let poller: Int32
    private let events: UnsafeMutablePointer<epoll_event>
    private let input: UnsafeMutableBufferPointer<UInt8>
    private let port: Int
    /// Connections without a pipeline in flight, for the open loop.
    private var free: [Int] = []
    private var result = LoadResult()
    private var inFlight = 0
    private static let eventsMax = 256

    /// Connects. `batch` determines the command, the pipeline's depth and the keys.
    init(port: Int, connections: Int, batch: RequestBatch) throws(Failure) {
        self.batch = batch
        self.port = port
        linkCount = connections
        links = .allocate(capacity: connections)
        events = .allocate(capacity: LoadGenerator.eventsMax)
        input = .allocate(capacity: 256 * 1024)
        poller = clinux_epoll_create()
        guard poller >= 0 else { throw Failure("cannot create an epoll instance: \(lastErrorText())") }
        try raiseOpenFilesLimit(to: connections + 64)
        for index in 0..<connections {
            let fd = try connectLoopback(port: port)
            makeNonBlocking(fd)
            (links + index).initialize(to: Link(fd: fd))
            _ = clinux_epoll_control(poller, EPOLL_CTL_ADD, fd, UInt32(clinux_epoll_in), UInt64(index))
        }
    }

    deinit {
        for index in 0..<linkCount { close(links[index].fd) }
        close(poller)
        links.deinitialize(count: linkCount)
        links.deallocate()
        events.deallocate()
        input.deallocate()
    }

    /// Sends until `limit` and returns when everything sent has been answered. `rate`, in commands a second, selects
    /// the open loop.
    func run(_ limit: LoadLimit, rate: Double? = nil) throws(Failure) -> LoadResult {
        result = LoadResult()
        let start = monotonicNanoseconds()
        if let rate {
            try runOpen(limit, rate: rate, start: start)
        } else {
            try runClosed(limit, start: start)
        }
        result.nanoseconds = monotonicNanoseconds() - start
        return result
    }

    // MARK: The two loops

    private func runClosed(_ limit: LoadLimit, start: UInt64) throws(Failure) {
        var (left, deadline) = LoadGenerator.bounds(limit, start: start)
        for index in 0..<linkCount where left > 0 {
            try startPipeline(index, commands: min(left, batch.depth), since: start)
            left -= links[index].batch
        }
        while inFlight > 0 {
            let count = try wait(timeoutNanoseconds: nil)
            for event in 0..<count {
                let index = Int(clinux_epoll_token(events + event))
                guard let now = try serve(index), left > 0, now < deadline else { continue }
                try startPipeline(index, commands: min(left, batch.depth), since: now)
                left -= links[index].batch
            }
        }
    }

    private func runOpen(_ limit: LoadLimit, rate: Double, start: UInt64) throws(Failure) {
        // The kernel may round a sleep up by 50 µs, which would be counted as the server's latency.
        writeText("1", to: "/proc/self/timerslack_ns")
        var (left, deadline) = LoadGenerator.bounds(limit, start: start)
        let interval = Double(batch.depth) / rate * 1e9
        var pipelines = 0
        free = Array(0..<linkCount)
        while true {
            let now = monotonicNanoseconds()
            var due = start + UInt64(Double(pipelines) * interval)
            while due <= now, due < deadline, left > 0, let index = free.popLast() {
                try startPipeline(index, commands: min(left, batch.depth), since: due)
                left -= links[index].batch
                pipelines += 1
                due = start + UInt64(Double(pipelines) * interval)
            }
            let isOver = left <= 0 || due >= deadline
            if isOver, inFlight == 0 { return }
            let timeout = isOver || free.isEmpty ? nil : due > now ? due - now : 0
            for event in 0..<(try wait(timeoutNanoseconds: timeout)) {
                let index = Int(clinux_epoll_token(events + event))
                if try serve(index) != nil { free.append(index) }
            }
        }
    }

    private static func bounds(_ limit: LoadLimit, start: UInt64) -> (commands: Int, deadline: UInt64) {
        switch limit {
        case .commands(let count): (count, .max)
        case .seconds(let seconds): (.max, start + UInt64(seconds * 1e9))
        }
    }

    private func wait(timeoutNanoseconds: UInt64?) throws(Failure) -> Int {
        while true {
            let count: Int32
            if let timeoutNanoseconds {
                var time = timespec(
                    tv_sec: Int(timeoutNanoseconds / 1_000_000_000), tv_nsec: Int(timeoutNanoseconds % 1_000_000_000))
                count = epoll_pwait2(poller, events, Int32(LoadGenerator.eventsMax), &time, nil)
            } else {
                count = epoll_wait(poller, events, Int32(LoadGenerator.eventsMax), 30_000)
                if count == 0 { throw Failure("port \(port) has not answered for 30 seconds") }
            }
            if count >= 0 { return Int(count) }
            guard errno == EINTR else { throw Failure("epoll: \(lastErrorText())") }
        }
    }

    // MARK: One connection

    private func startPipeline(_ index: Int, commands: Int, since: UInt64) throws(Failure) {
        let bytes = batch.refill(commands: commands)
        links[index].owed = commands
        links[index].batch = commands
        links[index].since = since
        inFlight += 1
        let sent = try send(index, bytes)
        guard sent < bytes.count else { return }
        links[index].unsent = Array(bytes[sent...])
        setInterest(index, UInt32(clinux_epoll_in | clinux_epoll_out))
    }

    /// Reads what the connection has received; returns the time if that completed its pipeline, otherwise nil.
    private func serve(_ index: Int) throws(Failure) -> UInt64? {
        if !links[index].unsent.isEmpty { try sendRest(index) }
        let count = read(links[index].fd, input.baseAddress, input.count)
        guard count > 0 else {
            if count < 0, errno == EAGAIN || errno == EINTR { return nil }
            throw Failure("port \(port) closed a connection: \(count == 0 ? "end of stream" : lastErrorText())")
        }
        guard links[index].owed > 0 else { throw Failure("port \(port) sent more replies than requested") }
        let (replies, errors) = (links[index].scanner.replies, links[index].scanner.errors)
        links[index].scanner.scan(UnsafeBufferPointer(rebasing: input[..<count]))
        if let failure = links[index].scanner.failure { throw Failure("port \(port) sent invalid RESP: \(failure)") }
        result.errors += links[index].scanner.errors - errors
        links[index].owed -= links[index].scanner.replies - replies
        guard links[index].owed <= 0 else { return nil }
        guard links[index].owed == 0 else { throw Failure("port \(port) sent more replies than requested") }
        let now = monotonicNanoseconds()
        inFlight -= 1
        result.commands += links[index].batch
        result.latencies.record(now - links[index].since, times: links[index].batch)
        return now
    }

    private func sendRest(_ index: Int) throws(Failure) {
        let rest = links[index].unsent
        var sent = 0
        do {
            sent = try rest.withUnsafeBufferPointer { try send(index, $0) }
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure("\(error)")
        }
        links[index].unsent.removeFirst(sent)
        if links[index].unsent.isEmpty { setInterest(index, UInt32(clinux_epoll_in)) }
    }

    /// Returns the number of bytes that the socket accepted.
    private func send(_ index: Int, _ bytes: UnsafeBufferPointer<UInt8>) throws(Failure) -> Int {
        let sent = Glibc.send(links[index].fd, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        if sent >= 0 { return sent }
        guard errno == EAGAIN || errno == EINTR else {
            throw Failure("port \(port) accepted no more requests: \(lastErrorText())")
        }
        return 0
    }

    private func setInterest(_ index: Int, _ events: UInt32) {
        _ = clinux_epoll_control(poller, EPOLL_CTL_MOD, links[index].fd, events, UInt64(index))
    }
}

/// Writes a setting to an existing file; a kernel without it is not an error.
private func writeText(_ text: String, to path: String) {
    let fd = open(path, O_WRONLY)
    guard fd >= 0 else { return }
    _ = Array(text.utf8).withUnsafeBytes { write(fd, $0.baseAddress, $0.count) }
    close(fd)
}
