"""Three real sites with the emulated WAN between them, for tests that come in as strangers.

Every cluster gets loopback addresses of its own (127.a.b.1 to .3), so that clusters, and a demo beside them, never meet. The
sites are the `meridian` binary as anyone would start it: `cert dev`, `bootstrap`, `serve`. Between them lies `wan serve` with
the round trips of datacenters/rtt.toml. Only processes that were started here are ended here.
"""

import itertools
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
MERIDIAN = os.environ.get("MERIDIAN_BIN", str(REPOSITORY / "target/debug/meridian"))
# Speaks the protocol before.
BEFORE = os.environ.get("MERIDIAN_BEFORE_BIN", str(pathlib.Path(MERIDIAN).with_name("meridian-before")))
WAN = os.environ.get("WAN_BIN", str(REPOSITORY / "target/debug/wan"))

NAMES = ("eu-west", "us-east", "ap-southeast")
PORTS = {"eu-west": 9092, "us-east": 9093, "ap-southeast": 9094}
PREFER = {
    "eu-west": ("eu-west", "us-east", "ap-southeast"),
    "us-east": ("us-east", "eu-west", "ap-southeast"),
    "ap-southeast": ("ap-southeast", "eu-west", "us-east"),
}
CLUSTER_ID = "0d5b2a53-7a50-4b6e-9a51-3f5f0f3d1b77"

# How long a condition may take to come true before a test gives up. Nothing is measured by it.
PATIENCE_S = 90

_numbers = itertools.count(os.getpid() * 16)


def eventually(what, condition, patience_s=PATIENCE_S, pause_s=0.1):
    """Asks until the answer is true, and gives it; an exception counts as a no."""
    deadline = time.monotonic() + patience_s
    last = None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if last:
                return last
        except Exception as error:  # whatever a client library raises while a site is away
            last = error
        time.sleep(pause_s)
    raise AssertionError(f"never came true within {patience_s} s: {what}; last answer: {last!r}")


class Site:
    """One site: its files, its process, and its looks."""

    def __init__(self, cluster, number, name):
        self.cluster, self.id, self.name = cluster, number, name
        self.host = f"{cluster.network}.{number}"
        self.data = cluster.folder / "data" / name
        self.config = cluster.folder / f"{name}.toml"
        self.log = cluster.folder / f"{name}.log"
        self.clock = cluster.folder / f"{name}.clock"
        self.binary, self.process = MERIDIAN, None
        self.open_files_max = None

    def write_config(self, **changes):
        """Writes the configuration; `changes` replaces whole sections' text or adds to the end (`extra`)."""
        cluster = self.cluster
        members = "\n".join(
            f'[[members]]\nname = "{s.name}"\nid = {s.id}\npeer = "{s.host}:7400"\n'
            + ("witness = true\n" if s.is_witness else f'kafka = "{s.host}"\n')
            for s in cluster.sites
        )
        homes = "\n".join(
            f'[[homes]]\nname = "{name}"\nport = {PORTS[name]}\nprefer = {json.dumps(cluster.preferred(name))}\n'
            for name in cluster.names
            if name != cluster.witness
        )
        dial = "\n".join(f'{other} = "{gate}"' for other, gate in cluster.gates.get(self.name, {}).items())
        certs = changes.get("certs", cluster.folder / "certs")
        text = f"""
[site]
name = "{changes.get('name', self.name)}"
id = {changes.get('id', self.id)}
data_dir = "{changes.get('data', self.data)}"

[cluster]
id = "{changes.get('cluster_id', CLUSTER_ID)}"

{members}
{homes}
[listen]
kafka = "{self.host}"
peer = "{self.host}:7400"
http = "{self.host}:9644"

[dial]
{dial}

[tls]
ca = "{certs}/ca.pem"
cert = "{certs}/{changes.get('name', self.name)}.pem"
key = "{certs}/{changes.get('name', self.name)}.key"
former_ca = "{cluster.folder}/certs/former.pem"
denied = "{cluster.folder}/certs/denied.txt"
kafka = "off"

[limits]
disk_free_bytes_min = 16777216

[journal]
segment_bytes = 16777216
segments_spare = 2
checkpoint_bytes = {changes.get('checkpoint_bytes', 256 << 20)}

[peers]
home_after_ms = 2000

{changes.get('extra', '')}
"""
        path = changes.get("path", self.config)
        path.write_text(text)
        return path

    @property
    def is_witness(self):
        return self.name == self.cluster.witness

    def bootstrap(self):
        run("join" if self.is_witness else "bootstrap", "--config", self.config, binary=self.binary)

    def start(self):
        assert self.process is None or self.process.poll() is not None, f"{self.name} runs already"
        words = [self.binary, "serve", "--config", str(self.config)]
        if self.clock.exists():
            words += ["--test-clock-offset-file", str(self.clock)]
        if self.open_files_max:
            words = ["prlimit", f"--nofile={self.open_files_max}:{self.open_files_max}", *words]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        return self

    def shift_clock(self, milliseconds):
        """Sets its wall clock, now and for later starts. Only a site whose clock was shifted before it started listens."""
        fresh = self.clock.with_suffix(".fresh")
        fresh.write_text(f"{milliseconds}\n")
        fresh.rename(self.clock)

    def wait_ready(self):
        def ready():
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.said()}"
            return self.get("/readyz") is not None

        eventually(f"{self.name} is ready", ready)
        return self

    def kill(self):
        """kill -9: no farewell, nothing flushed."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM: a clean stop. Gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def said(self, last=4000):
        """The end of its log."""
        return self.log.read_text(errors="replace")[-last:] if self.log.exists() else ""

    def readiness(self):
        """What `/readyz` says: "ok", or why not."""
        return readiness(self.host)

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.host}:9644{path}", timeout=10) as answer:
            return answer.read().decode()

    def status(self):
        return json.loads(self.get("/v1/status"))

    def groups(self):
        return json.loads(self.get("/v1/groups"))

    def ends(self, topic):
        """The merged log's readable end, by partition."""
        return {log["partition"]: log["end"] for log in json.loads(self.get(f"/v1/digests?topic={topic}"))}

    def address(self, home=None):
        return f"{self.host}:{PORTS[home or self.name]}"


