// A chunk of the rules: those whose hashes have the same prefix. Immutable; changing a rule rebuilds one chunk, and the
// next table shares the others.
//
//   slots    NameSlots; the number is an offset in `flat`, a multiple of 16
//   flat     a header for each rule, followed by its names: together they are mostly in one cache line

/// Some rules and their lookup. Flat memory, so that a lookup allocates nothing and touches no reference counts.
///
/// `@unchecked Sendable`: its memory is written only in `init`, and freed in `deinit`.
final class RuleChunk: @unchecked Sendable {
    /// The rules, in no particular order. The policy of each existed when the chunk was built.
    let rules: [Rule]
    /// The data a lookup needs. Valid for the lifetime of the chunk.
    let view: View

    /// A rule and its hash.
    typealias Hashed = (rule: Rule, hash: UInt64)

    /// The data a lookup needs about a rule, before its names.
    struct Header {
        var number: Int32
        var policy: Int32
        /// Lengths of the names, 0 for all; at most `Policy.nameLengthMax`.
        var tenant: UInt16
        var client: UInt16
        var action: UInt16
        var pattern: UInt8
    }

    /// Rules are stored at multiples of this, so that the 32 bits of a slot can address each of them.
    private static var step: Int { 16 }

    /// O(rules). Rules without their policy are omitted.
    init(_ all: [Hashed], _ policies: PolicySet) {
        let known = all.compactMap { hashed -> (hashed: Hashed, policy: Int)? in
            let number = hashed.rule.policy.withUnsafeBytes { policies.number(of: $0) }
            return number.map { (hashed, $0) }
        }
        rules = known.map(\.hashed.rule)
        let size = known.reduce(0) { $0 + RuleChunk.size($1.hashed.rule.subject) }
        let flat = UnsafeMutableRawPointer.allocate(byteCount: max(1, size), alignment: RuleChunk.step)
        view = View(slots: NameSlots(for: known.count), flat: flat)
        var place = 0
        for (number, (hashed, policy)) in known.enumerated() {
            let subject = hashed.rule.subject
            let base = flat + place * RuleChunk.step
            base.initializeMemory(
                as: Header.self,
                to: Header(
                    number: Int32(number), policy: Int32(policy), tenant: UInt16(subject.tenant?.count ?? 0),
                    client: UInt16(subject.client?.count ?? 0), action: UInt16(subject.action?.count ?? 0),
                    pattern: UInt8(subject.pattern)))
            var name = base + View.headerSize
            for bytes in [subject.tenant, subject.client, subject.action] {
                guard let bytes else { continue }
                name.copyMemory(from: bytes, byteCount: bytes.count)
                name += bytes.count
            }
            view.slots.insert(place, hash: hashed.hash)
            place += RuleChunk.size(subject) / RuleChunk.step
        }
    }

    deinit {
        view.slots.deallocate()
        view.flat.deallocate()
    }

    /// Bytes of a rule and its names. All offsets fit 32 bits, since rules are bounded and names are short.
    private static func size(_ subject: RuleSubject) -> Int {
        let names = (subject.tenant?.count ?? 0) + (subject.client?.count ?? 0) + (subject.action?.count ?? 0)
        return (View.headerSize + names + step - 1) / step * step
    }

    /// A chunk's memory, borrowed.
    struct View {
        fileprivate(set) var slots: NameSlots
        fileprivate var flat: UnsafeMutableRawPointer

        /// Offset of the names.
        fileprivate static var headerSize: Int { MemoryLayout<Header>.size }

        /// The rule with this hash, this pattern, and the names that the pattern has.
        @inline(__always)
        func find(
            _ hash: UInt64, _ pattern: Int, _ tenant: UnsafeRawBufferPointer, _ client: UnsafeRawBufferPointer,
            _ action: UnsafeRawBufferPointer
        ) -> UnsafePointer<Header>? {
            slots.find(hash) { isRule($0, pattern, tenant, client, action) }.map(header)
        }

        @inline(__always)
        private func header(_ place: Int) -> UnsafePointer<Header> {
            UnsafePointer((flat + place &* RuleChunk.step).assumingMemoryBound(to: Header.self))
        }

        @inline(__always)
        private func isRule(
            _ place: Int, _ pattern: Int, _ tenant: UnsafeRawBufferPointer, _ client: UnsafeRawBufferPointer,
            _ action: UnsafeRawBufferPointer
        ) -> Bool {
            let rule = header(place)
            guard Int(rule.pointee.pattern) == pattern else { return false }
            let names = UnsafeRawPointer(rule) + View.headerSize
            let tenantCount = Int(rule.pointee.tenant)
            let clientCount = Int(rule.pointee.client)
            return (pattern & 1 == 0 || View.isName(names, tenantCount, tenant))
                && (pattern & 2 == 0 || View.isName(names + tenantCount, clientCount, client))
                && (pattern & 4 == 0
                    || View.isName(names + (tenantCount &+ clientCount), Int(rule.pointee.action), action))
        }

        @inline(__always)
        private static func isName(_ own: UnsafeRawPointer, _ count: Int, _ name: UnsafeRawBufferPointer) -> Bool {
            count == name.count && bytesAreEqual(own, name.baseAddress ?? emptyKey, count: count)
        }
    }
}
