// EVAL, EVALSHA, their read-only forms, and SCRIPT. Most calls of EVAL and EVALSHA never come here: they are decided in
// the batch (Scripts/BatchedScript). Errors are Redis's and come in its order.

import LimiterEngine
import RESP

extension Handlers {
    static func eval(_ context: CommandContext) { runScript(context, .text) }
    static func evalReadOnly(_ context: CommandContext) { runScript(context, .text, isReadOnly: true) }
    static func evalsha(_ context: CommandContext) { runScript(context, .sha1) }
    static func evalshaReadOnly(_ context: CommandContext) { runScript(context, .sha1, isReadOnly: true) }

    private enum Naming {
        case text, sha1
    }

    private static let scripts = ScriptTable.scripts

    private static func runScript(_ context: CommandContext, _ naming: Naming, isReadOnly: Bool = false) {
        let arguments = context.arguments
        if naming == .sha1, arguments[1].count != 2 * SHA1.length { return context.reply.error(noScript) }
        guard let keyCount = keyCountOrReply(context) else { return }
        let number: Int
        switch naming {
        case .sha1:
            guard let found = context.loop.scripts.find(arguments[1]) else { return context.reply.error(noScript) }
            number = found
        case .text:
            guard let found = numberOrReply(context, ofTextAt: 1) else { return }
            number = found
        }
        let script = scripts[number]
        let argumentCount = arguments.count - 3 - keyCount
        guard script.keys.contains(keyCount), script.arguments.contains(argumentCount), let body = script.body else {
            return context.reply.error(mismatch(script, keyCount: keyCount, argumentCount: argumentCount))
        }
        guard !isReadOnly || script.isReadOnly else {
            return context.reply.error(
                Scripts.failure("ERR Write commands are not allowed from read-only scripts.", script))
        }
        run(body, of: script, context, keyCount: keyCount)
    }

    private static func run(
        _ body: KnownScript.Body, of script: KnownScript, _ context: CommandContext, keyCount: Int
    ) {
        let start = context.reply.count
        context.keyspace.holding(keys: keyCount, { context.arguments[3 + $0].raw }) {
            do throws(ScriptError) {
                try body(ScriptRun(context: context, keyCount: keyCount))
            } catch {
                context.reply.truncate(to: start)
                context.reply.error(Scripts.failure(error.text, script))
            }
        }
    }

    private static let noScript = "NOSCRIPT No matching script. Please use EVAL."

    private static func keyCountOrReply(_ context: CommandContext) -> Int? {
        guard let count = context.integerOrReply(2) else { return nil }
        guard count <= context.arguments.count - 3 else {
            context.reply.error("ERR Number of keys can't be greater than number of args")
            return nil
        }
        guard count >= 0 else {
            context.reply.error("ERR Number of keys can't be negative")
            return nil
        }
        return Int(count)
    }

    private static func mismatch(_ script: KnownScript, keyCount: Int, argumentCount: Int) -> String {
        "ERR script \(script.sha1) of \(script.name) takes \(text(script.keys)) key(s) and "
            + "\(text(script.arguments)) argument(s), not \(keyCount) and \(argumentCount): nothing was changed"
    }

    private static func text(_ range: ClosedRange<Int>) -> String {
        if range.upperBound == Int.max { return "\(range.lowerBound) or more" }
        return range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
    }

    // MARK: SCRIPT

    static func scriptLoad(_ context: CommandContext) {
        guard let number = numberOrReply(context, ofTextAt: 2) else { return }
        context.reply.bulk(ScriptTable.scripts[number].sha1)
    }

    static func scriptExists(_ context: CommandContext) {
        let arguments = context.arguments
        context.reply.array(arguments.count - 2)
        for index in 2..<arguments.count {
            context.reply.integer(context.loop.scripts.find(arguments[index]) == nil ? 0 : 1)
        }
    }

    static func scriptFlush(_ context: CommandContext) {
        let arguments = context.arguments
        let isValid =
            arguments.count == 2
            || arguments.count == 3 && (arguments[2].matches("SYNC") || arguments[2].matches("ASYNC"))
        guard isValid else { return context.reply.error("ERR SCRIPT FLUSH only support SYNC|ASYNC option") }
        context.reply.ok()
    }

    static func scriptKill(_ context: CommandContext) {
        context.reply.error("NOTBUSY No scripts in execution right now.")
    }

    /// The number of the script with this text; otherwise counts it and replies with an error.
    private static func numberOrReply(_ context: CommandContext, ofTextAt index: Int) -> Int? {
        let text = context.arguments[index]
        switch context.loop.scriptTexts.find(text) {
        case .known(let number): return number
        case .unknown(let sha1):
            context.loop.noteUnsupported(.script(sha1.text), from: context.client)
            context.reply.error(
                "ERR unknown script \(sha1.text): this server runs no Lua, only the scripts of the libraries in "
                    + "docs/libraries.md")
        case .tooLong:
            context.loop.noteUnsupported(.script("too-long"), from: context.client)
            context.reply.error(
                "ERR unknown script of \(text.count) bytes: this server runs no Lua, only the scripts of the "
                    + "libraries in docs/libraries.md")
        }
        return nil
    }
}

/// The arguments of a request that runs a script.
enum ScriptArguments {
    /// Positions of the keys among all arguments, with the command's name at `start`; none if their number is invalid.
    static func keyPositions(_ arguments: ArgumentList, from start: Int) -> [Int] {
        guard arguments.count > start + 2, let count = arguments[start + 2].integer, count > 0,
            count <= arguments.count - start - 3
        else { return [] }
        return Array(start + 3..<start + 3 + Int(count))
    }
}

extension EventLoop {
    /// What is known of the script that a request for `command` with these arguments would run; nil if it is unknown.
    func scriptFacts(of command: CommandReference, _ arguments: ArgumentList) -> ScriptLookup.Facts? {
        guard arguments.count > 1 else { return nil }
        if command.index == commands.evalsha || command.index == commands.evalshaReadOnly {
            return scripts.find(arguments[1]).map { scripts.facts[$0] }
        }
        guard case .known(let number) = scriptTexts.find(arguments[1]) else { return nil }
        return scripts.facts[number]
    }

    /// Whether the request in `arguments` runs a script that may change keys.
    func isWritingScript(_ command: CommandReference) -> Bool {
        // A read-only form refuses such a script itself.
        !command.flags.contains(.readonly) && scriptFacts(of: command, arguments)?.isReadOnly == false
    }

    /// The exclusive access that the script in `arguments` needs in addition to the stripes of its keys.
    func planOfScript(_ command: CommandReference) -> ExclusivePlan? {
        switch scriptFacts(of: command, arguments)?.needs {
        case .everyKey: ExclusivePlan(stripes: .all)
        case .journal: isMoveNear ? ExclusivePlan(excludesCollections: true) : nil
        case .nothing, nil: nil
        }
    }

    /// Whether limits' sliding window in `arguments` may have to move its current window before the locks of a plan
    /// are held. Its keys are the previous and the current window; the period is the first argument but one, or the
    /// only one.
    private var isMoveNear: Bool {
        guard durability.isJournaling, arguments.count > 5, arguments[2].equals("2") else { return false }
        let period = LuaNumber.read(arguments[arguments.count > 6 ? 6 : 5]) ?? 0
        guard case .nanoseconds(let left) = keyspace.timeToLive(arguments[4].raw, now: now) else { return false }
        return Double(left) < (period + EventLoop.planMargin) * 1e9
    }

    /// Seconds that acquiring the locks of a plan may take.
    private static let planMargin = 10.0
}
