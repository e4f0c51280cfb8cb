// An error that ends the tool: one sentence for the user.

/// An error with a message for the user.
struct Failure: Error {
    let message: String
    /// True when the command line is at fault.
    var isUsage = false

    init(_ message: String) { self.message = message }

    static func usage(_ message: String) -> Failure {
        var failure = Failure(message)
        failure.isUsage = true
        return failure
    }
}
