// IP addresses as numbers: parsing, formatting, ranges. Nothing allocates, since a gateway reads addresses in requests.

public import Glibc

/// An IPv4 or IPv6 address. IPv4 addresses are stored as IPv4-mapped IPv6 addresses, so the two notations of one
/// address are equal.
public struct IPAddress: Equatable, Hashable, Sendable {
    /// The first 64 bits of the IPv6 address.
    public let high: UInt64
    /// The last 64 bits.
    public let low: UInt64

    /// Bytes that `write` needs at most.
    public static let textMax = 40

    /// The IPv6 address with these halves.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// The IPv4 address, in the byte order of this machine.
    public init(ipv4 address: UInt32) { self.init(high: 0, low: 0xFFFF_0000_0000 | UInt64(address)) }

    /// The remote end of a connection; nil if it is not an IP address, or the kernel does not know it.
    public init?(peerOf descriptor: Int32) {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(descriptor, $0, &length) }
        }
        guard result == 0 else { return nil }
        self.init(storage)
    }

    /// The address of a socket; nil for another family.
    public init?(_ storage: sockaddr_storage) {
        let found = withUnsafeBytes(of: storage) { bytes -> IPAddress? in
            switch Int32(storage.ss_family) {
            case AF_INET:
                let offset = MemoryLayout<sockaddr_in>.offset(of: \.sin_addr)!
                return IPAddress(ipv4: UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
            case AF_INET6:
                let offset = MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr)!
                return IPAddress(
                    high: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
                    low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)))
            default: return nil
            }
        }
        guard let found else { return nil }
        self = found
    }

    /// Whether it is an IPv4 address, also if it was written as an IPv4-mapped IPv6 address.
    public var isIPv4: Bool { high == 0 && low >> 32 == 0xFFFF }

    /// The first `length` of 128 bits; the others are 0.
    public func prefix(_ length: Int) -> IPAddress {
        precondition(length >= 0 && length <= 128)
        func mask(_ bits: Int) -> UInt64 { bits <= 0 ? 0 : bits >= 64 ? .max : ~(UInt64.max >> UInt64(bits)) }
        return IPAddress(high: high & mask(length), low: low & mask(length - 64))
    }

    // MARK: Parsing

    /// The address written as `192.0.2.1` or `2001:db8::1`; nil for anything else, such as a zone index or a port.
    public init?(_ text: UnsafeBufferPointer<UInt8>) {
        guard text.contains(UInt8(ascii: ":")) else {
            guard let address = IPAddress.ipv4(text[...]) else { return nil }
            self.init(ipv4: address)
            return
        }
        guard let (high, low) = IPAddress.ipv6(text) else { return nil }
        self.init(high: high, low: low)
    }

    /// The address written in this text.
    public init?(_ text: String) {
        var text = text
        guard let found = text.withUTF8({ IPAddress($0) }) else { return nil }
        self = found
    }

    private static func ipv4(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> UInt32? {
        var address: UInt32 = 0
        var number: UInt32 = 0
        var digits = 0
        var dots = 0
        for byte in text {
            if byte == UInt8(ascii: ".") {
                guard digits > 0, dots < 3 else { return nil }
                address = address << 8 | number
                (number, digits, dots) = (0, 0, dots + 1)
                continue
            }
            // No leading zeros: some read them as octal.
            guard byte &- 0x30 <= 9, digits == 0 || number > 0, digits < 3 else { return nil }
            number = number * 10 + UInt32(byte - 0x30)
            digits += 1
            guard number <= 255 else { return nil }
        }
        return dots == 3 && digits > 0 ? address << 8 | number : nil
    }

    private static func ipv6(_ text: UnsafeBufferPointer<UInt8>) -> (UInt64, UInt64)? {
        var groups = InlineArray<8, UInt16>(repeating: 0)
        var count = 0
        var gap: Int?
        var index = 0
        if text.count >= 2, text[0] == UInt8(ascii: ":") {
            guard text[1] == UInt8(ascii: ":") else { return nil }
            gap = 0
            index = 2
        }
        while index < text.count {
            guard count < 8 else { return nil }
            let start = index
            var group: UInt32 = 0
            while index < text.count, let digit = hexadecimalDigit(text[index]), index - start < 4 {
                group = group << 4 | UInt32(digit)
                index += 1
            }
            if index < text.count, text[index] == UInt8(ascii: ".") {
                guard count <= 6, let tail = ipv4(text[start...]) else { return nil }
                groups[count] = UInt16(tail >> 16)
                groups[count + 1] = UInt16(truncatingIfNeeded: tail)
                count += 2
                index = text.count
                break
            }
            guard index > start else { return nil }
            groups[count] = UInt16(group)
            count += 1
            guard index < text.count else { break }
            guard text[index] == UInt8(ascii: ":") else { return nil }
            index += 1
            if index < text.count, text[index] == UInt8(ascii: ":") {
                guard gap == nil else { return nil }
                gap = count
                index += 1
            } else if index == text.count {
                return nil
            }
        }
        guard gap == nil ? count == 8 : count < 8 else { return nil }
        var halves: (UInt64, UInt64) = (0, 0)
        for position in 0..<8 {
            let fromGap = gap.map { position < $0 ? position : position - (8 - count) } ?? position
            let isZero = gap.map { position >= $0 && position < $0 + 8 - count } ?? false
            let group = isZero ? 0 : UInt64(groups[fromGap])
            if position < 4 { halves.0 = halves.0 << 16 | group } else { halves.1 = halves.1 << 16 | group }
        }
        return halves
    }

    private static func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        case 0x61...0x66: byte - 0x57
        default: nil
        }
    }

    // MARK: Formatting

    /// Writes the address as RFC 5952 recommends to memory with room for `textMax` bytes; returns the number of bytes.
    public func write(to memory: UnsafeMutablePointer<UInt8>) -> Int {
        isIPv4 ? writeIPv4(to: memory) : writeIPv6(to: memory)
    }

    private func writeIPv4(to memory: UnsafeMutablePointer<UInt8>) -> Int {
        var end = 0
        for shift: UInt64 in [24, 16, 8, 0] {
            let number = UInt8(truncatingIfNeeded: low >> shift)
            if number >= 100 { append(0x30 + number / 100, to: memory, &end) }
            if number >= 10 { append(0x30 + number / 10 % 10, to: memory, &end) }
            append(0x30 + number % 10, to: memory, &end)
            if shift > 0 { append(UInt8(ascii: "."), to: memory, &end) }
        }
        return end
    }

    private func writeIPv6(to memory: UnsafeMutablePointer<UInt8>) -> Int {
        let (zeros, zeroCount) = longestZeros
        var end = 0
        var position = 0
        while position < 8 {
            if position == zeros {
                append(UInt8(ascii: ":"), to: memory, &end)
                append(UInt8(ascii: ":"), to: memory, &end)
                position += zeroCount
                continue
            }
            if position > 0, position != zeros + zeroCount { append(UInt8(ascii: ":"), to: memory, &end) }
            let group = group(position)
            var isLeading = true
            for shift: UInt16 in [12, 8, 4, 0] {
                let digit = UInt8(group >> shift & 0xF)
                isLeading = isLeading && digit == 0 && shift > 0
                if !isLeading { append(digit < 10 ? 0x30 + digit : 0x57 + digit, to: memory, &end) }
            }
            position += 1
        }
        return end
    }

    private func group(_ position: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: (position < 4 ? high : low) >> UInt64(48 - position % 4 * 16))
    }

    /// The first of the longest runs of two zero groups or more; -9 if there is none.
    private var longestZeros: (start: Int, count: Int) {
        var best = (start: -9, count: 1)
        var start = 0
        for position in 0...8 where position == 8 || group(position) != 0 {
            if position - start > best.count { best = (start, position - start) }
            start = position + 1
        }
        return best.start < 0 ? (-9, 0) : best
    }

    private func append(_ byte: UInt8, to memory: UnsafeMutablePointer<UInt8>, _ end: inout Int) {
        memory[end] = byte
        end += 1
    }
}

