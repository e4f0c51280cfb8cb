// The reference's pages of the commands about publish and subscribe.

extension CommandPages {
    private static func confirmations(_ kind: String, _ name: String) -> [ReplySpec] {
        [
            .push(
                "one reply for each \(name): `\(kind)`, its name, and the connection's number of channels and patterns "
                    + "from then on")
        ]
    }

    private static let tooMuch = ErrorSpec.error(
        "ERR subscriptions are larger than client-query-buffer-limit, none were added",
        "all names of the connection, and 256 bytes for each")

    private static let endings = """
        Without arguments and subscriptions there is one reply, with nil as the name. A name that is not subscribed to
        is confirmed, too.
        """

    static let pubsub: [String: CommandPage] = [
        "subscribe": CommandPage(
            replies: confirmations("subscribe", "channel"),
            errors: [
                .error("ERR channel name is longer than 65536 bytes", ""), tooMuch,
                .error(
                    "ERR Can't execute '...': only ... are allowed in this context",
                    "reply to any other command while there are subscriptions, in RESP2", "SUBSCRIBE policy-changes",
                    "GET hits"),
            ],
            notes: """
                Messages arrive in the form of these replies:

                | | |
                |---|---|
                | of a channel | `message`, channel, message |
                | of a pattern | `pmessage`, pattern, channel, message |

                In RESP2 a connection with subscriptions may send only SUBSCRIBE, UNSUBSCRIBE, PSUBSCRIBE, PUNSUBSCRIBE,
                PING, QUIT and RESET, and PING replies with an array of `pong` and its argument. In RESP3 it may send
                any command. Redis's sharded channels (SSUBSCRIBE, SPUBLISH) do not exist.
                """,
            examples: """
                > SUBSCRIBE policy-changes
                1) "subscribe"
                2) "policy-changes"
                3) (integer) 1
                """),
        "unsubscribe": CommandPage(
            replies: confirmations("unsubscribe", "channel"), notes: endings,
            examples: """
                > SUBSCRIBE policy-changes
                1) "subscribe"
                2) "policy-changes"
                3) (integer) 1
                > UNSUBSCRIBE policy-changes
                1) "unsubscribe"
                2) "policy-changes"
                3) (integer) 0
                > UNSUBSCRIBE
                1) "unsubscribe"
                2) (nil)
                3) (integer) 0
                """),
        "publish": CommandPage(
            replies: [
                .integer("a connection counts once for the channel and once for each of its patterns that match")
            ],
            errors: [
                .error("ERR PUBLISH in a transaction: ...", "inside EXEC, too many patterns; nothing was sent")
            ],
            notes: """
                The message reaches the subscribers of this node only; in Redis those of its replicas get it, too. It is
                not stored: a client that is not subscribed at the time misses it.
                """,
            examples: """
                > PUBLISH policy-changes "pro is 2000 a minute"
                (integer) 0
                """),
        "psubscribe": CommandPage(
            replies: confirmations("psubscribe", "pattern"), errors: [longPattern, tooMuch],
            notes: """
                Patterns are as of [KEYS](#keys-1). Messages, and what else the connection may send, are as of
                [SUBSCRIBE](#subscribe).
                """,
            examples: """
                > PSUBSCRIBE policy-*
                1) "psubscribe"
                2) "policy-*"
                3) (integer) 1
                """),
        "punsubscribe": CommandPage(
            replies: confirmations("punsubscribe", "pattern"), notes: endings,
            examples: """
                > PSUBSCRIBE policy-*
                1) "psubscribe"
                2) "policy-*"
                3) (integer) 1
                > PUNSUBSCRIBE
                1) "punsubscribe"
                2) "policy-*"
                3) (integer) 0
                """),
        "pubsub|channels": CommandPage(
            replies: [.array("their names, in no particular order; patterns are not listed")],
            errors: [
                longPattern,
                .error("ERR PUBSUB CHANNELS in a transaction: ...", "inside EXEC, too many channels for the pattern"),
            ],
            notes: "Patterns are as of [KEYS](#keys-1).",
            examples: """
                > PUBSUB CHANNELS policy-*
                (empty array)
                """),
        "pubsub|numsub": CommandPage(
            replies: [.array("name, number, name, number, in both protocols and in the order of the request")],
            examples: """
                > PUBSUB NUMSUB policy-changes alerts
                1) "policy-changes"
                2) (integer) 0
                3) "alerts"
                4) (integer) 0
                """),
        "pubsub|numpat": CommandPage(
            replies: [.integer("the number")],
            examples: """
                > PUBSUB NUMPAT
                (integer) 0
                """),
    ]
}
