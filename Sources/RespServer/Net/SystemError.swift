// A system call that failed: which one, and why.

import Glibc

/// A failed system call.
struct SystemError: Error, CustomStringConvertible {
    let call: String
    let code: Int32

    /// Captures errno; create it right behind the call.
    init(_ call: String) {
        code = errno
        self.call = call
    }

    init(_ call: String, code: Int32) {
        self.call = call
        self.code = code
    }

    /// `bind: Address already in use`
    var description: String { "\(call): \(SystemError.text(code))" }

    static func text(_ code: Int32) -> String { String(cString: strerror(code)) }
}
