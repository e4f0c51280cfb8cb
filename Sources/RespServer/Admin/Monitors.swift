// MONITOR: connections that receive every command. Costs nothing while there are none.

import Glibc
import RESP
import Synchronization
import System

final class Monitors: Sendable {
    private let connections = Locked<[Connection]>([])
    private let count = Atomic<Int>(0)

    var isEmpty: Bool { count.load(ordering: .relaxed) == 0 }

    func add(_ connection: Connection) { change { $0.append(connection) } }

    func remove(_ connection: Connection) { change { $0.removeAll { $0 === connection } } }

    private func change(_ body: (inout [Connection]) -> Void) {
        connections.withLock { list in
            body(&list)
            count.store(list.count, ordering: .relaxed)
        }
    }

    /// Sends a line to every monitor.
    func show(_ line: [UInt8]) {
        let receivers = connections.withLock { $0 }
        if !receivers.isEmpty { MessageBytes(monitorLine: line).post(to: receivers) }
    }

    /// A command as monitors see it, with the database: `+1700000000.123456 [0 127.0.0.1:5] "SET" "k" "v"`.
    static func line(_ arguments: ArgumentList, _ hidden: HiddenArguments, from connection: Connection) -> [UInt8] {
        let wall = CalendarSecond.now()
        let micros = String(wall.nanosecond / 1000)
        let padded = String(repeating: "0", count: 6 - micros.count) + micros
        // A command for a request over HTTP is run in database 0.
        let database = connection.respIfAny?.database ?? 0
        var line = Array("+\(wall.unixSeconds).\(padded) [\(database) \(connection.peerAddress)]".utf8)
        for index in 0..<arguments.count {
            line.append(UInt8(ascii: " "))
            if hidden.contains(index) {
                line += Array("\"\(HiddenArguments.text)\"".utf8)
            } else {
                QuotedBytes.append(arguments[index].buffer, to: &line)
            }
        }
        return line + [0x0D, 0x0A]
    }
}

/// Bytes in double quotes with C escapes.
enum QuotedBytes {
    static func append(_ bytes: UnsafeBufferPointer<UInt8>, to line: inout [UInt8]) {
        line.append(UInt8(ascii: "\""))
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "\\"), UInt8(ascii: "\""): line += [UInt8(ascii: "\\"), byte]
            case 0x0A: line += Array("\\n".utf8)
            case 0x0D: line += Array("\\r".utf8)
            case 0x09: line += Array("\\t".utf8)
            case 0x07: line += Array("\\a".utf8)
            case 0x08: line += Array("\\b".utf8)
            case 0x20...0x7E: line.append(byte)
            default:
                let digits = Array("0123456789abcdef".utf8)
                line += Array("\\x".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        line.append(UInt8(ascii: "\""))
    }
}
