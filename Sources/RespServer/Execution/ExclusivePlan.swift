// The exclusive access that a command needs to run, and the only place where it is acquired: loops, then the journal,
// then stripes, in the order of their ranks.
//
// Owns: which locks a command, or all commands of an EXEC together, run with. Refuses to decide whether a command may
// run; the caller must check that again once everything is held, since acquiring it may have taken any length of time.

import LimiterEngine
import Persistence
import RESP

/// The locks held while a command runs.
struct ExclusivePlan {
    /// Which stripes.
    enum Stripes {
        /// Each handler locks what it needs.
        case none
        case some(StripeSet)
        case all
    }

    /// It accesses connections of other loops.
    var stopsAllLoops = false
    /// It adds control records to the journal.
    var excludesCollections = false
    var stripes = Stripes.none
}

extension EventLoop {
    /// The exclusive access that the request in `arguments` needs; nil for none, as with almost every command.
    @inline(__always)
    func exclusivePlan(for command: CommandReference, _ connection: Connection) -> ExclusivePlan? {
        if command.index == commands.exec { return planOfTransaction(connection) }
        guard !command.flags.isDisjoint(with: [.stopsAllLoops, .records, .script]) else { return nil }
        if command.flags.contains(.script) { return planOfScript(command) }
        return ExclusivePlan(
            stopsAllLoops: command.flags.contains(.stopsAllLoops),
            excludesCollections: command.flags.contains(.records))
    }

    /// Nil if EXEC will not run any command.
    private func planOfTransaction(_ connection: Connection) -> ExclusivePlan? {
        guard connection.resp.flags.contains(.inTransaction), let transaction = connection.resp.transaction,
            !transaction.isAborted
        else { return nil }
        var flags = transaction.queue.reduce(into: CommandFlags()) { $0.formUnion($1.command.flags) }
        if flags.contains(.script) {
            let list = ArgumentList()
            for queued in transaction.queue where queued.command.flags.contains(.script) {
                list.load(queued.arguments)
                switch scriptFacts(of: queued.command, list)?.needs {
                case .everyKey: flags.insert(.allKeys)
                case .journal: flags.insert(.records)
                case .nothing, nil: break
                }
            }
        }
        return ExclusivePlan(
            stopsAllLoops: flags.contains(.stopsAllLoops), excludesCollections: flags.contains(.records),
            stripes: flags.contains(.allKeys) || transaction.namesDatabases
                ? .all : .some(stripes(of: transaction, database: connection.resp.database)))
    }

    /// The stripes of a transaction that begins in this database.
    private func stripes(of transaction: Transaction, database: Int) -> StripeSet {
        var stripes = keyspace.stripes()
        var database = database
        let list = ArgumentList()
        for queued in transaction.queue {
            list.load(queued.arguments)
            if queued.command.index == commands.select {
                database = settings.database(list[1].integer) ?? database
            }
            for index in queued.command.spec.keyPositions(list) {
                queued.arguments[index].withUnsafeBytes { key in
                    keyspace.inDatabase(database) { keyspace.insertStripe(of: key, into: &stripes) }
                }
            }
        }
        for watched in transaction.watchedKeys {
            watched.key.withUnsafeBytes { key in
                keyspace.inDatabase(watched.database) { keyspace.insertStripe(of: key, into: &stripes) }
            }
        }
        return stripes
    }

    /// Runs `body` while holding everything in the plan.
    func holding<Result>(_ plan: ExclusivePlan, _ body: () -> Result) -> Result {
        guard plan.stopsAllLoops else { return holdingJournal(plan, body) }
        return stoppingAllLoops { holdingJournal(plan, body) }
    }

    private func holdingJournal<Result>(_ plan: ExclusivePlan, _ body: () -> Result) -> Result {
        guard plan.excludesCollections else { return holdingStripes(plan.stripes, body) }
        return durability.journal.excludingCollections {
            excludesCollections = true
            defer { excludesCollections = false }
            return holdingStripes(plan.stripes, body)
        }
    }

    private func holdingStripes<Result>(_ stripes: ExclusivePlan.Stripes, _ body: () -> Result) -> Result {
        switch stripes {
        case .none: body()
        case .some(let set): keyspace.holding(set, body)
        case .all: keyspace.holdingAll(body)
        }
    }
}
