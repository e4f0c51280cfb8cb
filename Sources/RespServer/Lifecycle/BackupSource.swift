// What a backup is taken from: whether it is a server of this kind that gives its state to this program.
//
// A replica retries forever, whatever the reason, since its primary may be repaired. A backup tells apart what passes,
// such as a server that loads its state, and what remains until an operator changes something, such as a password.
// Owns that distinction and the advice.

import RESP
import System

enum BackupSource {
    /// Errors that end without any action of an operator, by the beginning of their text.
    private static let passing = [
        "LOADING ", "MASTERDOWN ", "NOMASTERLINK ", "MISCONF ", "BUSY ", "TRYAGAIN ", "ERR max number of clients",
    ]

    /// Throws if the server will not give its state.
    static func examine(
        _ address: ToolAddress, password: String?, until deadline: SteadyInstant
    ) throws(ToolFailure) {
        let connection = try ToolConnection(to: address, until: deadline)
        if let password, case .error(let text) = try connection.call("AUTH", password) {
            // Something else may repeat what it has received.
            guard !text.contains(password) else { throw ToolFailure(text: "answers AUTH with an error") }
            if let failure = lastingRefusal(text) { throw failure }
        }
        let reply = try connection.call("INFO", "server")
        if case .error(let text) = reply {
            if let failure = lastingRefusal(text) { throw failure }
            return
        }
        guard let text = reply.text, text.contains("\r\nescapement_version:") else {
            throw ToolFailure(text: "is not an Escapement server")
        }
    }

    /// What remains of the reason why a replica has no link; nil if it may pass.
    ///
    /// - Parameter cause: The end of the replica's warning, from its `because="…"`.
    static func lastingRefusal(in cause: String) -> ToolFailure? {
        if let start = cause.firstRange(of: "the primary refuses: ")?.upperBound {
            return lastingRefusal(String(cause[start...].prefix { $0 != "\"" }))
        }
        guard let start = cause.firstRange(of: "unexpected reply from the primary: ")?.lowerBound else { return nil }
        return ToolFailure(text: String(cause[start...].prefix { $0 != "\"" }))
    }

    private static func lastingRefusal(_ error: String) -> ToolFailure? {
        guard !passing.contains(where: error.hasPrefix) else { return nil }
        let shown = SettingError.printable(error, lengthMax: 256)
        let variable = "the environment variable ESCAPEMENT_PASSWORD"
        if error.hasPrefix("NOAUTH") {
            return ToolFailure(text: "\(shown) Set \(variable) to the server's password (requirepass)")
        }
        if error.hasPrefix("WRONGPASS") {
            return ToolFailure(text: "\(shown) Correct \(variable): it is not the server's password (requirepass)")
        }
        if error.contains("without any password configured") {
            return ToolFailure(text: "\(shown) Unset \(variable): the server has no password")
        }
        return ToolFailure(text: "refuses: \(shown)")
    }
}
