"""Requests, and the exact bytes of their replies.

Each row is also played to a redis-server 7.0.15, so that every expectation is verified. Where Escapement differs on
purpose, `redis` has Redis's bytes and `why` the reason; rows for commands that Redis lacks have `redis=None`. Rows
contain nothing volatile (ids, times, versions) and leave nothing behind in the server.
"""

import dataclasses

from wire import command


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    sent: bytes
    reply: bytes
    closes: bool = False  # the server must close after the reply
    discarded: bytes = b""  # sent in the same write, must be ignored: only after a request that closes
    ahead: bool = False  # the server may answer and close before the last byte, so it cannot be sent byte by byte
    resp3: bool = False  # played after HELLO 3
    redis: bytes | None | str = "same"
    why: str = ""

    @property
    def repeatable(self):
        """Leaves the connection unchanged, so that it can be sent many times at once."""
        return not self.closes and len(self.sent) < 1024


def words(line):
    """A request written as words; `""` is an empty argument."""
    return command(*(b"" if w == '""' else w.encode() for w in line.split()))


def error(text):
    return b"-" + text.encode() + b"\r\n"


def bulk(text):
    return b"$%d\r\n%s\r\n" % (len(text), text.encode())


OK = b"+OK\r\n"
PONG = b"+PONG\r\n"
QUEUED = b"+QUEUED\r\n"
NIL = b"$-1\r\n"
ZERO = b":0\r\n"
NOT_INTEGER = error("ERR value is not an integer or out of range")
SYNTAX = error("ERR syntax error")
NO_CLUSTER = error("ERR This instance has cluster support disabled")
PROTOCOL = "ERR Protocol error: "


def one(line, reply, **more):
    """A row of one request, named after it."""
    return Row(line, words(line), reply, **more)


def many(name, *pairs, **more):
    """A row of several requests with one reply each."""
    return Row(name, b"".join(words(p[0]) for p in pairs), b"".join(p[1] for p in pairs), **more)


def arity(line):
    name = line.split()[0].lower()
    return one(line, error(f"ERR wrong number of arguments for '{name}' command"))


def arity2(line):
    name = "|".join(line.lower().split()[:2])
    return one(line, error(f"ERR wrong number of arguments for '{name}' command"))


def unknown_subcommand(line):
    container, sub = line.split()[:2]
    return one(line, error(f"ERR unknown subcommand '{sub}'. Try {container} HELP."))