extension IPAddress: CustomStringConvertible {
    /// The address as text.
    public var description: String {
        String(unsafeUninitializedCapacity: IPAddress.textMax) { write(to: $0.baseAddress!) }
    }
}

/// Addresses with a common prefix, such as `10.0.0.0/8`.
public struct IPRange: Equatable, Sendable {
    private let first: IPAddress
    /// Bits of the IPv6 address.
    private let length: Int

    /// An address, or an address with the length of a prefix. Nil for anything else, and if bits after the prefix are
    /// set, which is usually a mistake.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = IPAddress(String(parts[0])) else { return nil }
        let bits = address.isIPv4 && !text.contains(":") ? 32 : 128
        var given = bits
        if parts.count == 2 {
            guard let number = Int(parts[1]), String(number) == parts[1], number >= 0, number <= bits else {
                return nil
            }
            given = number
        }
        length = given + 128 - bits
        guard address.prefix(length) == address else { return nil }
        first = address
    }

    /// Whether the address is one of them.
    public func contains(_ address: IPAddress) -> Bool { address.prefix(length) == first }
}

extension IPRange: CustomStringConvertible {
    /// The range as text, from which it can be parsed again.
    public var description: String {
        if first.isIPv4, length >= 96 { return length == 128 ? "\(first)" : "\(first)/\(length - 96)" }
        return length == 128 ? "\(first)" : "\(first)/\(length)"
    }
}
