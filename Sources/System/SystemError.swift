// A failed system call: which one, and why.

import Glibc

/// A failed system call.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The call's name, such as `bind`.
    public let call: String
    /// The kernel's error number.
    public let code: Int32

    /// Captures errno; create it right after the call.
    public init(_ call: String) {
        code = errno
        self.call = call
    }

    /// The failure of `call` with the error number `code`.
    public init(_ call: String, code: Int32) {
        self.call = call
        self.code = code
    }

    /// `bind: Address already in use`
    public var description: String { "\(call): \(SystemError.text(code))" }

    /// The C library's text for an error number.
    public static func text(_ code: Int32) -> String { String(cString: strerror(code)) }
}
