"""A site dies under load: its producers carry on at the next one and come home later; nothing acknowledged is lost or doubled."""

import clients
import load
from cluster import NAMES, eventually

HOME, NEXT, FAR = NAMES


def newest(cluster, site, log, partitions=range(len(load.ALL))):
    """How many records of a log a client at that site can read, in all these partitions."""
    return sum(clients.end(cluster[site].address(), log, partition) for partition in partitions)


def test_producers_move_on_and_come_home_and_nothing_is_lost_or_doubled(own_cluster):
    cluster = own_cluster
    topic = cluster.create("orders", len(load.ALL))
    loads = [kind(cluster.bootstrap(HOME), topic, at).start() for at, kind in enumerate(load.ALL)]
    eventually("producers write at home", lambda: newest(cluster, FAR, f"{HOME}.{topic}") > 60)
    assert newest(cluster, FAR, f"{NEXT}.{topic}") == 0, "no client wanders while its home lives"

    cluster[HOME].kill()
    for at, running in enumerate(loads):
        moved = lambda: newest(cluster, FAR, f"{NEXT}.{topic}", [at]) > 10
        eventually(f"{running.name} carries on at {NEXT}, and {FAR} can read it there", moved)

    merged = newest(cluster, NEXT, topic)
    before = newest(cluster, FAR, f"{NEXT}.{topic}")
    eventually("the origin log of a living site goes on", lambda: newest(cluster, FAR, f"{NEXT}.{topic}") > before + 20)
    assert newest(cluster, NEXT, topic) == merged, "the merged log waits for the silent site"

    cluster[HOME].start().wait_ready()
    at_return = newest(cluster, HOME, f"{HOME}.{topic}")
    eventually("merged readers go on", lambda: newest(cluster, FAR, topic) > merged + 60)
    eventually("producers come home", lambda: newest(cluster, HOME, f"{HOME}.{topic}") > at_return + 60)

    acked = set().union(*[running.stop() for running in loads])
    cluster.converge(topic, len(acked))
    cluster.verify()
    total = sum(cluster[HOME].ends(topic).values())
    for site in NAMES:
        values = list(clients.Confluent.read(cluster.bootstrap(site), topic, len(load.ALL), total).values())
        assert len(values) == len(set(values)), f"doubled at {site}"
        assert acked <= set(values), f"lost at {site}: {sorted(acked - set(values))[:5]}"


def test_killed_at_any_moment_a_site_comes_back_with_all_it_acknowledged(own_cluster):
    cluster = own_cluster
    topic = cluster.create("orders", 2)
    acked = set()
    for life, victim in enumerate((HOME, FAR, HOME)):
        # Each producer knows its own site only: what it was told there must outlive the kill there.
        loads = [
            load.ConfluentLoad(cluster[site].address(), topic, at, f"{site}/{life}/").start()
            for at, site in enumerate((HOME, FAR))
        ]
        eventually("both have written", lambda: all(len(running.acked) > 30 for running in loads))
        cluster[victim].kill()
        cluster[victim].start().wait_ready()
        eventually("the victim takes writes again", lambda: all(running.sent > 100 for running in loads))
        for running in loads:
            acked |= running.stop()
    cluster.converge(topic, len(acked))
    cluster.verify()
    for site in NAMES:
        values = list(clients.KafkaPython.read(cluster.bootstrap(site), topic, 2, sum(cluster[site].ends(topic).values())).values())
        assert len(values) == len(set(values)), f"doubled at {site}"
        assert acked <= set(values), f"lost at {site}: {sorted(acked - set(values))[:5]}"


def test_a_cut_off_region_goes_on_writing_and_all_is_alike_after_the_heal(own_cluster):
    cluster = own_cluster
    topic = cluster.create("orders", 1)
    clients.Confluent.write(cluster[HOME].address(), topic, 0, ["before"])
    cluster.converge(topic, 1)
    cluster.wan.cut(cluster[FAR])
    eventually("the others notice", lambda: len(cluster[HOME].status()["alive"]) == 2)
    clients.Confluent.write(cluster[FAR].address(), topic, 0, [f"alone/{n}" for n in range(10)])
    clients.Confluent.write(cluster[HOME].address(), topic, 0, [f"together/{n}" for n in range(10)])
    own = clients.Confluent.read(cluster[FAR].address(), f"{FAR}.{topic}", 1, 10)
    assert len(own) == 10, "the cut-off site's own log goes on where it is"
    seen = clients.Confluent.read(cluster[NEXT].address(), f"{HOME}.{topic}", 1, 11)
    assert len(seen) == 11, "the others' logs go on among themselves"
    for site in NAMES:
        assert cluster[site].ends(topic) == {0: 1}, "the merged log waits everywhere"
    blocker = eventually("someone is named", lambda: cluster[HOME].status()["blocker"])
    assert blocker["site"] == FAR, blocker
    cluster.wan.heal(cluster[FAR])
    cluster.converge(topic, 21)
    cluster.verify()


def test_a_rolling_restart_loses_nothing_and_stalls_nobody(own_cluster):
    cluster = own_cluster
    topic = cluster.create("orders", 1)
    running = load.ConfluentLoad(cluster.bootstrap(HOME), topic, 0).start()
    eventually("it writes", lambda: len(running.acked) > 30)
    for site in (NEXT, FAR, HOME):
        assert cluster[site].stop() == 0, "a clean stop ends with exit code 0"
        living = next(name for name in NAMES if name != site)
        end = cluster[living].ends(topic)[0]
        eventually(f"merged reading goes on without {site}", lambda: cluster[living].ends(topic)[0] > end + 30)
        cluster[site].start().wait_ready()
        eventually("it is back among the others", lambda: all(len(s.status()["alive"]) == 3 for s in cluster.sites))
    acked = running.stop()
    cluster.converge(topic, len(acked))
    cluster.verify()
    values = list(clients.Confluent.read(cluster.bootstrap(FAR), topic, 1, cluster[FAR].ends(topic)[0]).values())
    assert len(values) == len(set(values)) and acked <= set(values)
