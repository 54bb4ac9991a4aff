"""A compacted topic keeps the latest record of every key, at its offset, and the same at every site."""

import json

import confluent_kafka
import kafka
import kafka.errors
import pytest

from cluster import NAMES, eventually, run

HOME, NEXT, FAR = NAMES
KEYS = 20


def create(cluster, topic):
    settings = ["cleanup.policy=compact", "min.cleanable.dirty.ratio=0.01", "delete.retention.ms=0"]
    given = [word for setting in settings for word in ("--set", setting)]
    run("topic", "create", topic, "--partitions", 1, *given, "--bootstrap", cluster[HOME].address())
    for site in cluster.sites:
        listed = lambda: topic in run("topic", "list", "--json", "--bootstrap", site.address())
        eventually(f"{site.name} knows {topic}", listed)


def write(site, topic, pairs):
    producer = kafka.KafkaProducer(bootstrap_servers=site.address(), acks="all")
    try:
        sent = [producer.send(topic, key=key.encode(), value=value and value.encode(), partition=0) for key, value in pairs]
        for answer in sent:
            answer.get(timeout=60)
    finally:
        producer.close(timeout=10)


def read_all(site, topic, end):
    """All that is there, as offset -> (key, value), read to the end."""
    consumer = kafka.KafkaConsumer(bootstrap_servers=site.address(), auto_offset_reset="earliest", enable_auto_commit=False)
    partition = kafka.TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    found = {}
    try:

        def whole():
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    found[record.offset] = (record.key.decode(), record.value and record.value.decode())
            return consumer.position(partition) >= end

        eventually(f"{topic} is read to the end at {site.name}", whole)
    finally:
        consumer.close()
    return found


def digest(site, topic):
    return json.loads(site.get(f"/v1/digests?topic={topic}"))[0]


def compacted(cluster, topic, above):
    """Waits until every site stands at one generation above this one, and gives it."""

    def alike():
        stand = [(it["generation"], it["compacted"]) for it in (digest(site, topic) for site in cluster.sites)]
        return stand[0] if stand[0][0] > above and stand == [stand[0]] * 3 else None

    return eventually("all sites have compacted alike", alike)[0]


def test_the_latest_of_every_key_is_kept_at_its_offset_at_all_sites(cluster):
    topic = "prices"
    create(cluster, topic)
    latest = {}
    for round in range(5):
        for site in cluster.sites:
            pairs = [(f"key-{key}", f"{round} of {site.name}") for key in range(KEYS)]
            write(site, topic, pairs)
            # The next site writes when this is in the common order everywhere: so it is known which is the latest.
            end = (round * 3 + cluster.sites.index(site) + 1) * KEYS
            for other in cluster.sites:
                eventually("it is readable", lambda: other.ends(topic)[0] == end)
            latest.update(pairs)
    end = 15 * KEYS
    generation = compacted(cluster, topic, 0)
    logs = [read_all(site, topic, end) for site in cluster.sites]
    assert logs[0] == logs[1] == logs[2]
    assert KEYS <= len(logs[0]) < end, "superseded records are gone"
    for key, value in latest.items():
        offsets = [offset for offset, record in logs[0].items() if record == (key, value)]
        assert offsets and offsets[0] >= end - KEYS, f"the latest of {key} is where it was written"
    cluster.verify()

    # A deleted key: its tombstone stays in the first pass that covers it, and goes in a later one.
    write(cluster[NEXT], topic, [("key-3", None)])
    write(cluster[NEXT], topic, [("key-x", "behind it")])
    end += 2
    generation = compacted(cluster, topic, generation)
    assert ("key-3", None) in read_all(cluster[HOME], topic, end).values()
    for round in range(4):
        write(cluster[NEXT], topic, [("key-x", f"{round}")])
        end += 1
        generation = compacted(cluster, topic, generation)
    logs = [read_all(site, topic, end) for site in cluster.sites]
    assert logs[0] == logs[1] == logs[2]
    assert not any(key == "key-3" for key, _ in logs[0].values()), logs[0]
    # A site that was killed makes the same of it.
    cluster[FAR].kill()
    cluster[FAR].start().wait_ready()
    cluster.converge(topic, end)
    assert read_all(cluster[FAR], topic, end) == logs[0]
    cluster.verify()


def test_records_without_a_key_are_refused(cluster):
    topic = "keyed"
    create(cluster, topic)
    producer = kafka.KafkaProducer(bootstrap_servers=cluster[HOME].address())
    with pytest.raises(kafka.errors.KafkaError) as refused:
        producer.send(topic, value=b"no key", partition=0).get(timeout=30)
    producer.close(timeout=10)
    assert "INVALID_RECORD" in repr(refused.value).upper() or "InvalidRecord" in repr(refused.value), refused.value
    failures = []
    strict = confluent_kafka.Producer({"bootstrap.servers": cluster[HOME].address()})
    strict.produce(topic, "no key", partition=0, on_delivery=lambda error, _: failures.append(error))
    strict.flush(30)
    assert failures and failures[0].code() == confluent_kafka.KafkaError.INVALID_RECORD, failures
