"""Sites are upgraded one at a time, and one goes back, between two binaries: this version, and one that speaks the protocol before.

The binary "before" (`cargo build -p meridian --features before`) has the code of this version, and speaks, writes and reads what
the version before did: so it is also what a site is that was put back. What is new is the mark of time (protocol 2), which is
written when records have expired and nobody writes; before, a trim stood for it.
"""

import json
import subprocess

import clients
import load
from cluster import BEFORE, MERIDIAN, NAMES, eventually, run

HOME, NEXT, FAR = NAMES


def kinds(site):
    """The kinds of entries in a site's WAL."""
    found = set()
    for file in site.data.glob("wal/*.wal"):
        lines = run("dump", "journal", "--json", file).splitlines()
        found |= {entry["kind"] for entry in map(json.loads, lines) if "kind" in entry}
    return found


def expires(cluster, at, topic, count):
    """Writes a record that soon expires, and waits until nothing is left of it anywhere; nobody else may write."""
    clients.Confluent.write(at.address(), topic, 0, ["soon gone"])

    def gone(site):
        digest = json.loads(site.get(f"/v1/digests?topic={topic}"))[0]
        return digest["start"] == digest["end"] == count

    for site in cluster.sites:
        if site.runs():
            eventually(f"{site.name} has let go of it", lambda site=site: gone(site))


def loads(cluster, topic, label):
    return [
        load.ConfluentLoad(cluster.bootstrap(HOME), topic, 0, label).start(),
        load.KafkaPythonLoad(cluster.bootstrap(NEXT), topic, 1, label).start(),
        load.KcatLoad(cluster.bootstrap(FAR), topic, 2, label).start(),
    ]


def restart(site, binary):
    assert site.stop() == 0
    site.binary = binary
    site.start().wait_ready()


def stopped(producers):
    return set().union(*(producer.stop() for producer in producers))


def test_sites_are_upgraded_one_at_a_time_and_one_goes_back_and_clients_go_on(of_before):
    cluster = of_before
    home, next_, far = (cluster[name] for name in NAMES)
    protocol = home.status()["protocol"]
    topic = cluster.create("orders", 3)
    passing = cluster.create("passing", 1)
    run("topic", "alter", passing, "--set", "retention.ms=1000", "--bootstrap", home.address())

    # Two of three are upgraded under load; what is new has to wait for the third.
    producers = loads(cluster, topic, "first/")
    restart(home, MERIDIAN)
    assert home.status()["protocol"] == protocol + 1 and next_.status()["protocol"] == protocol
    restart(next_, MERIDIAN)
    acked = stopped(producers)
    cluster.converge(topic, len(acked))
    expires(cluster, home, passing, 1)
    for site in cluster.sites:
        assert "trim" in kinds(site) and "mark" not in kinds(site), f"{site.name}: {FAR} does not read marks"

    # The third is, too, and stops before anything new was written.
    producers = loads(cluster, topic, "second/")
    restart(far, MERIDIAN)
    acked |= stopped(producers)
    cluster.converge(topic, len(acked))
    assert far.stop() == 0
    expires(cluster, home, passing, 2)
    eventually("what is new is written", lambda: "mark" in kinds(home) | kinds(next_))

    # It goes back to the version before: it waits with what it cannot read, says so, and takes writes.
    far.binary = BEFORE
    far.start()
    said = eventually("it says what it lacks", lambda: [a for a in far.status()["alarms"] if "a newer version wrote" in a])
    assert "upgrade" in said[0], said
    producers = loads(cluster, topic, "third/")
    eventually("the load flows", lambda: all(len(it.acked) > 20 for it in producers[:2]))
    assert far.runs() and not far.status()["halt"]["halted"]
    clients.Confluent.write(far.address(), topic, 0, ["while it waits"])

    # Who holds what is new is not opened by the version before: nothing is changed, and it goes on with this one.
    assert next_.stop() == 0
    refused = subprocess.run(
        [BEFORE, "serve", "--config", str(next_.config)], capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode == 1 and "start the version that wrote them" in refused.stderr, refused.stderr
    next_.start().wait_ready()

    restart(far, MERIDIAN)
    acked |= stopped(producers) | {"while it waits"}
    cluster.converge(topic, len(acked))
    cluster.verify()
    read = clients.Confluent.read(cluster.bootstrap(FAR), topic, 3, len(acked))
    assert len(read) == len(acked) and set(read.values()) == acked, "all that was acknowledged, each once"
    eventually("no alarm stands", lambda: not any(site.status()["alarms"] for site in cluster.sites))
