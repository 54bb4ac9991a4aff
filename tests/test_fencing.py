"""A region dies or is cut off: the others fence it and read on, and what it wrote meanwhile comes in once."""

import clients
from cluster import NAMES, eventually, run

HOME, NEXT, FAR = NAMES


def test_the_merged_log_goes_on_without_a_cut_off_region_and_its_tail_comes_in_once(own_cluster):
    cluster = own_cluster
    topic = cluster.create("orders", 1)
    away, others = cluster[FAR], [cluster[HOME], cluster[NEXT]]
    written = []

    def write(site, what, count=20):
        values = [f"{what}/{n}" for n in range(count)]
        clients.Confluent.write(site.address(), topic, 0, values)
        written.extend(values)

    write(away, "before")
    cluster.converge(topic, 20)
    cluster.wan.cut(away)
    write(away, "alone")
    write(others[0], "others")
    for site in others:
        eventually(f"{site.name} reads on", lambda: site.ends(topic)[0] == 40)
    assert away.ends(topic)[0] == 20, "who is cut off shows nothing new in the merged log"
    assert any(journal["fenced_at"] is not None for journal in others[0].status()["journals"])

    cluster.wan.heal(away)
    cluster.converge(topic, 60)
    eventually(f"{FAR} writes in a fresh journal", lambda: away.status()["journal"].endswith(".1"))
    write(away, "back")
    cluster.converge(topic, 80)
    cluster.verify()
    read = clients.Confluent.read(cluster.bootstrap(HOME), topic, 1, 80)
    assert sorted(read.values()) == sorted(written)


def test_an_operator_fences_a_dead_site_without_waiting(own_cluster):
    cluster = own_cluster
    topic = cluster.create("orders", 1)
    cluster[NEXT].kill()
    clients.Confluent.write(cluster[HOME].address(), topic, 0, [f"n/{n}" for n in range(10)])
    said = run("site", "fence", NEXT, "--admin", cluster[HOME].data)
    assert f"{NEXT} is fenced" in said, said
    eventually("the merged log goes on", lambda: cluster[FAR].ends(topic)[0] == 10)
    refused = run("site", "fence", "nowhere", "--admin", cluster[HOME].data, check=False)
    assert refused.returncode != 0 and "no site nowhere" in refused.stderr, refused.stderr

    cluster[NEXT].start().wait_ready()
    clients.Confluent.write(cluster[NEXT].address(), topic, 0, ["back"])
    cluster.converge(topic, 11)
    cluster.verify()
