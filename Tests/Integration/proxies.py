"""The proxies of docs/proxies.md as processes: the configurations in deploy/ with the addresses of a test in place of
theirs, an application for them to protect, and the server that they ask."""

import http.client
import os
import pathlib
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from check_api import Answer
from ports import free_port
from server import ROOT, Server
from wire import PATIENCE, eventually

DEPLOY = ROOT / "deploy"
PACKAGES = ROOT / ".build" / "venv-proxies" / "bin"
NAMES = ["nginx", "nginx-quiet", "caddy", "traefik", "envoy", "haproxy"]


class Application:
    """The protected application: answers every request, and remembers it. A path that ends with three digits is
    answered with that status, and one that ends with `broken` not at all."""

    def __init__(self):
        seen = self.seen = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                seen.append((self.command, self.path, body, self.headers))
                if self.path.endswith("/broken"):
                    self.close_connection = True
                    return
                wanted = re.search(r"/(\d{3})$", self.path)
                # Without `Server` and `Date`: Caddy adds its own to those of the application.
                self.send_response_only(int(wanted[1]) if wanted else 200)
                self.send_header("Content-Length", "11")
                self.end_headers()
                self.wfile.write(b"application")

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.server.daemon_threads = True
        # Proxies reset connections when they end.
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def replaced(text, *pairs):
    """`text` with replacements; each must have something to replace."""
    for old, new in pairs:
        assert old in text, f"the configuration does not contain {old!r}"
        text = text.replace(old, new)
    return text


def followed(text, advice):
    """`text` after following a comment: the commented lines that come after the line with `advice` take effect."""
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if advice in line]
    assert starts, f"the configuration does not contain {advice!r}"
    for number in starts:
        assert lines[number].endswith(":")
        while lines[number + 1].lstrip().startswith("# "):
            number += 1
            lines[number] = lines[number].replace("# ", "", 1)
    return "\n".join(lines)


def by_address(text, name_line):
    """`text` after following the comment on IPv6: a commented line takes the place of the one that names the client."""
    assert text.count(name_line) == 1
    before, after = text.split(name_line)
    lines = after.split("\n")
    number = next(n for n, line in enumerate(lines) if "X-Forwarded-For" in line)
    lines[number] = lines[number].replace("# ", "", 1)
    return before + "\n".join(lines)


