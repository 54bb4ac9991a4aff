"""Certificates of running sites: the authority is exchanged as the README says, and a key is denied, while clients write and read."""

import json
import shutil
import signal
import threading
import time

import confluent_kafka

import clients
import load
from cluster import NAMES, eventually, run

HOME, NEXT, FAR = NAMES

# By then links are renewed after a reload, as the README says. The site with the higher number waits for five seconds before it
# renews a connection that is fresh; the rest is for a machine that is busy.
RENEWED_AFTER_S = 30


class Reader:
    """Reads a partition of the merged log from its beginning, for as long as it is let."""

    def __init__(self, bootstrap, topic):
        self.bootstrap, self.topic, self.read, self.odd = bootstrap, topic, [], []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def _run(self):
        consumer = confluent_kafka.Consumer({"bootstrap.servers": self.bootstrap, "group.id": f"reader-{time.monotonic_ns()}"})
        consumer.assign([confluent_kafka.TopicPartition(self.topic, 0, 0)])
        while not self._stop.is_set():
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                self.read.append((message.offset(), message.value().decode()))
            elif message is not None and not message.error().retriable() and message.error().code() >= 0:
                self.odd.append(str(message.error()))
        consumer.close()

    def stop(self, count):
        """Waits until so many records were read, and gives them."""
        eventually(f"the reader has {count} records", lambda: len(self.read) >= count)
        self._stop.set()
        self._thread.join(timeout=60)
        assert not self.odd, self.odd
        return self.read


def reload(site):
    return json.loads(run("cert", "reload", "--json", "--admin", site.data))


def linked(site):
    return {peer["site"] for peer in site.status()["peers"] if peer["up"]}


def all_linked(cluster):
    return all(len(linked(site)) == 2 for site in cluster.sites)


def key_of(file):
    return json.loads(run("cert", "show", "--json", file))[0]["key"]


def fresh_certificate(cluster, site, authority):
    """Makes another certificate for a site, and puts it in the place of the one that it has."""
    out = cluster.folder / f"fresh-{time.monotonic_ns()}"
    run("cert", "site", "--ca", authority, "--out", out, "--name", site.name, "--id", site.id, "--host", site.host)
    for file in out.iterdir():
        file.rename(cluster.folder / "certs" / file.name)


def exchange_authority(cluster):
    """The steps of "Rotating certificates" in the README."""
    certs, new = cluster.folder / "certs", cluster.folder / "new"
    old = (certs / "ca.pem").read_text()
    run("cert", "ca", "--out", new)
    (certs / "ca.pem").write_text(old + (new / "ca.pem").read_text())
    for site in cluster.sites:
        assert reload(site)["ended"] == []
    for site in cluster.sites:
        before = key_of(certs / f"{site.name}.pem")
        fresh_certificate(cluster, site, new)
        if site.name == NEXT:
            site.process.send_signal(signal.SIGHUP)
        else:
            assert len(reload(site)["certificates"]) == 3, "its own, and two authorities'"
        after = key_of(certs / f"{site.name}.pem")
        assert after != before
        eventually("it goes by it", lambda site=site, after=after: site.status()["certificates"][0]["key"] == after)
        eventually("all are linked", lambda: all_linked(cluster))
    time.sleep(RENEWED_AFTER_S)
    (certs / "former.pem").write_text(old)
    (certs / "ca.pem").write_text((new / "ca.pem").read_text())
    for site in cluster.sites:
        now = reload(site)
        assert len(now["certificates"]) == 2
        assert now["ended"] == [], "links are shown the new certificates by now"
    eventually("all are linked", lambda: all_linked(cluster))
    return new


def lose_disk(site, journal):
    """Empties a site's data directory; it joins again with this journal."""
    site.kill()
    shutil.rmtree(site.data)
    run("join", "--config", site.config)
    site.start()
    eventually("it has another journal", lambda: site.status()["journal"] == journal)
    site.wait_ready()


def test_an_authority_is_exchanged_and_a_key_denied_while_clients_write_and_read(own_cluster):
    cluster = own_cluster
    certs = cluster.folder / "certs"
    topic = cluster.create("orders", 1)
    # A journal ends while the first authority is in force: nobody will ever sign it anew.
    early = [f"early/{n}" for n in range(20)]
    clients.Confluent.write(cluster[FAR].address(), topic, 0, early)
    cluster.converge(topic, len(early))
    lose_disk(cluster[FAR], f"{FAR}.1")
    reader = Reader(cluster.bootstrap(FAR), topic).start()
    producers = [
        load.ConfluentLoad(cluster.bootstrap(HOME), topic, 0).start(),
        load.KafkaPythonLoad(cluster.bootstrap(NEXT), topic, 0).start(),
    ]
    eventually("records flow", lambda: len(reader.read) > 50)

    # What cannot be used is refused, in words, and changes nothing.
    kept = (certs / f"{HOME}.pem").read_text()
    shutil.copy(certs / f"{NEXT}.pem", certs / f"{HOME}.pem")
    refused = run("cert", "reload", "--admin", cluster[HOME].data, check=False)
    assert refused.returncode == 1 and f"it names {NEXT}" in refused.stderr, refused.stderr
    (certs / f"{HOME}.pem").write_text(kept)

    new = exchange_authority(cluster)
    told = cluster[HOME].said(1_000_000)
    assert "certificates were read anew" in told and "in force from" in told
    assert "meridian_certificate_until_timestamp_seconds{" in cluster[HOME].get("/metrics")

    # A key is stolen: nobody links with it any more, and its site is in again with another one.
    (certs / "denied.txt").write_text(f"{key_of(certs / f'{NEXT}.pem')} # stolen\n")
    for name in (HOME, FAR):
        (cut,) = reload(cluster[name])["ended"]
        assert cut["site"] == NEXT and "is denied" in cut["reason"], cut
    assert NEXT not in linked(cluster[HOME]) | linked(cluster[FAR])
    eventually("it is told why", lambda: "is denied" in cluster[NEXT].said(100_000))
    eventually("it has no link", lambda: not linked(cluster[NEXT]))
    fresh_certificate(cluster, cluster[NEXT], new)
    reload(cluster[NEXT])
    eventually("all are linked", lambda: all_linked(cluster))

    acked = set(early).union(*(producer.stop() for producer in producers))
    cluster.converge(topic, len(acked))
    cluster.verify()
    read = reader.stop(len(acked))
    assert [offset for offset, _ in read] == list(range(len(read))), "no offset is passed over, none comes twice"
    values = [value for _, value in read]
    assert len(values) == len(set(values)) and set(values) == acked

    # Who comes later believes what was signed under the authority before; else it could only have it from the signer itself.
    lose_disk(cluster[NEXT], f"{NEXT}.1")
    clients.Confluent.write(cluster[NEXT].address(), topic, 0, ["later"])
    cluster.converge(topic, len(acked) + 1)
    cluster.verify()
    assert "not proved" not in cluster[NEXT].said(1_000_000)