FRAMING = [
    Row("multibulk", b"*1\r\n$4\r\nPING\r\n", PONG),
    Row("inline with CR LF", b"PING\r\n", PONG),
    Row("inline with LF", b"PING\n", PONG),
    Row("inline and multibulk mixed", b"PING\r\n*1\r\n$4\r\nPING\r\nPING\n", PONG * 3),
    Row("empty lines are skipped", b"\r\n\r\n\nPING\r\n", PONG),
    Row("empty and negative arrays are skipped", b"*0\r\n*-1\r\n*-7\r\nPING\r\n", PONG),
    Row("names in any case", b"*1\r\n$4\r\npInG\r\necho hi\r\n", PONG + bulk("hi")),
    Row("an empty argument", b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", b"$0\r\n\r\n"),
    Row("CR LF and NUL inside an argument", b"*2\r\n$4\r\nECHO\r\n$5\r\na\r\n\0b\r\n", b"$5\r\na\r\n\0b\r\n"),
    Row("inline with blanks around words", b"  ECHO \t hi  \r\n", bulk("hi")),
    Row("double quotes and their escapes", b'ECHO "a b\\x41\\n\\r\\t\\b\\a\\"\\\\\\q"\r\n',
        b"$12\r\na bA\n\r\t\b\a\"\\q\r\n"),
    Row("single quotes and their escape", b"ECHO 'a\"\\n\\'b'\r\n", b"$6\r\na\"\\n'b\r\n"),
    Row("empty quoted argument", b'ECHO ""\r\n', b"$0\r\n\r\n"),
    Row("quoted name", b'"PING"\r\n', PONG),
    Row("quotes right after a word", b'ECHO a"b c"\r\n', bulk("ab c")),
    Row("10,000 bytes", words("ECHO " + "x" * 10000), bulk("x" * 10000)),
    Row("QUIT discards the rest", words("QUIT"), OK, closes=True, discarded=words("PING") * 3),
    Row("QUIT inline", b"quit\r\n", OK, closes=True),
    Row("replies before QUIT", words("PING") + words("QUIT"), PONG + OK, closes=True),
    Row("POST closes", b"POST / HTTP/1.1\r\n", b"", closes=True, discarded=b"PING\r\n"),
    Row("Host: closes", b"Host: localhost\r\n", b"", closes=True, discarded=b"PING\r\n"),
    Row("post in multibulk closes", words("post x"), b"", closes=True, discarded=b"PING\r\n"),
]


def broken(name, sent, text, **more):
    return Row(name, sent, error(PROTOCOL + text), closes=True, **more)


BROKEN = [
    broken("inline too long", b"a" * 65537, "too big inline request"),
    broken("quote not closed", b'ECHO "abc\r\n', "unbalanced quotes in request", discarded=b"PING\r\n"),
    broken("quote closed before a letter", b'ECHO "a"b\r\n', "unbalanced quotes in request"),
    broken("single quote not closed", b"ECHO 'abc\r\n", "unbalanced quotes in request"),
    broken("count line too long", b"*" + b"1" * 65536, "too big mbulk count string"),
    broken("count not a number", b"*x\r\n", "invalid multibulk length", discarded=words("PING")),
    broken("count empty", b"*\r\n", "invalid multibulk length"),
    broken("count with a blank", b"* 1\r\n", "invalid multibulk length"),
    broken("count with a plus", b"*+1\r\n", "invalid multibulk length"),
    broken("count above 2^31-1", b"*2147483648\r\n", "invalid multibulk length"),
    broken("count above 2^63", b"*9223372036854775808\r\n", "invalid multibulk length"),
    broken("count above 65536", b"*65537\r\n", "invalid multibulk length",
           redis=b"", why="a limiter needs no larger requests; Redis waits for the arguments"),
    broken("length line too long", b"*1\r\n$" + b"1" * 65537, "too big bulk count string"),
    broken("argument header not $", b"*1\r\nP", "expected '$', got 'P'", redis=b"",
           why="reported at the first wrong byte; Redis waits for the end of the line"),
    broken("argument header not $, whole line", b"*1\r\nPING\r\n", "expected '$', got 'P'", discarded=words("PING"),
           ahead=True),
    broken("argument header a CR", b"*1\r\n\r\n", "expected '$', got ' '", ahead=True, redis="any",
           why="Redis copies the CR into the error line"),
    broken("length not a number", b"*1\r\n$x\r\n", "invalid bulk length"),
    broken("length empty", b"*1\r\n$\r\n", "invalid bulk length"),
    broken("length negative", b"*1\r\n$-1\r\n", "invalid bulk length"),
    broken("length above 512 MiB", b"*1\r\n$536870913\r\n", "invalid bulk length"),
    broken("length above 1 MiB", b"*1\r\n$1048577\r\n", "invalid bulk length",
           redis=b"", why="proto-max-bulk-len is 1 MiB, not 512 MiB"),
    broken("no CR LF after an argument", b"*1\r\n$4\r\nPING\nx", "expected CRLF after bulk",
           redis=PONG, why="Redis does not check the two bytes"),
    Row("replies before a protocol error", words("PING") + b"*x\r\n",
        PONG + error(PROTOCOL + "invalid multibulk length"), closes=True, discarded=words("PING")),
]

ERRORS = [
    one("FOO a b", error("ERR unknown command 'FOO', with args beginning with: 'a' 'b' ")),
    one("FOO", error("ERR unknown command 'FOO', with args beginning with: ")),
    Row("unknown with line ends", command("FOO", "a\r\nb"),
        error("ERR unknown command 'FOO', with args beginning with: 'a  b' ")),
    Row("unknown and long is cut at 128", command("F" * 200, "a" * 200),
        error(f"ERR unknown command '{'F' * 128}', with args beginning with: '{'a' * 128}' ")),
    one("SENTINEL MASTERS", error("ERR unknown command 'SENTINEL', with args beginning with: 'MASTERS' ")),
    arity("ECHO"), arity("PING a b"), arity("SELECT"), arity("DEL"), arity("TTL a b"), arity("TYPE"),
    arity("SCAN"), arity("EXPIRE k"), arity("WATCH"), arity("SUBSCRIBE"), arity("PUBLISH a"), arity("AUTH"),
    arity("CLIENT"), arity("CONFIG"), arity("OBJECT"), arity("RANDOMKEY x"), arity("DBSIZE x"), arity("TIME x"),
    arity2("CONFIG GET"), arity2("CLIENT ID x"), arity2("CLIENT SETNAME"), arity2("OBJECT ENCODING"),
    arity2("SLOWLOG LEN x"), arity2("COMMAND COUNT x"), arity2("CLIENT GETNAME x"), arity2("MEMORY USAGE"),
    unknown_subcommand("CLIENT NOSUCH"), unknown_subcommand("CONFIG NOSUCH"), unknown_subcommand("COMMAND NOSUCH"),
    unknown_subcommand("OBJECT NOSUCH k"), unknown_subcommand("SLOWLOG NOSUCH"),
    unknown_subcommand("LATENCY NOSUCH"), unknown_subcommand("PUBSUB NOSUCH"), unknown_subcommand("MEMORY NOSUCH"),
    unknown_subcommand("MODULE NOSUCH"), unknown_subcommand("CLIENT CAPA redirect"),
    unknown_subcommand("CLIENT MAINT_NOTIFICATIONS ON"),
    one("CLUSTER INFO", NO_CLUSTER), one("CLUSTER NODES", NO_CLUSTER), one("CLUSTER SLOTS", NO_CLUSTER),
    one("READONLY", NO_CLUSTER), one("READWRITE", NO_CLUSTER), one("ASKING", NO_CLUSTER),
    one("MODULE LIST", b"*0\r\n"),
    one("DEBUG SLEEP 0", error(
        'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it from a '
        "local connection, otherwise you need to set this option in the configuration file, and then restart the "
        "server.")),
]

CONNECTION = [
    one("PING", PONG), one("PING hello", bulk("hello")), one("ECHO hi", bulk("hi")),
    one("SELECT 0", OK), one("SELECT 99", error("ERR DB index is out of range")),
    one("SELECT -1", error("ERR DB index is out of range")), one("SELECT abc", NOT_INTEGER),
    one("CLIENT GETNAME", NIL), one("CLIENT GETNAME", b"_\r\n", resp3=True),
    many("name set and got", ("CLIENT SETNAME me", OK), ("CLIENT GETNAME", bulk("me")), ("RESET", b"+RESET\r\n"),
         ("CLIENT GETNAME", NIL)),
    Row("name with a blank", command("CLIENT", "SETNAME", "a b"),
        error("ERR Client names cannot contain spaces, newlines or special characters.")),
    many("empty name unsets", ("CLIENT SETNAME x", OK), ('CLIENT SETNAME ""', OK), ("CLIENT GETNAME", NIL)),
    one("CLIENT KILL 192.0.2.1:5", error("ERR No such client")),
    one("CLIENT KILL ADDR 192.0.2.1:5", ZERO), one("CLIENT KILL ID 99999999", ZERO),
    one("CLIENT KILL TYPE nosuch", error("ERR Unknown client type 'nosuch'")),
    one("CLIENT KILL SKIPME maybe", SYNTAX), one("CLIENT KILL ID abc", error("ERR client-id should be greater than 0")),
    one("CLIENT LIST TYPE nosuch", error("ERR Unknown client type 'nosuch'")),
    one("CLIENT LIST ID abc", error("ERR Invalid client ID")),
    one("CLIENT LIST FOO", SYNTAX),
    one("CLIENT NO-EVICT ON", OK), one("CLIENT NO-EVICT maybe", SYNTAX),
    one("CLIENT PAUSE abc", error("ERR timeout is not an integer or out of range")),
    one("CLIENT PAUSE -1", error("ERR timeout is negative")),
    one("CLIENT PAUSE 1 maybe", error("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    one("CLIENT UNPAUSE", OK),
    one("CLIENT REPLY maybe", SYNTAX),
    many("CLIENT REPLY SKIP", ("CLIENT REPLY SKIP", b""), ("PING", b""), ("PING", PONG)),
    many("CLIENT REPLY OFF and ON", ("CLIENT REPLY OFF", b""), ("PING", b""), ("FOO", b""), ("CLIENT REPLY ON", OK)),
    one("CLIENT SETINFO lib-name x", OK, redis=None), one("CLIENT SETINFO LIB-VER 1.2", OK, redis=None),
    one("CLIENT SETINFO foo x", error("ERR Unrecognized option 'foo'"), redis=None),
    one("CLIENT NO-TOUCH ON", OK, redis=None),
    one("AUTH x", error("ERR AUTH <password> called without any password configured for the default user. "
                        "Are you sure your configuration is correct?")),
    one("AUTH nosuch x", error("WRONGPASS invalid username-password pair or user is disabled.")),
    one("HELLO 4", error("NOPROTO unsupported protocol version")),
    one("HELLO 1", error("NOPROTO unsupported protocol version")),
    one("HELLO abc", error("ERR Protocol version is not an integer or out of range")),
    one("HELLO 3 FOO", error("ERR Syntax error in HELLO option 'FOO'")),
    one("HELLO 3 AUTH x", error("ERR Syntax error in HELLO option 'AUTH'")),
    one("HELLO 3 SETNAME", error("ERR Syntax error in HELLO option 'SETNAME'")),
    one("HELLO 3 AUTH nosuch x", error("WRONGPASS invalid username-password pair or user is disabled.")),
    one("RESET", b"+RESET\r\n"),
    many("RESET returns to RESP2", ("CLIENT GETNAME", b"_\r\n"), ("RESET", b"+RESET\r\n"), ("CLIENT GETNAME", NIL),
         resp3=True),
]

TRANSACTIONS = [
    many("MULTI and EXEC", ("MULTI", OK), ("PING", QUEUED), ("ECHO a", QUEUED), ("EXEC", b"*2\r\n" + PONG + bulk("a"))),
    many("empty transaction", ("MULTI", OK), ("EXEC", b"*0\r\n")),
    many("DISCARD", ("MULTI", OK), ("PING", QUEUED), ("DISCARD", OK), ("PING", PONG)),
    one("EXEC", error("ERR EXEC without MULTI")), one("DISCARD", error("ERR DISCARD without MULTI")),
    many("nested MULTI", ("MULTI", OK), ("MULTI", error("ERR MULTI calls can not be nested")), ("PING", QUEUED),
         ("EXEC", b"*1\r\n" + PONG)),
    many("unknown command aborts", ("MULTI", OK),
         ("FOO a", error("ERR unknown command 'FOO', with args beginning with: 'a' ")), ("PING", QUEUED),
         ("EXEC", error("EXECABORT Transaction discarded because of previous errors."))),
    many("wrong arity aborts", ("MULTI", OK), ("ECHO", error("ERR wrong number of arguments for 'echo' command")),
         ("EXEC", error("EXECABORT Transaction discarded because of previous errors.")), ("PING", PONG)),
    many("error while running does not abort", ("MULTI", OK), ("SELECT 99", QUEUED), ("PING", QUEUED),
         ("EXEC", b"*2\r\n" + error("ERR DB index is out of range") + PONG)),
    many("WATCH inside MULTI", ("MULTI", OK), ("WATCH a", error("ERR WATCH inside MULTI is not allowed")),
         ("EXEC", b"*0\r\n")),
    many("WATCH of missing keys", ("WATCH a b", OK), ("MULTI", OK), ("PING", QUEUED), ("EXEC", b"*1\r\n" + PONG)),
    many("UNWATCH", ("WATCH a", OK), ("UNWATCH", OK)),
    many("RESET leaves MULTI", ("MULTI", OK), ("PING", QUEUED), ("RESET", b"+RESET\r\n"), ("PING", PONG)),
    Row("QUIT inside MULTI", words("MULTI") + words("QUIT"), OK + OK, closes=True),
]


def confirm(kind, channel, count, mark=b"*"):
    name = b"$-1\r\n" if channel is None and mark == b"*" else b"_\r\n" if channel is None else bulk(channel)
    return mark + b"3\r\n" + bulk(kind) + name + b":%d\r\n" % count


def context_error(name):
    return error(f"ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
                 "allowed in this context")


PUBSUB = [
    many("SUBSCRIBE and leave", ("SUBSCRIBE a b a", confirm("subscribe", "a", 1) + confirm("subscribe", "b", 2)
                                 + confirm("subscribe", "a", 2)),
         ("UNSUBSCRIBE a", confirm("unsubscribe", "a", 1)), ("UNSUBSCRIBE", confirm("unsubscribe", "b", 0)),
         ("ECHO x", bulk("x"))),
    one("UNSUBSCRIBE", confirm("unsubscribe", None, 0)), one("PUNSUBSCRIBE", confirm("punsubscribe", None, 0)),
    one("UNSUBSCRIBE", confirm("unsubscribe", None, 0, b">"), resp3=True),
    one("UNSUBSCRIBE x", confirm("unsubscribe", "x", 0)),
    many("patterns count with channels", ("SUBSCRIBE a", confirm("subscribe", "a", 1)),
         ("PSUBSCRIBE a*", confirm("psubscribe", "a*", 2)), ("PUNSUBSCRIBE a*", confirm("punsubscribe", "a*", 1)),
         ("RESET", b"+RESET\r\n")),
    many("RESP2 context", ("SUBSCRIBE a", confirm("subscribe", "a", 1)), ("ECHO x", context_error("echo")),
         ("TTL a", context_error("ttl")), ("CLIENT ID", context_error("client|id")),
         ("PING", b"*2\r\n" + bulk("pong") + bulk("")),
         ("PING x", b"*2\r\n" + bulk("pong") + bulk("x")), ("FOO", error(
             "ERR unknown command 'FOO', with args beginning with: ")), ("RESET", b"+RESET\r\n"), ("PING", PONG)),
    many("RESP3 context", ("SUBSCRIBE a", confirm("subscribe", "a", 1, b">")), ("ECHO x", bulk("x")),
         ("PING", PONG), ("UNSUBSCRIBE", confirm("unsubscribe", "a", 0, b">")), resp3=True),
    many("SUBSCRIBE inside MULTI", ("MULTI", OK), ("SUBSCRIBE a", QUEUED), ("UNSUBSCRIBE a", QUEUED),
         ("EXEC", b"*2\r\n" + confirm("subscribe", "a", 1) + confirm("unsubscribe", "a", 0))),
    Row("QUIT while subscribed", words("SUBSCRIBE a") + words("QUIT"), confirm("subscribe", "a", 1) + OK, closes=True),
    one("PUBLISH nobody x", ZERO), one("PUBSUB CHANNELS", b"*0\r\n"), one("PUBSUB NUMPAT", ZERO),
    one("PUBSUB NUMSUB a", b"*2\r\n" + bulk("a") + ZERO), one("PUBSUB NUMSUB", b"*0\r\n"),
]

KEYS = [
    one("DEL a", ZERO), one("DEL a b c", ZERO), one("UNLINK a", ZERO), one("EXISTS a a", ZERO), one("TOUCH a", ZERO),
    one("TYPE a", b"+none\r\n"), one("TTL a", b":-2\r\n"), one("PTTL a", b":-2\r\n"), one("PERSIST a", ZERO),
    one("DBSIZE", ZERO), one("RANDOMKEY", NIL), one("RANDOMKEY", b"_\r\n", resp3=True), one("KEYS *", b"*0\r\n"),
    one("SCAN 0", b"*2\r\n$1\r\n0\r\n*0\r\n"), one("SCAN 0 MATCH a* COUNT 5 TYPE string", b"*2\r\n$1\r\n0\r\n*0\r\n"),
    one("SCAN abc", error("ERR invalid cursor")), one("SCAN -1", b"*2\r\n$1\r\n0\r\n*0\r\n"),
    one('SCAN ""', b"*2\r\n$1\r\n0\r\n*0\r\n"), one("SCAN +1", b"*2\r\n$1\r\n0\r\n*0\r\n"),
    one("SCAN -", error("ERR invalid cursor")), one("SCAN 1x", error("ERR invalid cursor")),
    one("SCAN 18446744073709551616", error("ERR invalid cursor")),
    one("SCAN -18446744073709551616", error("ERR invalid cursor")),
    one("SCAN 18446744073709551615", b"*2\r\n$1\r\n0\r\n*0\r\n"), one("SCAN 0 COUNT 0", SYNTAX), one("SCAN 0 COUNT x", NOT_INTEGER),
    one("SCAN 0 FOO", SYNTAX), one("SCAN 0 MATCH", SYNTAX),
    one("EXPIRE a 10", ZERO), one("PEXPIRE a 10", ZERO), one("EXPIREAT a 10", ZERO), one("PEXPIREAT a 10", ZERO),
    one("EXPIRE a abc", NOT_INTEGER), one("PEXPIRE a 1.5", NOT_INTEGER),
    one("EXPIRE a 9223372036854775807", error("ERR invalid expire time in 'expire' command")),
    one("PEXPIRE a 9223372036854775807", error("ERR invalid expire time in 'pexpire' command")),
    one("EXPIRE a 10 FOO", error("ERR Unsupported option FOO")),
    one("EXPIRE a 10 NX XX", error("ERR NX and XX, GT or LT options at the same time are not compatible")),
    one("EXPIRE a 10 GT LT", error("ERR GT and LT options at the same time are not compatible")),
    one("OBJECT ENCODING a", NIL), one("OBJECT IDLETIME a", NIL), one("OBJECT REFCOUNT a", NIL),
    one("OBJECT FREQ a", NIL), one("OBJECT ENCODING a", b"_\r\n", resp3=True),
    one("MEMORY USAGE a", NIL), one("MEMORY USAGE a", b"_\r\n", resp3=True),
    one("MEMORY USAGE a SAMPLES 0", NIL), one("MEMORY USAGE a SAMPLES x", NOT_INTEGER),
    one("MEMORY USAGE a FOO 1", SYNTAX),
    one("FLUSHALL", OK), one("FLUSHALL ASYNC", OK), one("FLUSHDB SYNC", OK), one("FLUSHALL FOO", SYNTAX),
]

ADMIN = [
    one("CONFIG GET nosuch", b"*0\r\n"), one("CONFIG GET nosuch", b"%0\r\n", resp3=True),
    one("CONFIG SET nosuch 1", error("ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'")),
    one("CONFIG RESETSTAT", OK),
    one("COMMAND INFO nosuch", b"*1\r\n$-1\r\n"), one("COMMAND INFO nosuch", b"*1\r\n_\r\n", resp3=True),
    one("COMMAND DOCS nosuch", b"*0\r\n"), one("COMMAND DOCS nosuch", b"%0\r\n", resp3=True),
    one("COMMAND GETKEYS DEL a b", b"*2\r\n" + bulk("a") + bulk("b")),
    one("COMMAND GETKEYS PING x", error("ERR The command has no key arguments")),
    one("COMMAND GETKEYS nosuch x", error("ERR Invalid command specified")),
    one("COMMAND GETKEYS TTL a b", error("ERR Invalid number of arguments specified for command")),
    one("COMMAND GETKEYS CL.THROTTLE k 1 2 3", b"*1\r\n" + bulk("k"), redis=None),
    one("SLOWLOG RESET", OK), many("SLOWLOG empty", ("SLOWLOG RESET", OK), ("SLOWLOG LEN", ZERO)),
    one("SLOWLOG GET -2", error("ERR count should be greater than or equal to -1")),
    one("SLOWLOG GET abc", error("ERR count should be greater than or equal to -1")),
    one("LATENCY LATEST", b"*0\r\n"), one("LATENCY RESET", ZERO), one("LATENCY HISTOGRAM nosuch", b"*0\r\n"),
    one("LATENCY HISTOGRAM nosuch", b"%0\r\n", resp3=True),
    one("INFO nosuch", b"$0\r\n\r\n"),
]

THROTTLE = [
    arity("CL.THROTTLE"), arity("CL.THROTTLE k 1 2"),
    one("CL.THROTTLE k 4 1 1000 6", b"*5\r\n:1\r\n:5\r\n:5\r\n:-1\r\n:0\r\n"),
    one("CL.THROTTLE k 4 1 1000 0", b"*5\r\n:0\r\n:5\r\n:5\r\n:-1\r\n:0\r\n"),
]
THROTTLE = [dataclasses.replace(row, redis=None) for row in THROTTLE]

# With `requirepass secret`, before authentication.
GATED = [
    one("PING", error("NOAUTH Authentication required.")), one("ECHO x", error("NOAUTH Authentication required.")),
    one("MULTI", error("NOAUTH Authentication required.")), one("CLIENT ID", error("NOAUTH Authentication required.")),
    one("FOO", error("ERR unknown command 'FOO', with args beginning with: ")), arity("ECHO"),
    one("AUTH wrong", error("WRONGPASS invalid username-password pair or user is disabled.")),
    one("AUTH default wrong", error("WRONGPASS invalid username-password pair or user is disabled.")),
    one("AUTH nosuch secret", error("WRONGPASS invalid username-password pair or user is disabled.")),
    one("AUTH a b c", SYNTAX),
    one("HELLO 3 AUTH default wrong", error("WRONGPASS invalid username-password pair or user is disabled.")),
    one("HELLO 3", error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> "
        "option can be used to authenticate the client and select the RESP protocol version at the same time")),
    one("HELLO", error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> "
        "option can be used to authenticate the client and select the RESP protocol version at the same time")),
    many("AUTH", ("PING", error("NOAUTH Authentication required.")), ("AUTH secret", OK), ("PING", PONG),
         ("RESET", b"+RESET\r\n"), ("PING", error("NOAUTH Authentication required."))),
    many("AUTH with the user's name", ("AUTH default secret", OK), ("PING", PONG), ("AUTH wrong", error(
        "WRONGPASS invalid username-password pair or user is disabled.")), ("PING", PONG), ("RESET", b"+RESET\r\n")),
    one("RESET", b"+RESET\r\n"),
    Row("QUIT", words("QUIT"), OK, closes=True),
    broken("11 arguments", b"*11\r\n", "unauthenticated multibulk length"),
    Row("10 arguments", words("FOO 1 2 3 4 5 6 7 8 9"), error("ERR unknown command 'FOO', with args beginning with: "),
        redis=error("ERR unknown command 'FOO', with args beginning with: '1' '2' '3' '4' '5' '6' '7' '8' '9' "),
        why="what is sent before authentication may be a password, and clients put error texts into logs"),
    broken("16385 bytes", b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
    Row("16384 bytes", command("ECHO", "x" * 16384), error("NOAUTH Authentication required.")),
]

OPEN = FRAMING + BROKEN + ERRORS + CONNECTION + TRANSACTIONS + PUBSUB + KEYS + ADMIN + THROTTLE
