// The bytes of one pipeline, built once. Before each send only the digits of its keys are overwritten, so the tool
// spends a few nanoseconds a command; formatting would cost more than the server it measures.

/// A command whose words may contain `__rand_int__` (random below the number of keys) or `__seq_int__` (0, 1, 2 …),
/// both replaced by 12 digits with leading zeros, as in redis-benchmark.
struct CommandTemplate {
    let words: [String]
    static let placeholderDigits = 12

    init(_ words: [String]) throws(Failure) {
        guard !words.isEmpty else { throw .usage("the command to send is missing") }
        self.words = words
    }

    /// The command's bytes with zeros for placeholders, and the positions of the random and the sequential digits.
    func encode() -> (bytes: [UInt8], random: [Int], running: [Int]) {
        var bytes = Array("*\(words.count)\r\n".utf8)
        var (random, running) = ([Int](), [Int]())
        for word in words {
            let (content, randomHere, runningHere) = CommandTemplate.fill(word)
            bytes += Array("$\(content.count)\r\n".utf8)
            random += randomHere.map { $0 + bytes.count }
            running += runningHere.map { $0 + bytes.count }
            bytes += content + [0x0D, 0x0A]
        }
        return (bytes, random, running)
    }

    private static func fill(_ word: String) -> (content: [UInt8], random: [Int], running: [Int]) {
        var (rest, content) = (Array(word.utf8)[...], [UInt8]())
        var (random, running) = ([Int](), [Int]())
        let (randomMark, runningMark) = (Array("__rand_int__".utf8), Array("__seq_int__".utf8))
        while !rest.isEmpty {
            let isRandom = rest.starts(with: randomMark)
            guard isRandom || rest.starts(with: runningMark) else {
                content.append(rest.removeFirst())
                continue
            }
            if isRandom { random.append(content.count) } else { running.append(content.count) }
            content += [UInt8](repeating: UInt8(ascii: "0"), count: placeholderDigits)
            rest = rest.dropFirst(isRandom ? randomMark.count : runningMark.count)
        }
        return (content, random, running)
    }
}

/// The commands of one pipeline, with their keys overwritten in place.
final class RequestBatch {
    let bytes: UnsafeMutableBufferPointer<UInt8>
    let depth: Int
    private let commandLength: Int
    private let random: [Int]
    private let running: [Int]
    private let keys: UInt64
    private let digits: Int
    private var state: UInt64
    private var next: UInt64 = 0

    /// `depth` copies of the command over `keys` keys. The same `seed` gives the same keys in the same order.
    init(_ template: CommandTemplate, depth: Int, keys: Int, seed: UInt64 = 0x9E37_79B9_7F4A_7C15) {
        let command = template.encode()
        bytes = .allocate(capacity: command.bytes.count * depth)
        for index in 0..<depth {
            _ = UnsafeMutableBufferPointer(rebasing: bytes[(index * command.bytes.count)...]).update(
                from: command.bytes)
        }
        self.depth = depth
        commandLength = command.bytes.count
        random = command.random
        running = command.running
        self.keys = UInt64(keys)
        digits = min(String(keys - 1).utf8.count, CommandTemplate.placeholderDigits)
        state = seed
    }

    deinit { bytes.deallocate() }

    /// Writes new keys into the first `commands` commands and returns their bytes, valid until the next call.
    func refill(commands: Int) -> UnsafeBufferPointer<UInt8> {
        var offset = 0
        for _ in 0..<commands {
            for place in random { write(nextRandom(), at: offset &+ place, digits: digits) }
            for place in running {
                write(next, at: offset &+ place, digits: CommandTemplate.placeholderDigits)
                next &+= 1
            }
            offset &+= commandLength
        }
        return UnsafeBufferPointer(rebasing: bytes[..<offset])
    }

    /// A random number below `keys`. Taking the product's high half avoids a division (xorshift64*, Lemire's
    /// reduction).
    private func nextRandom() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return (state &* 0x2545_F491_4F6C_DD1D).multipliedFullWidth(by: keys).high
    }

    /// Writes the last `digits` of the placeholder's 12 digits; the others have been zero since the batch was built.
    private func write(_ value: UInt64, at place: Int, digits: Int) {
        let base = bytes.baseAddress! + place + (CommandTemplate.placeholderDigits - digits)
        var rest = value
        var index = digits
        while index > 0 {
            index &-= 1
            base[index] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
    }
}
