"""Runs a library's program (libraries/*_limiters.*) and sends it requests, one JSON object per line.

    {"do": "open", "port": 6379, "database": 1, "sentinels": [26379], "rules": {"five": [5, 86400]}}
                                                                                        -> {"versions": …} or {"error": …}
    {"do": "hits", "rule": "five", "who": "ann", "count": 7}                            -> {"hits": […]}, one at a time
    {"do": "together", "rule": "many", "who": "ann", "count": 200}                      -> {"hits": […]}, by eight threads

A hit is [allowed, what the library showed, seconds that it showed], or a string: the error that it raised.
"""

import json
import subprocess

from wire import PATIENCE

DAY = 86_400
# A rule that no test outlasts, a large one, and one whose window passes during the test.
RULES = {"five": (5, DAY), "many": (50, DAY), "short": (1, 1)}


class Program:
    def __init__(self, command, log):
        self.log = open(log, "w+")
        self.suffix = ""
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.process.stdin.close()
            self.process.wait(PATIENCE)
        except (OSError, subprocess.TimeoutExpired):
            pass
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self.log.close()

    def send(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def receive(self):
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise AssertionError(f"{self.process.args} ended:\n{self.log.read()[-2000:]}")
        return json.loads(line)

    def open(self, port, sentinels=None, database=1):
        """`database` is for those libraries whose default is not 0."""
        self.send(
            do="open", port=port, database=database, rules=RULES, **({"sentinels": sentinels} if sentinels else {}))

    # Some libraries keep one limiter per client, whatever the rule, so each rule has its own client.

    def hits(self, rule, count=1):
        self.send(do="hits", rule=rule, who=f"client-{rule}{self.suffix}", count=count)
        return self.receive()["hits"]

    def together(self, rule, count):
        self.send(do="together", rule=rule, who=f"client-{rule}{self.suffix}", count=count)
        return self.receive()["hits"]

    def allows(self, rule):
        """One call: whether it was allowed, or the error."""
        hit, = self.hits(rule)
        return hit if isinstance(hit, str) else hit[0]


def decisions(hits):
    """True or False each, or the error."""
    return [hit if isinstance(hit, str) else hit[0] for hit in hits]
