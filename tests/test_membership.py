"""A running cluster gets a fourth site and loses one of its first, under load; all sites show the same all the while."""

import json

import clients
import load
from cluster import NAMES, Site, eventually, run

HOME, NEXT, FAR = NAMES
FOURTH = "us-west"


def members(site):
    return sorted(site.status()["members"])


def make_known(cluster):
    """Lists a fourth site in every configuration, with a restart of one site at a time."""
    fourth = Site(cluster, 4, FOURTH)
    cluster.sites.append(fourth)
    certs = cluster.folder / "certs"
    run("cert", "site", "--out", certs, "--name", FOURTH, "--id", 4, "--host", fourth.host)
    for site in cluster.sites:
        site.write_config()
    for site in cluster.sites[:3]:
        assert site.stop() == 0
        site.start().wait_ready()
    return fourth


def test_a_site_is_added_and_a_founder_removed_under_load(own_cluster):
    cluster = own_cluster
    topic = cluster.create("orders", 2)
    fourth = make_known(cluster)
    producers = [
        load.ConfluentLoad(cluster.bootstrap(HOME), topic, 0).start(),
        load.ConfluentLoad(cluster.bootstrap(NEXT), topic, 1, "next").start(),
    ]
    early = run("site", "add", FOURTH, "--admin", cluster[HOME].data, check=False)
    assert early.returncode != 0 and "cannot be reached" in early.stderr, early.stderr

    run("join", "--config", fourth.config)
    fourth.start()
    eventually("the fourth site follows", lambda: sum(fourth.ends(topic).values()) > 0)
    assert "not a member yet" in fourth.readiness()
    assert FOURTH in cluster[HOME].status()["others_known"]
    # What it follows may have come through another site: the link to this one may still be on its way.
    words = ("site", "add", FOURTH, "--json", "--admin", cluster[HOME].data)
    added = json.loads(eventually("the fourth site is added", lambda: run(*words)))
    assert added["epoch"] == 2 and sorted(added["members"]) == sorted([*NAMES, FOURTH])
    fourth.wait_ready()
    for site in cluster.sites:
        eventually(f"{site.name} knows the members", lambda: members(site) == sorted([*NAMES, FOURTH]))
    clients.Confluent.write(fourth.address(HOME), topic, 0, ["of the new one"])

    # One of the founders goes, for good.
    refused = run("site", "remove", FAR, "--admin", cluster[NEXT].data, check=False)
    assert refused.returncode != 0 and "takes part in the order" in refused.stderr, refused.stderr
    gone = cluster[FAR]
    assert gone.stop() == 0
    words = ("site", "remove", FAR, "--admin", cluster[NEXT].data)
    said = eventually("its parting is in the order", lambda: run(*words))
    assert f"{FAR} is no member" in said, said
    acked = set().union(*(producer.stop() for producer in producers))
    cluster.sites.remove(gone)
    for site in cluster.sites:
        eventually(f"{site.name} knows the members", lambda: members(site) == sorted([HOME, NEXT, FOURTH]))
    cluster.converge(topic, len(acked) + 1)
    cluster.verify()
    values = set(clients.Confluent.read(fourth.address(HOME), topic, 2, sum(fourth.ends(topic).values())).values())
    assert acked <= values and "of the new one" in values

    # It learns it when it comes back, and takes nothing more.
    gone.start()
    eventually("the removed site says so", lambda: "was removed from the cluster" in gone.readiness())
    gone.stop()

    # Two of three are a majority of the members now.
    fourth.kill()
    clients.Confluent.write(cluster[NEXT].address(), topic, 0, ["after a death"])
    end = sum(cluster[HOME].ends(topic).values())
    said = run("site", "remove", FOURTH, "--fence", "--admin", cluster[HOME].data)
    assert "members 4" in said, said
    assert members(cluster[HOME]) == sorted([HOME, NEXT])
    clients.Confluent.write(cluster[HOME].address(), topic, 0, ["of two"])
    eventually("the two read on", lambda: sum(cluster[NEXT].ends(topic).values()) >= end + 1)
