"""A topic bounds what one site alone may have of it: a region that is cut off stops there, and goes on after the heal."""

import json

import confluent_kafka

import clients
from cluster import NAMES, eventually, run

HOME, NEXT, FAR = NAMES
BOUND = 20_000


def write_until_refused(address, topic):
    """Writes one record after the other, each acknowledged or given up by the client after two seconds."""
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": address, "message.timeout.ms": 2000, "request.timeout.ms": 1000, "retries": 0}
    )
    acknowledged = []
    for number in range(1000):
        answers = []
        value = f"{number:04}/" + "x" * 995
        producer.produce(topic, value, partition=0, on_delivery=lambda error, _: answers.append(error))
        producer.flush(10)
        if len(answers) != 1 or answers[0] is not None:
            return acknowledged, answers
        acknowledged.append(value)
    raise AssertionError("nothing was refused")


def test_a_cut_off_region_takes_no_more_than_the_bound_and_loses_nothing(own_cluster):
    cluster = own_cluster
    topic = cluster.create("payments", 1)
    setting = f"replication.max.unreplicated.bytes={BOUND}"
    run("topic", "alter", topic, "--set", setting, "--bootstrap", cluster[FAR].address())
    described = run("topic", "describe", topic, "--json", "--bootstrap", cluster[FAR].address())
    shown = {setting["name"]: setting["value"] for setting in json.loads(described)["settings"]}
    assert shown["replication.max.unreplicated.bytes"] == str(BOUND)
    clients.Confluent.write(cluster[FAR].address(), topic, 0, ["x" * 1000] * 100)
    eventually("others hold it", lambda: cluster[FAR].status()["unreplicated"][topic]["bytes"] == 0)

    cluster.wan.cut(cluster[FAR])
    acknowledged, answers = write_until_refused(cluster[FAR].address(), topic)
    assert 15 <= len(acknowledged) <= BOUND // 1000, (len(acknowledged), answers)
    assert cluster[FAR].status()["unreplicated"][topic]["bytes"] <= BOUND
    assert f'meridian_unreplicated_bytes{{site="{FAR}",topic="{topic}"}}' in cluster[FAR].get("/metrics")
    # Who is in touch writes on.
    clients.Confluent.write(cluster[HOME].address(), topic, 0, ["in touch"] * 50)

    cluster.wan.heal(cluster[FAR])
    clients.Confluent.write(cluster[FAR].address(), topic, 0, ["back"] * 50)
    cluster.converge(topic, 100 + len(acknowledged) + 100)
    read = clients.Confluent.read(cluster.bootstrap(HOME), topic, 1, 200 + len(acknowledged))
    values = list(read.values())
    assert all(value in values for value in acknowledged), "what was acknowledged is there"
    assert values.count("back") == 50
    cluster.verify()
