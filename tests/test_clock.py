"""Clocks that are wrong, of real processes: what comes from the future is held back, not lost, and who is set right goes on."""

import pytest

import clients
from cluster import NAMES, Cluster, eventually, run

HOME, NEXT, FAR = NAMES


@pytest.fixture
def shifted(tmp_path_factory, request):
    """Three sites whose clocks can be set; the last one's starts as far off as the test says."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        for site in cluster.sites:
            site.shift_clock(0)
        cluster[FAR].shift_clock(request.param)
        yield cluster.found()
    finally:
        cluster.close()


def alarms(site):
    return " / ".join(site.status()["alarms"])


@pytest.mark.parametrize("shifted", [8_000], indirect=True)
def test_what_comes_from_a_clock_ahead_of_the_bound_is_held_back_and_not_lost(shifted):
    cluster = shifted
    run("topic", "create", "orders", "--partitions", 1, "--bootstrap", cluster[HOME].address())
    eventually("the site ahead knows the topic", lambda: "orders" in run("topic", "list", "--bootstrap", cluster[FAR].address(FAR)))
    clients.Confluent.write(cluster[FAR].address(), "orders", 0, ["from the future"])
    for name in (HOME, NEXT):
        said = eventually(f"{name} raises an alarm", lambda: alarms(cluster[name]))
        assert "held back" in said and FAR in said and "one of the two clocks is wrong" in said, said
    clients.Confluent.write(cluster[HOME].address(), "orders", 0, ["meanwhile"])
    assert clients.end(cluster[HOME].address(), f"{FAR}.orders", 0) == 0, "nothing of it is taken in early"
    cluster[FAR].shift_clock(0)
    cluster.converge("orders", 2)
    clients.Confluent.write(cluster[FAR].address(), "orders", 0, ["set right"])
    cluster.converge("orders", 3)
    cluster.verify()


@pytest.mark.parametrize("shifted", [0], indirect=True)
def test_a_clock_that_was_behind_is_believed_once_it_shows_what_the_others_show(shifted):
    cluster = shifted
    far = cluster[FAR]
    far.kill()
    far.shift_clock(-20_000)
    far.start()
    run("topic", "create", "orders", "--partitions", 1, "--bootstrap", cluster[HOME].address())
    eventually("it holds the others' entries back", lambda: "held back" in alarms(far))
    eventually("it takes no writes", lambda: "behind what other sites show" in far.readiness())
    far.shift_clock(0)
    eventually("it believes its clock", lambda: "other site(s) show the same time: it is believed" in far.said(100_000))
    eventually("it knows the topic", lambda: "orders" in run("topic", "list", "--bootstrap", far.address(FAR)))
    clients.Confluent.write(far.address(), "orders", 0, ["set right"])
    cluster.converge("orders", 1)
    cluster.verify()


@pytest.mark.parametrize("shifted", [0], indirect=True)
def test_clients_of_a_site_whose_clock_is_set_back_write_elsewhere_until_it_is_set_right(shifted):
    cluster = shifted
    topic, far = cluster.create("orders", 1), cluster[FAR]
    clients.Confluent.write(far.address(), topic, 0, ["before"])
    far.shift_clock(-6_700)
    eventually("it takes no writes", lambda: "behind what other sites show" in far.readiness())
    assert "behind what other sites show" in alarms(far)
    clients.Confluent.write(far.address(), topic, 0, ["meanwhile"])
    assert clients.end(far.address(), f"{FAR}.{topic}", 0) == 1, "another site has taken it"
    far.shift_clock(0)
    eventually("it takes writes again", lambda: far.readiness() == "ok")
    assert alarms(far) == ""
    clients.Confluent.write(far.address(), topic, 0, ["set right"])
    cluster.converge(topic, 3)
    cluster.verify()


@pytest.mark.parametrize("shifted", [0], indirect=True)
def test_a_clock_that_nobody_confirms_waits_for_an_operator(shifted):
    cluster = shifted
    topic = cluster.create("orders", 1)
    refused = run("site", "accept-clock", "--admin", cluster[HOME].data, check=False)
    assert refused.returncode == 1 and "has not jumped" in refused.stderr, refused
    for site in cluster.sites:
        site.shift_clock(60_000)
    for site in cluster.sites:
        eventually(f"{site.name} does not believe it", lambda: "meridian site accept-clock" in site.readiness())
        assert "meridian site accept-clock" in run("site", "status", "--admin", site.data)
    said = run("site", "accept-clock", "--admin", cluster[HOME].data)
    assert "accepted" in said, said
    for site in cluster.sites:
        eventually(f"{site.name} goes on, with one who knows", lambda: site.readiness() == "ok")
        clients.Confluent.write(site.address(), topic, 0, [f"at {site.name}"])
    cluster.converge(topic, 3)
    cluster.verify()
