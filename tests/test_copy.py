"""A site that lost its disk, while the others have dropped what it lacks, copies files from one of them and goes on."""

import shutil

import pytest

import clients
from cluster import NAMES, Cluster, eventually, run

HOME, NEXT, FAR = NAMES

SMALL = [
    ("segment_bytes = 16777216", "segment_bytes = 2129920\nwal_bytes_max = 2129920\nmemory_bytes = 65536"),
    ("checkpoint_bytes = 268435456", "checkpoint_bytes = 1048588"),
    ("[peers]", "[copies]\nbytes_per_second = 3000000\n\n[peers]"),
]


@pytest.fixture
def small(tmp_path_factory):
    """Three sites with WALs of a few MiB that wait for nobody."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    for site in cluster.sites:
        text = site.config.read_text()
        for old, new in SMALL:
            assert old in text
            text = text.replace(old, new)
        site.config.write_text(text)
    try:
        yield cluster.found()
    finally:
        cluster.close()


def test_a_wiped_site_copies_what_the_others_have_dropped_also_when_it_is_killed_meanwhile(small):
    cluster = small
    topic = cluster.create("orders", 2)
    far = cluster[FAR]
    assert far.stop() == 0
    filler = "x" * 8000
    for part in range(10):
        for at, site in enumerate((HOME, NEXT)):
            values = [f"{site}/{part}/{n}/{filler}" for n in range(60)]
            clients.Confluent.write(cluster[site].address(), topic, at, values)
    for site in (HOME, NEXT):
        alarms = lambda: " ".join(cluster[site].status()["alarms"])
        eventually(f"{site} drops what it kept for {FAR}", lambda: f"goes on without {FAR}" in alarms())

    shutil.rmtree(far.data)
    run("join", "--config", far.config)
    far.start()
    eventually("a part of the copy is there", lambda: (far.status()["copy"] or {}).get("bytes_done", 0) > 1_000_000)
    assert "copy " in run("site", "status", "--admin", f"http://{far.host}:9644")
    far.kill()
    far.start()
    eventually("it starts again from the copy", lambda: "started again from a copy" in far.said(100_000))
    far.wait_ready()
    clients.Confluent.write(far.address(), topic, 0, [f"{FAR}/back"])
    cluster.converge(topic, 2 * 10 * 60 + 1)
    cluster.verify()
    values = clients.Confluent.read(far.address(), topic, 2, 1201).values()
    assert len(set(values)) == 1201
    assert far.status()["copy"] is None
