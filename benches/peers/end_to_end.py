#!/usr/bin/env python3
"""What a check of bearer tokens costs end to end: requests a second and p99 over loopback, by wrk.

Run by scripts/bench.sh e2e, which brings wrk, Node.js, express and jsonwebtoken. Builds the servers, starts them all,
and measures them in turns. Prints a table in Markdown; each run of wrk goes to stderr. Fails when a request failed.

ROUNDS           how often each server has its turn (7)
SECONDS_A_RUN    how long one lasts (3)

A run in which neither server nor wrk had its core to itself is repeated: the machine was busy with something else.
"""

import http.client
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "peers"
NODE = os.environ.get("NODE", "node")
EXPRESS_DIR = Path(os.environ["EXPRESS_DIR"])
ROUNDS = int(os.environ.get("ROUNDS", "7"))
SECONDS = int(os.environ.get("SECONDS_A_RUN", "3"))
CONNECTIONS = 32
# Of its core, one side has at least this share, or the run is repeated, but not more often than this.
BUSY = 0.9
TRIES = 4

KEYS = {
    "HS256": HERE / "hs256.secret",
    "RS256": ROOT / "tests/fixtures/keys/rsa.spki.pem",
    "ES256": ROOT / "tests/fixtures/keys/p256.spki.pem",
}
LAYERS = {
    "ours": "axum with the layer, repeated tokens",
    "fresh": "axum with the layer, every token checked anew",
    "jsonwebtoken": "axum with a layer over jsonwebtoken",
}


