// Draws the curves of docs/choosing.md and fills in its tables, using only the limiter engine: no server, no clock. A
// unit test compares the files in the repository with this program's output.

import Glibc
import ProgramArguments

private func stop(_ message: String) -> Never {
    let line = Array("curves: \(message)\n".utf8)
    _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    exit(1)
}

private func readArguments() -> [String] {
    do throws(ProgramArgumentsError) {
        return try ProgramArguments.read()
    } catch {
        stop(error.text)
    }
}

private let arguments = readArguments()
// An empty word is not a directory either: the files would be written to the root of the file system.
guard arguments.count <= 1, arguments.first?.isEmpty != true, arguments.first?.hasPrefix("-") != true else {
    stop("usage: curves [DIRECTORY]\nWrites docs/curves/*.svg and the tables in docs/choosing.md below DIRECTORY")
}
private let docs = (arguments.first ?? ".") + "/docs"

do {
    let document = TextFile("\(docs)/choosing.md")
    var text = try document.read()
    for section in try GeneratedSection.all() {
        guard let replaced = section.replaced(in: text) else {
            stop("\(document.path): no comments that enclose '\(section.name)'")
        }
        text = replaced
    }
    try document.write(text)
    for figure in try Figure.all() { try TextFile("\(docs)/curves/\(figure.name)").write(figure.text) }
} catch let failure as FileFailure {
    stop(failure.message)
} catch {
    stop("invalid limit: \(error)")
}
