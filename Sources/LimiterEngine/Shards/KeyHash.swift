// The only hash of a key: computed once per command. Its high bits select the shard, its low bits the bucket, and bits
// in between are the tag stored in the index. Keyed by a random seed, since keys come from attackers; a folded multiply
// is not a proven keyed function like SipHash, which costs twenty times as much, so probe lengths are also monitored.

/// The seed of a process's hashes.
public struct HashSeed: Sendable {
    let first: UInt64
    let second: UInt64
    let third: UInt64

    /// A seed from the system's random numbers.
    public init() {
        var generator = SystemRandomNumberGenerator()
        self.init(generator.next(), generator.next(), generator.next())
    }

    /// A fixed seed, for repeatable tests.
    public init(_ first: UInt64, _ second: UInt64, _ third: UInt64) {
        // Odd words keep a zero product from clearing the state whatever the key.
        self.first = first | 1
        self.second = second | 1
        self.third = third | 1
    }

    /// The hash of `count` bytes at `key`. Reads only those bytes.
    @inline(__always)
    func hash(_ key: UnsafeRawPointer, count: Int) -> UInt64 {
        var state = first ^ UInt64(truncatingIfNeeded: count)
        var low: UInt64
        var high: UInt64
        if count >= 8 {
            if count > 16 { state = absorbBlocks(key, count: count, state: state) }
            let tail = count > 16 ? count &- 16 : 0
            low = load64(key + tail)
            high = load64(key + (count &- 8))
        } else if count >= 4 {
            low = UInt64(load32(key))
            high = UInt64(load32(key + (count &- 4)))
        } else if count > 0 {
            low = UInt64(load8(key)) << 16 | UInt64(load8(key + (count >> 1))) << 8 | UInt64(load8(key + (count &- 1)))
            high = 0
        } else {
            low = 0
            high = 0
        }
        let mixed = fold(low ^ second, high ^ state)
        return fold(mixed ^ third, first &+ UInt64(truncatingIfNeeded: count))
    }

    /// Absorbs all whole 16-byte blocks before the last 16 bytes.
    @inline(never)
    private func absorbBlocks(_ key: UnsafeRawPointer, count: Int, state: UInt64) -> UInt64 {
        var state = state
        var offset = 0
        while offset &+ 16 < count {
            state = fold(load64(key + offset) ^ second, load64(key + (offset &+ 8)) ^ state)
            offset &+= 16
        }
        return state
    }

    @inline(__always)
    private func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
}

@inline(__always)
private func load64(_ address: UnsafeRawPointer) -> UInt64 { address.loadUnaligned(as: UInt64.self) }

@inline(__always)
private func load32(_ address: UnsafeRawPointer) -> UInt32 { address.loadUnaligned(as: UInt32.self) }

@inline(__always)
private func load8(_ address: UnsafeRawPointer) -> UInt8 { address.load(as: UInt8.self) }
