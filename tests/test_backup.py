"""A data directory put back from a backup: the site takes its own entries back from the others before it writes on."""

import shutil

import clients
from cluster import NAMES, eventually

HOME, NEXT, FAR = NAMES


def test_a_directory_put_back_takes_its_own_entries_back_and_loses_nothing(own_cluster, tmp_path):
    cluster = own_cluster
    topic = cluster.create("orders", 1)
    home = cluster[HOME]
    written = []

    def write(site, what, count=30):
        values = [f"{what}/{n}" for n in range(count)]
        clients.Confluent.write(site.address(), topic, 0, values)
        written.extend(values)

    write(home, "in the backup")
    cluster.converge(topic, len(written))
    assert home.stop() == 0
    shutil.copytree(home.data, tmp_path / "backup", ignore=shutil.ignore_patterns("*.sock"))
    home.start().wait_ready()
    write(home, "since then")
    write(cluster[FAR], "elsewhere")
    cluster.converge(topic, len(written))

    home.kill()
    write(cluster[NEXT], "while it was away")
    shutil.rmtree(home.data)
    shutil.copytree(tmp_path / "backup", home.data)
    home.start().wait_ready()
    own = clients.end(home.address(), f"{HOME}.{topic}", 0)
    assert own == 60, f"it takes writes with {own} of its own 60 records back"
    write(home, "after the return")
    cluster.converge(topic, len(written))
    cluster.verify()
    for site in NAMES:
        values = clients.Confluent.read(cluster.bootstrap(site), topic, 1, len(written))
        assert sorted(values.values()) == sorted(written), f"at {site}"
    eventually("no alarm stands", lambda: all(not site.status()["alarms"] for site in cluster.sites))
