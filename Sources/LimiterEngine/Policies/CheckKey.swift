// The key for the state of a tenant's client's action, whichever rule provides its limit: so adding or removing a rule
// changes the limit but not what was spent.
//
//   0, 'C' │ length of tenant │ tenant │ length of client │ client │ action        lengths as LEB128
//
// Every name follows its length and the last one extends to the key's end, so different names never produce the same
// key, whatever their bytes. It is an ordinary key: the key commands list, remove and expire it.

/// The key of a client's state under the rules.
public enum CheckKey {
    /// Length of the key in bytes.
    public static func count(
        tenant: UnsafeRawBufferPointer, client: UnsafeRawBufferPointer, action: UnsafeRawBufferPointer
    ) -> Int {
        prefixCount + lengthCount(tenant.count) + tenant.count + lengthCount(client.count) + client.count + action.count
    }

    private static var prefixCount: Int { 2 }

    /// Writes the key to `memory`, which has room for `count` bytes, and returns that number. The caller must make sure
    /// that it does not exceed `keyLengthMax`.
    @discardableResult
    public static func write(
        tenant: UnsafeRawBufferPointer, client: UnsafeRawBufferPointer, action: UnsafeRawBufferPointer,
        to memory: UnsafeMutablePointer<UInt8>
    ) -> Int {
        memory[0] = 0
        memory[1] = UInt8(ascii: "C")
        var end = prefixCount
        append(length: tenant.count, to: memory, &end)
        append(tenant, to: memory, &end)
        append(length: client.count, to: memory, &end)
        append(client, to: memory, &end)
        append(action, to: memory, &end)
        return end
    }

    /// The names in a key that `write` has written, borrowed from it.
    public static func names(
        _ key: UnsafeRawBufferPointer
    ) -> (tenant: UnsafeRawBufferPointer, client: UnsafeRawBufferPointer, action: UnsafeRawBufferPointer) {
        var position = prefixCount
        let tenant = name(in: key, at: &position)
        let client = name(in: key, at: &position)
        return (tenant, client, UnsafeRawBufferPointer(rebasing: key[position...]))
    }

    private static func name(in key: UnsafeRawBufferPointer, at position: inout Int) -> UnsafeRawBufferPointer {
        var length = 0
        var shift = 0
        while key[position] >= 0x80 {
            length |= Int(key[position] & 0x7F) << shift
            shift += 7
            position += 1
        }
        length |= Int(key[position]) << shift
        let start = position + 1
        position = start + length
        return UnsafeRawBufferPointer(rebasing: key[start..<position])
    }

    private static func lengthCount(_ length: Int) -> Int {
        var count = 1
        var rest = length >> 7
        while rest > 0 {
            count += 1
            rest >>= 7
        }
        return count
    }

    private static func append(length: Int, to memory: UnsafeMutablePointer<UInt8>, _ end: inout Int) {
        var rest = length
        while rest >= 0x80 {
            memory[end] = UInt8(truncatingIfNeeded: rest) | 0x80
            end += 1
            rest >>= 7
        }
        memory[end] = UInt8(rest)
        end += 1
    }

    private static func append(
        _ name: UnsafeRawBufferPointer, to memory: UnsafeMutablePointer<UInt8>, _ end: inout Int
    ) {
        guard let base = name.baseAddress else { return }
        UnsafeMutableRawPointer(memory + end).copyMemory(from: base, byteCount: name.count)
        end += name.count
    }
}
