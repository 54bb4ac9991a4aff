"""One of two regions is lost: the other goes on by an operator's decision, and two histories never become one by accident."""

import json

import clients
from cluster import NAMES, eventually, run

HOME, NEXT = NAMES[:2]


def members(site):
    return sorted(site.status()["members"])


def force(site, lost):
    return run("site", "fence", lost, "--forced", "--yes", "--who", "eve", "--admin", site.data)


def write(site, topic, what, count=20):
    values = [f"{what}/{n}" for n in range(count)]
    clients.Confluent.write(site.address(), topic, 0, values)
    return values


def test_one_of_two_goes_on_and_the_lost_ones_tail_comes_in_once(two_sites):
    cluster = two_sites
    topic = cluster.create("orders", 1)
    stays, lost = cluster[HOME], cluster[NEXT]
    written = write(stays, topic, "before") + write(lost, topic, "before there")
    cluster.converge(topic, 40)

    alive = run("site", "fence", NEXT, "--forced", "--yes", "--admin", stays.data, check=False)
    assert alive.returncode != 0 and "answers" in alive.stderr, alive.stderr
    cluster.wan.cut(lost)
    written += write(lost, topic, "alone")
    lost.kill()
    cluster.wan.heal(lost)
    written += write(stays, topic, "others")
    asked = run("site", "fence", NEXT, "--forced", "--admin", stays.data, check=False)
    assert asked.returncode != 0 and "--yes" in asked.stderr and "will end before entry" in asked.stderr, asked.stderr
    eventually("the link is down", lambda: not stays.status()["peers"][0]["up"])
    mild = run("site", "fence", NEXT, "--admin", stays.data, check=False)
    assert mild.returncode != 0 and "--forced" in mild.stderr, mild.stderr
    assert stays.ends(topic)[0] == 40, "it takes both"

    said = eventually("the lost one is silent for long enough", lambda: force(stays, NEXT))
    assert "members 2: eu-west" in said and "ends before entry" in said, said
    eventually("the other reads on", lambda: stays.ends(topic)[0] == 60)
    written += write(stays, topic, "after")
    eventually("and on", lambda: stays.ends(topic)[0] == 80)
    (record,) = stays.status()["given_up"]
    assert (record["site"], record["by"], record["who"], record["epoch"]) == (NEXT, HOME, "eve", 1)
    assert record["stands"] and f"{NEXT}.0" in record["held"], record
    assert "given up by eve at eu-west" in stays.said(20_000)
    assert f"given up      {NEXT}, by eve at {HOME}" in run("site", "status", "--admin", stays.data)

    lost.start()
    eventually("it learns that it was given up", lambda: "gave it up" in lost.readiness())
    assert lost.status()["given_up"][0]["who"] == "eve", "the decision is told"
    cluster.converge(topic, 100)
    cluster.verify()
    added = json.loads(eventually("it is added again", lambda: run("site", "add", NEXT, "--json", "--admin", stays.data)))
    assert added["epoch"] == 3 and sorted(added["members"]) == sorted([HOME, NEXT])
    lost.wait_ready()
    eventually("it writes in a fresh journal", lambda: lost.status()["journal"] == f"{NEXT}.1")
    written += write(lost, topic, "again")
    cluster.converge(topic, 120)
    cluster.verify()
    read = clients.Confluent.read(cluster.bootstrap(HOME), topic, 1, 120)
    assert sorted(read.values()) == sorted(written), "each once"


def test_two_halves_that_were_both_forced_stay_apart_until_one_is_chosen(two_sites):
    cluster = two_sites
    topic = cluster.create("orders", 1)
    one, other = cluster[HOME], cluster[NEXT]
    write(one, topic, "before")
    cluster.converge(topic, 20)
    cluster.wan.cut(other)
    write(one, topic, "here")
    write(other, topic, "there")
    eventually("one goes on", lambda: force(one, NEXT))
    eventually("and so does the other", lambda: force(other, HOME))
    for site in (one, other):
        eventually(f"{site.name} reads on", lambda: site.ends(topic)[0] == 40)
        assert members(site) == [site.name]

    cluster.wan.heal(other)
    for site in (one, other):
        eventually(f"{site.name} says so", lambda: any("cannot be one" in alarm for alarm in site.status()["alarms"]))
    write(one, topic, "on")
    eventually("it goes on alone", lambda: one.ends(topic)[0] == 60)
    assert other.ends(topic)[0] == 40, "nothing of it comes here"

    # One is chosen: the other's directory is kept aside, and can be read.
    assert other.stop() == 0
    aside = other.data.with_suffix(".aside")
    other.data.rename(aside)
    segments = sorted(aside.glob("logs/**/*.log"))
    records = "".join(run("dump", "segment", "--records", segment) for segment in segments).splitlines()
    assert "there/19" in records and "on/0" not in records, records
    run("join", "--config", other.config)
    other.start()
    eventually("an empty directory follows", lambda: other.ends(topic)[0] == 60)
    eventually("it is added", lambda: run("site", "add", NEXT, "--admin", one.data))
    other.wait_ready()
    write(other, topic, "chosen")
    cluster.converge(topic, 80)
    cluster.verify()
    values = list(clients.Confluent.read(cluster.bootstrap(HOME), topic, 1, 80).values())
    assert not any(value.startswith("there/") for value in values) and len(values) == 80
