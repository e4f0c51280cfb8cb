// The key under which the state of a tenant's client's action is kept, whatever rule gives it its limit: so a rule that
// comes or goes changes the limit and not what was spent.
//
//   0, 'C' │ length of tenant │ tenant │ length of client │ client │ action        lengths as LEB128
//
// Every name stands behind its length and the last one ends with the key, so different names never make the same key,
// whatever their bytes. It is a key like others: listed, removed and timed by the commands on keys.

/// The key of a client's state under the rules.
public enum CheckKey {
    /// Bytes the key has.
    public static func count(
        tenant: UnsafeRawBufferPointer, client: UnsafeRawBufferPointer, action: UnsafeRawBufferPointer
    ) -> Int {
        prefixCount + lengthCount(tenant.count) + tenant.count + lengthCount(client.count) + client.count + action.count
    }

    private static var prefixCount: Int { 2 }

    /// Writes the key to `memory`, which has room for `count` bytes. Returns how many those are; at most `keyLengthMax`
    /// is the caller's to see to.
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
