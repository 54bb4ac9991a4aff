"""Two regions and a witness: when one is lost the other goes on by itself, never both, and who is back is a member again."""

import socket

import clients
from cluster import NAMES, PORTS, eventually, run

HOME, NEXT, WITNESS = NAMES


def members(site):
    return sorted(site.status()["members"])


def write(site, topic, what, count=20):
    values = [f"{what}/{n}" for n in range(count)]
    clients.Confluent.write(site.address(), topic, 0, values)
    return values


def held_once(cluster, topic, written):
    """Every site reads all that was written, at the same offsets, each once."""
    cluster.converge(topic, len(written))
    cluster.verify()
    read = clients.Confluent.read(cluster.bootstrap(HOME), topic, 1, len(written))
    assert sorted(read.values()) == sorted(written), "each once"


def test_a_region_dies_the_other_goes_on_by_itself_and_takes_it_back(witnessed):
    cluster = witnessed
    topic = cluster.create("orders", 1)
    stays, lost, witness = cluster[HOME], cluster[NEXT], cluster[WITNESS]
    written = write(stays, topic, "before") + write(lost, topic, "before there")
    cluster.converge(topic, 40)
    assert f"witness       {WITNESS}: it votes" in run("site", "status", "--admin", stays.data)
    assert stays.status()["witness"] == {"site": WITNESS, "lacks": None}
    # It takes no clients, and none are told of it.
    with socket.socket() as client:
        assert client.connect_ex((witness.host, PORTS[HOME])) != 0
    assert WITNESS not in run("site", "list", "--bootstrap", stays.address())

    # Without the witness nothing stops, and with it both have to hold what is read.
    witness.kill()
    written += write(stays, topic, "without the witness")
    cluster.converge(topic, 60)
    witness.start().wait_ready()

    cluster.wan.cut(lost)
    written += write(lost, topic, "alone")
    lost.kill()
    cluster.wan.heal(lost)
    written += write(stays, topic, "others")
    assert stays.ends(topic)[0] == 60, "it takes both"
    eventually("the other goes on", lambda: stays.ends(topic)[0] == 80, patience_s=40)
    eventually("it is the only member", lambda: members(stays) == [HOME])
    (record,) = stays.status()["given_up"]
    assert (record["site"], record["by"], record["who"]) == (NEXT, HOME, f"the witness {WITNESS}"), record
    written += write(stays, topic, "after")
    eventually("and on", lambda: stays.ends(topic)[0] == 100)

    lost.start()
    eventually("it is a member again", lambda: members(stays) == members(lost) == sorted([HOME, NEXT]))
    lost.wait_ready()
    eventually("it writes in a fresh journal", lambda: lost.status()["journal"] == f"{NEXT}.1")
    assert not stays.status()["given_up"][0]["stands"]
    written += write(lost, topic, "again")
    held_once(cluster, topic, written)
    assert any(turn["what"] == "adopted" and turn["journal"] == f"{NEXT}.0" for turn in stays.status()["turns"])
    assert not list(witness.data.glob("logs/**/*.log")), "the witness holds no records"


def test_of_two_regions_that_are_cut_from_each_other_one_goes_on(witnessed):
    cluster = witnessed
    topic = cluster.create("orders", 1)
    one, other = cluster[HOME], cluster[NEXT]
    written = write(one, topic, "before")
    cluster.converge(topic, 20)
    cluster.wan.between("cut", one, other)
    written += write(one, topic, "here") + write(other, topic, "there")
    goes_on = eventually("one goes on", lambda: next((s for s in (one, other) if members(s) == [s.name]), None))
    left = other if goes_on is one else one
    eventually("it reads on", lambda: goes_on.ends(topic)[0] == 40)
    eventually("the other says so", lambda: any("without this site" in alarm for alarm in left.status()["alarms"]))
    written += write(left, topic, "still taken")
    assert left.ends(topic)[0] == 20 and members(left) == sorted([HOME, NEXT]), "it shows nothing new"

    cluster.wan.between("heal", one, other)
    eventually("both are members", lambda: members(one) == members(other) == sorted([HOME, NEXT]))
    left.wait_ready()
    written += write(left, topic, "again")
    held_once(cluster, topic, written)
    assert not left.status()["alarms"], left.status()["alarms"]


def test_a_fence_by_hand_needs_no_force_and_a_founder_is_no_witness(witnessed):
    cluster = witnessed
    topic = cluster.create("orders", 1)
    stays, lost, witness = cluster[HOME], cluster[NEXT], cluster[WITNESS]
    refused = run("bootstrap", "--config", witness.config, check=False)
    assert refused.returncode != 0 and "meridian join" in refused.stderr, refused.stderr
    written = write(stays, topic, "before")
    cluster.converge(topic, 20)
    lost.kill()
    written += write(stays, topic, "on")
    said = eventually("it is fenced", lambda: run("site", "fence", NEXT, "--admin", stays.data))
    assert f"{NEXT} is fenced" in said, said
    eventually("the other reads on", lambda: stays.ends(topic)[0] == 40)
    lost.start().wait_ready()
    held_once(cluster, topic, written)
