// Which arguments of a request are secrets: MONITOR and the slow log show `(redacted)` in their place.
//
// Asked only for a request that is about to be shown. Where a request is not understood (an unknown setting, values
// without a name) it hides too much rather than too little: a password with a slip of the pen beside it is a password.

import RESP

/// The arguments of a request that nobody but its sender may see. The command's own name is never one of them.
enum HiddenArguments: Equatable {
    case none
    case all
    case some(Set<Int>)

    static let text = "(redacted)"

    func contains(_ index: Int) -> Bool {
        switch self {
        case .none: false
        case .all: index > 0
        case .some(let indexes): indexes.contains(index)
        }
    }
}

extension CommandSpec {
    /// What is secret in a request for this command.
    func hiddenArguments(_ arguments: ArgumentList) -> HiddenArguments {
        if flags.contains(.redacted) { return .all }
        guard let secretFinder else { return .none }
        let found = secretFinder(arguments, 0)
        return found.isEmpty ? .none : .some(Set(found))
    }
}

/// Finders of secrets for the command table: given all arguments and the position of the command's name, they return
/// the positions of the secrets.
enum SecretFinders {
    /// The values of CONFIG SET that belong to a secret setting, or to none that is known.
    static let settings: CommandSpec.KeyFinder = { arguments, start in
        let first = start + 2
        guard first < arguments.count else { return [] }
        // Not pairs: a password with a space in it, perhaps.
        guard (arguments.count - first) % 2 == 0 else { return Array(first..<arguments.count) }
        return stride(from: first, to: arguments.count, by: 2)
            .filter { SettingsTable.setting(named: arguments[$0].string)?.isSecret ?? true }
            .map { $0 + 1 }
    }

    /// COMMAND GETKEYS: what is secret in the request that it is asked about.
    static let ofInnerCommand: CommandSpec.KeyFinder = { arguments, start in
        let name = start + 2
        guard name < arguments.count else { return [] }
        let spec = CommandReply.find(arguments, from: name)
        // One that is asked about itself has no keys, whatever it goes on with.
        guard let spec, !spec.flags.contains(.redacted), spec.name != "getkeys" else {
            return Array(name + 1..<arguments.count)
        }
        return spec.secretFinder?(arguments, name) ?? []
    }
}
