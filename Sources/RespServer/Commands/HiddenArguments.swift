// Finds the secret arguments of a request: MONITOR and the slow log show `(redacted)` in their place.
//
// Runs only for requests about to be shown. In a malformed request (an unknown setting, values without a name) it hides
// too much rather than too little: a password next to a typo is still a password.

import RESP

/// The arguments of a request that only its sender may see. Never includes the command's name.
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
    /// The secret arguments of a request for this command.
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
    /// The values in CONFIG SET of secret or unknown settings.
    static let settings: CommandSpec.KeyFinder = { arguments, start in
        let first = start + 2
        guard first < arguments.count else { return [] }
        // Not in pairs: perhaps an unquoted password with a space. Hide everything.
        guard (arguments.count - first) % 2 == 0 else { return Array(first..<arguments.count) }
        return stride(from: first, to: arguments.count, by: 2)
            .filter { SettingsTable.setting(named: arguments[$0].string)?.isSecret ?? true }
            .map { $0 + 1 }
    }

    /// COMMAND GETKEYS: the secret arguments of the request given to it.
    static let ofInnerCommand: CommandSpec.KeyFinder = { arguments, start in
        let name = start + 2
        guard name < arguments.count else { return [] }
        let spec = CommandReply.find(arguments, from: name)
        // GETKEYS of GETKEYS has no keys, whatever follows, so hide all of it.
        guard let spec, !spec.flags.contains(.redacted), spec.name != "getkeys" else {
            return Array(name + 1..<arguments.count)
        }
        return spec.secretFinder?(arguments, name) ?? []
    }
}