class Edge:
    """A proxy, the application, and the server that limits. `is_open`: with the comments followed that make it fail
    open, and that count addresses."""

    def __init__(self, name, directory, is_open=False):
        self.name, self.directory, self.is_open = name, pathlib.Path(directory), is_open
        self.arguments = [f"{name} in {directory}"]  # for the report of a failure
        self.port, self.gateway, self.second, self.limiter_port = (free_port() for _ in range(4))
        self.limiter = self.proxy = None
        self.application = Application()
        self.log_path = self.directory / "proxy.log"
        try:
            self.start_limiter()
            self.start_proxy()
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def why_missing(name):
        program = Edge.program(name)
        if name in ("traefik", "envoy"):
            return None if os.access(program, os.X_OK) else f"{program} is missing: scripts/setup test"
        return None if program else f"{name} is not installed: scripts/setup test"

    @staticmethod
    def program(name):
        if name in ("traefik", "envoy"):
            return str(PACKAGES / name)
        # Debian's servers are in directories that are not on every PATH.
        return shutil.which(name.partition("-")[0], path=os.environ["PATH"] + ":/usr/sbin")

    # MARK: Processes

    def start_limiter(self):
        """Starts the server; once more on the same ports after it was killed."""
        flags = ["--http-port", self.gateway, "--io-threads", "1", "--save", "", "--trusted-proxies", "127.0.0.1"]
        self.limiter = Server(self.directory / "limiter", *flags, port=self.limiter_port)
        with self.limiter.connect() as wire:
            wire.ok("RL.POLICY", "SET", "edge", "LIMIT", "3", "PER", "1h")
            wire.ok("RL.POLICY", "SET", "loose", "LIMIT", "1000", "PER", "1h")
            self.set_rules(wire)

    def set_rules(self, wire):
        wire.ok("RL.RULE", "SET", "acme", "*", "*", "POLICY", "edge")
        # What an identity made up by a client gets.
        wire.ok("RL.RULE", "SET", "*", "*", "*", "POLICY", "loose")

    def start_proxy(self):
        command = getattr(self, f"configure_{self.name.partition('-')[0]}")()
        home = {name: str(self.directory) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        with open(self.log_path, "wb") as log:
            self.proxy = subprocess.Popen(
                [self.program(self.name), *map(str, command)], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, cwd=self.directory, env={**os.environ, **home})
        eventually(self.is_ready, f"{self.name} passes requests on")
        self.application.seen.clear()

    def is_ready(self):
        assert self.proxy.poll() is None, f"{self.name} ended with {self.proxy.poll()}:\n{self.log()[-3000:]}"
        try:
            return self.ask(path="/free").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def stop(self):
        try:
            if self.proxy and self.proxy.poll() is None:
                self.proxy.terminate()
                try:
                    self.proxy.wait(PATIENCE)
                finally:
                    self.proxy.kill()
                    self.proxy.wait()
        finally:
            self.application.stop()
            if self.limiter and not self.limiter.stopped:
                self.limiter.stop()

    # MARK: Configurations

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return path

    def addresses(self, text):
        return replaced(
            text, ("127.0.0.1:8000", f"127.0.0.1:{self.port}"), ("127.0.0.1:6380", f"127.0.0.1:{self.gateway}"),
            ("127.0.0.1:8080", f"127.0.0.1:{self.application.port}"))

    def configure_nginx(self):
        recipe = (DEPLOY / "nginx" / f"escapement{self.name.removeprefix('nginx')}.conf").read_text()
        if self.is_open:
            recipe = followed(recipe, "To fail open, add:")
            if self.name == "nginx":
                recipe = by_address(recipe, "proxy_set_header X-Limit-Client $remote_addr;")
        self.write("escapement.conf", self.addresses(recipe))
        temporary = "".join(f"{name}_temp_path {self.directory}/{name};\n"
                            for name in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi"))
        # Without `user`, root's workers would have no access to the test's directory.
        main = self.write("nginx.conf", f"""\
daemon off;
{"user root;" if os.geteuid() == 0 else ""}
pid {self.directory}/nginx.pid;
worker_processes 1;
events {{}}
http {{
access_log off;
{temporary}
include {self.directory}/escapement.conf;
}}
""")
        return ["-c", main, "-e", "stderr"]

    def configure_caddy(self):
        recipe = (DEPLOY / "caddy" / "Caddyfile").read_text()
        if self.is_open:
            recipe = by_address(followed(recipe, "To fail open"), "header_up X-Limit-Client {remote_host}")
        path = self.write("Caddyfile", "{\n\tadmin off\n}\n" + self.addresses(recipe))
        return ["run", "--config", path, "--adapter", "caddyfile"]

    def configure_traefik(self):
        folder = DEPLOY / "traefik"
        dynamic = self.addresses_of_traefik((folder / ("fail-open.yml" if self.is_open else "dynamic.yml")).read_text())
        static = (folder / "traefik.yml").read_text()
        if self.is_open:
            static = followed(static, "For fail-open.yml").replace("8001", str(self.second))
        static = replaced(static, ("/etc/traefik/dynamic.yml", str(self.write("dynamic.yml", dynamic))),
                          ("127.0.0.1:8000", f"127.0.0.1:{self.port}"))
        return ["--configFile", self.write("traefik.yml", static)]

    def addresses_of_traefik(self, dynamic):
        pairs = [("127.0.0.1:6380", f"127.0.0.1:{self.gateway}"),
                 ("127.0.0.1:8080", f"127.0.0.1:{self.application.port}")]
        if self.is_open:
            pairs.append(("127.0.0.1:8001", f"127.0.0.1:{self.second}"))
        return replaced(dynamic, *pairs)

    def configure_envoy(self):
        recipe = (DEPLOY / "envoy" / "envoy.yaml").read_text()
        if self.is_open:
            recipe = replaced(recipe, ("failure_mode_allow: false", "failure_mode_allow: true"))
            recipe = by_address(
                recipe, '- {key: X-Limit-Client, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}')
        path = self.write("envoy.yaml", replaced(
            recipe, ("port_value: 8000", f"port_value: {self.port}"),
            ("port_value: 6380", f"port_value: {self.gateway}"), ("port_value: 8080", f"port_value: {self.application.port}")))
        return ["-c", path, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]

    def configure_haproxy(self):
        folder = DEPLOY / "haproxy"
        socket = ("abns@escapement", f"abns@escapement-{self.port}")
        script = self.write("limit.lua", replaced((folder / "limit.lua").read_text(), socket))
        recipe = replaced((folder / "haproxy.cfg").read_text(), socket, ("/etc/haproxy/limit.lua", str(script)))
        if self.is_open:
            before, rule = recipe.split("# Delete this rule to fail open.\n")
            recipe = before + rule.split("\n", 1)[1]
        return ["-f", self.write("haproxy.cfg", self.addresses(recipe))]

    # MARK: Clients

    def ask(self, path="/api/search", method="GET", body=None, fields=(), source="127.0.0.1"):
        """One request to the proxy on a connection of its own, with path and fields as they are."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE, source_address=(source, 0))
        try:
            connection.putrequest(method, path)
            for name, value in fields:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response, response.read())
        finally:
            connection.close()

    def forget(self):
        """Returns to the state at the start."""
        self.application.seen.clear()
        with self.limiter.connect() as wire:
            wire.ok("FLUSHALL")

    def spent(self):
        """Units taken, by tenant, client and action, from the keys that checks leave."""
        found = {}
        with self.limiter.connect() as wire:
            for key in wire.call("KEYS", "*"):
                # 0 C, length of tenant, tenant, length of client, client, action
                assert key[:2] == b"\0C"
                tenant, rest = key[3:3 + key[2]], key[3 + key[2]:]
                client, action = rest[1:1 + rest[0]], rest[1 + rest[0]:]
                row = wire.call("RL.CHECK", tenant, client, action, "COST", 0)
                found[tenant.decode(), client.decode(), action.decode()] = row[2] - row[3]
        return found
