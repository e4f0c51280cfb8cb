// The reference's pages of the commands about Redis Cluster: all of them are errors.

extension CommandPages {
    static let cluster: [String: CommandPage] = [
        "cluster": CommandPage(
            replies: [.error("always")],
            errors: [disabled("whatever the subcommand, HELP included", "CLUSTER INFO")],
            examples: """
                > CLUSTER SLOTS
                (error) ERR This instance has cluster support disabled
                """),
        "readonly": refused("READONLY", "Replicas serve reads without it."),
        "readwrite": refused("READWRITE"),
        "asking": refused("ASKING"),
    ]

    private static func refused(_ name: String, _ notes: String = "") -> CommandPage {
        CommandPage(
            replies: [.error("always")], errors: [disabled("", name)], notes: notes,
            examples: """
                > \(name)
                (error) ERR This instance has cluster support disabled
                """)
    }

    private static func disabled(_ when: String, _ request: String) -> ErrorSpec {
        .error("ERR This instance has cluster support disabled", when, request)
    }
}