class Wan:
    """The link emulator, steered by lines on its standard input."""

    def __init__(self, folder, sites):
        text = f'matrix = "{REPOSITORY}/datacenters/rtt.toml"\n'
        for site in sites:
            text += f'[[sites]]\nname = "{site.name}"\nlisten = "{site.host}:7400"\n'
        topology = folder / "topology.toml"
        topology.write_text(text)
        self.process = subprocess.Popen(
            [WAN, "serve", "--topology", str(topology)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.gates = {}
        for _ in range(len(sites) * (len(sites) - 1)):
            words = self.process.stdout.readline().split()
            assert len(words) == 5, "the emulator did not start"
            self.gates.setdefault(words[0], {})[words[2]] = words[4]

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert not answer.startswith("error"), answer
        return answer

    def cut(self, site):
        self.say(f"cut {site.name}")

    def heal(self, site):
        self.say(f"heal {site.name}")

    def between(self, word, one, other):
        """Cuts ("cut") or heals ("heal") what lies between two sites, both ways."""
        self.say(f"{word} {one.name} {other.name}")
        self.say(f"{word} {other.name} {one.name}")

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


class Cluster:
    def __init__(self, folder, names=NAMES, witness=None):
        number = next(_numbers)
        self.names, self.witness = names, witness
        self.folder = pathlib.Path(folder)
        self.network = f"127.{64 + number // 250 % 160}.{1 + number % 250}"
        self.gates = {}
        self.sites = [Site(self, number, name) for number, name in enumerate(names, start=1)]
        self.wan = Wan(self.folder, self.sites)
        self.gates = self.wan.gates
        for site in self.sites:
            site.write_config()
        run("cert", "dev", "--out", self.folder / "certs", "--config", self.sites[0].config)
        for empty in ("former.pem", "denied.txt"):
            (self.folder / "certs" / empty).touch()

    def found(self):
        for site in self.sites:
            site.bootstrap()
        for site in self.sites:
            site.start()
        for site in self.sites:
            site.wait_ready()
        sites = self.data_sites
        eventually("all sites see each other", lambda: all(len(s.status()["alive"]) == len(sites) for s in sites))
        return self

    @property
    def data_sites(self):
        """All but the witness."""
        return [site for site in self.sites if not site.is_witness]

    def __getitem__(self, name):
        return next(site for site in self.sites if site.name == name)

    def bootstrap(self, home):
        """Addresses for a client of that region, its own site first."""
        return ",".join(self[name].address(home) for name in self.preferred(home))

    def preferred(self, home):
        return [name for name in PREFER[home] if name in self.names and name != self.witness]

    def create(self, topic, partitions=4, at="eu-west"):
        """Creates a topic and waits until every site knows it."""
        run("topic", "create", topic, "--partitions", partitions, "--bootstrap", self[at].address())

        def known(site):
            listed = json.loads(run("topic", "list", "--json", "--bootstrap", site.address(site.name)))
            return topic in json.dumps(listed)

        for site in self.data_sites:
            if site.runs():
                eventually(f"{site.name} knows {topic}", lambda: known(site))
        return topic

    def converge(self, topic, records):
        """Waits until every site can read that many records of a topic."""

        def equal():
            ends = [site.ends(topic) for site in self.data_sites]
            assert all(sum(end.values()) >= records for end in ends) and all(end == ends[0] for end in ends), ends
            return True

        eventually(f"all sites read {records} records of {topic}", equal)

    def verify(self):
        """`meridian verify` over all sites: the logs are identical, or this fails."""
        said = json.loads(run("verify", "--json", "--admin", *[f"http://{site.host}:9644" for site in self.data_sites]))
        assert said["identical"] is True, said
        return said

    def close(self):
        for site in self.sites:
            if site.runs():
                site.kill()
        self.wan.stop()


def readiness(host):
    """What a site's `/readyz` says, whether it is ready or not."""
    try:
        with urllib.request.urlopen(f"http://{host}:9644/readyz", timeout=10) as answer:
            return answer.read().decode().strip()
    except urllib.error.HTTPError as refused:
        return refused.read().decode().strip()


def run(*words, check=True, stdin=None, binary=MERIDIAN):
    """A `meridian` command, to its end; gives what it printed, or with check=False the finished process."""
    done = subprocess.run([binary, *map(str, words)], capture_output=True, text=True, input=stdin, timeout=120)
    if not check:
        return done
    assert done.returncode == 0, f"meridian {' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
