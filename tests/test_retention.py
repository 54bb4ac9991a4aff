"""A log begins at the same offset everywhere: after records were deleted, and after they have been kept for long enough."""

import confluent_kafka
import confluent_kafka.admin

import clients
from cluster import NAMES, eventually, run

HOME, NEXT, FAR = NAMES


def start(site, topic, partition=0):
    """The first offset that is there, as a client is told it."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": site.address(), "group.id": "looking"})
    try:
        return consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, partition), timeout=10)[0]
    finally:
        consumer.close()


def test_deleted_records_are_gone_everywhere_and_readers_begin_behind_them(cluster):
    topic = cluster.create("cut", 1)
    clients.Confluent.write(cluster[HOME].address(), topic, 0, [f"{n}" for n in range(10)])
    cluster.converge(topic, 10)
    client = confluent_kafka.admin.AdminClient({"bootstrap.servers": cluster[NEXT].address()})
    answers = client.delete_records([confluent_kafka.TopicPartition(topic, 0, 7)])
    assert [answer.result(timeout=30).low_watermark for answer in answers.values()] == [7]
    for site in cluster.sites:
        eventually(f"{site.name} begins at 7", lambda: start(site, topic) == 7)
    clients.Confluent.write(cluster[FAR].address(), topic, 0, ["more"])
    eventually("more is readable", lambda: clients.end(cluster[HOME].address(), topic, 0) == 11)
    # A reader that wants what is gone is told so, and begins where its policy says.
    reader = confluent_kafka.Consumer(
        {"bootstrap.servers": cluster[HOME].address(), "group.id": "late", "auto.offset.reset": "earliest"}
    )
    reader.assign([confluent_kafka.TopicPartition(topic, 0, 2)])
    try:
        first = eventually("something is read", lambda: reader.poll(1.0))
        assert first.error() is None and first.offset() >= 7
    finally:
        reader.close()
    cluster.verify()


def test_records_go_when_their_time_is_over_though_nobody_writes(cluster):
    topic = cluster.create("short", 1)
    run("topic", "alter", topic, "--set", "retention.ms=1000", "--bootstrap", cluster[HOME].address())
    clients.Confluent.write(cluster[HOME].address(), topic, 0, [f"{n}" for n in range(5)])
    eventually("they are readable", lambda: clients.end(cluster[FAR].address(), topic, 0) == 5)
    for site in cluster.sites:
        eventually(f"they are gone at {site.name}", lambda: start(site, topic) == 5)
    cluster.verify()
