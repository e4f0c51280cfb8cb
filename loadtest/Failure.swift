// What ends the tool early: one sentence for the person who started it.

/// A reason to stop, worded for people.
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