def on_core(number):
    """A prefix that keeps a command on one of the cores, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or not shutil.which("taskset"):
        return []
    return ["taskset", "-c", str(cores[number])]


class Run(NamedTuple):
    rate: float
    p99: float  # in ms
    # Shares of a core.
    server: float
    wrk: float

    def busy(self):
        return max(self.server, self.wrk)

    def cost(self):
        """What the server took for a request, in microseconds of its core: the same, whatever wrk can do."""
        return self.server / self.rate * 1e6


class Server:
    def __init__(self, name, command, checks=True, token=None):
        self.name = name
        self.checks = checks
        environment = {**os.environ, "NODE_ENV": "production"}
        # taskset becomes the server, so this is its pid.
        self.process = subprocess.Popen(
            on_core(0) + [str(part) for part in command], stdout=subprocess.PIPE, env=environment, text=True
        )
        self.address = self.line()
        self.token = token or self.line()
        self.runs = []

    def line(self):
        line = self.process.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{self.name}: the server did not start")
        return line

    def stop(self):
        self.process.kill()
        self.process.wait()

    def answer(self, token):
        connection = http.client.HTTPConnection(self.address, timeout=5)
        connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body

    def verify(self):
        """It lets a good token pass, and does check."""
        head, signature = self.token.rsplit(".", 1)
        forged = f"{head}.{signature[:20]}{'A' if signature[20] != 'A' else 'B'}{signature[21:]}"
        expected = 401 if self.checks else 200
        seen = [self.answer(self.token), self.answer(None)[0], self.answer(forged)[0]]
        if seen != [(200, b"hello"), expected, expected]:
            raise SystemExit(f"{self.name}: unexpected answers {seen}")

    def cpu(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def measure(self, seconds):
        command = ["wrk", "--latency", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
        command += ["-H", f"Authorization: Bearer {self.token}", f"http://{self.address}/"]
        cpu, children, begun = self.cpu(), children_cpu(), time.monotonic()
        output = subprocess.run(on_core(1) + command, check=True, capture_output=True, text=True).stdout
        elapsed = time.monotonic() - begun
        cpu, children = (self.cpu() - cpu) / elapsed, (children_cpu() - children) / elapsed
        if "Non-2xx" in output or "Socket errors" in output:
            raise SystemExit(f"{self.name}: requests failed\n{output}")
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])
        value, unit = re.search(r"\s99%\s+([\d.]+)(us|ms|s)\b", output).groups()
        p99 = float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
        return Run(rate, p99, cpu, children)

    def take_turn(self, title):
        tries = []
        while not tries or (tries[-1].busy() < BUSY and len(tries) < TRIES):
            run = self.measure(SECONDS)
            tries.append(run)
            print(
                f"{title}, {self.name}: {run.rate:.0f} requests/s, p99 {run.p99:.2f} ms; cores busy: "
                f"server {run.server:.2f}, wrk {run.wrk:.2f}; {run.cost():.1f} us of the server's core a request",
                file=sys.stderr,
            )
        self.runs.append(max(tries, key=Run.busy))


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def build():
    command = ["cargo", "build", "--quiet", "--release", "--bin", "hello", "--manifest-path", HERE / "Cargo.toml"]
    subprocess.run(command, check=True, env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)})
    return TARGET / "release/hello"


def start(servers):
    """Adds them as they come, so that the caller can stop what has started."""
    hello = build()
    servers.append(Server("axum without a layer", [hello, "none", "HS256"], checks=False))
    tokens = {}
    for layer, text in LAYERS.items():
        for algorithm in KEYS:
            server = Server(f"{text}, {algorithm}", [hello, layer, algorithm])
            servers.append(server)
            tokens[algorithm] = server.token
    express = [NODE, HERE / "express/server.mjs"]
    servers.append(Server("express without a check", express, checks=False, token=tokens["HS256"]))
    for algorithm, key in KEYS.items():
        name = f"express + jsonwebtoken, {algorithm}"
        servers.append(Server(name, [*express, algorithm, key], token=tokens[algorithm]))


def run(servers):
    for server in servers:
        server.verify()
        # Node.js compiles what is hot.
        server.measure(1)
    for number in range(ROUNDS):
        turn = number % len(servers)
        for server in servers[turn:] + servers[:turn]:
            server.take_turn(f"round {number + 1}")


def versions():
    lock = (HERE / "Cargo.lock").read_text()
    # The peers bring older ones.
    crate = lambda name: re.findall(rf'name = "{name}"\nversion = "(.+)"', lock)[-1]
    module = lambda name: json.loads((EXPRESS_DIR / f"node_modules/{name}/package.json").read_text())["version"]
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split()[1].split("/")[-1]
    node = subprocess.run([NODE, "--version"], check=True, capture_output=True, text=True).stdout.strip("v\n")
    return (
        f"axum {crate('axum')} and jsonwebtoken {crate('jsonwebtoken')} on Rust; express {module('express')} and "
        f"jsonwebtoken {module('jsonwebtoken')} on Node.js {node}; wrk {wrk}"
    )


def table(servers):
    def cell(server, read, form):
        values = [read(run) for run in server.runs]
        # Of the same round: whatever else the machine does then slows both.
        ratios = [value / read(bare) for value, bare in zip(values, servers[0].runs)]
        return f"{statistics.median(values):{form}} ({statistics.median(ratios):.2f})"

    pinned = "a core each" if on_core(1) else "not pinned to cores"
    settings = f"{CONNECTIONS} connections; server and wrk: {pinned}; medians of {ROUNDS} runs of {SECONDS} s"
    print(f"{versions()} ({settings}).\n")
    print("| | requests a second (to without) | p99 in ms (to without) |\n|---|---:|---:|")
    for server in servers:
        rate = cell(server, lambda run: run.rate, ",.0f")
        print(f"| {server.name} | {rate} | {cell(server, lambda run: run.p99, '.2f')} |")
    for server in servers:
        cost = cell(server, Run.cost, ".1f")
        busy = statistics.median(run.server for run in server.runs)
        print(f"{server.name}: {cost} us of the server's core a request; busy {busy:.2f}", file=sys.stderr)
    disturbed = sum(run.busy() < BUSY for server in servers for run in server.runs)
    if disturbed:
        print(f"{disturbed} runs were disturbed at each try: measure again on a quiet machine", file=sys.stderr)


def main():
    # So that what is below `finally` happens then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    servers = []
    try:
        start(servers)
        run(servers)
        table(servers)
    finally:
        for server in servers:
            server.stop()


main()
