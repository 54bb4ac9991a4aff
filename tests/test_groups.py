"""Consumer groups over regions: members at several sites share the partitions; neither a coordinator's death nor that of all
sites at once costs an offset or a member."""

import threading

import confluent_kafka
import kafka
import pytest

import clients
import load
from cluster import NAMES, eventually

PARTITIONS = 4
EACH = 50


class Member:
    """A consumer in a thread. Reads only while the gate is open, commits what it has read, and keeps what it saw."""

    def __init__(self, bootstrap, topic, group, gate):
        self.bootstrap, self.topic, self.group, self.gate = bootstrap, topic, group, gate
        self.assigned, self.seen, self.committed, self.errors = set(), [], {}, []
        self.holds = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join(timeout=60)
        assert not self._thread.is_alive(), "a member does not come to an end"


class ConfluentMember(Member):
    name = "confluent-kafka"

    def _run(self):
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": self.group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": 6000,
            }
        )

        def assign(_, partitions):
            self.assigned = {p.partition for p in partitions}

        def revoke(*_):
            self.assigned = set()

        consumer.subscribe([self.topic], on_assign=assign, on_revoke=revoke, on_lost=revoke)
        while not self._stop.is_set():
            may_read = self.gate.is_set()
            (consumer.resume if may_read else consumer.pause)(consumer.assignment())
            self.holds = not may_read
            message = consumer.poll(0.2)
            if message is None or message.error() is not None:
                continue
            place = (message.partition(), message.offset())
            self.seen.append((*place, message.value().decode()))
            try:
                consumer.commit(message=message, asynchronous=False)
                self.committed[place[0]] = place[1] + 1
            except confluent_kafka.KafkaException as error:
                self.errors.append(str(error))
        consumer.close()


class KafkaPythonMember(Member):
    name = "kafka-python"

    def _run(self):
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=self.bootstrap.split(","),
            group_id=self.group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            max_poll_records=1,
        )
        consumer.subscribe([self.topic])
        while not self._stop.is_set():
            may_read = self.gate.is_set()
            (consumer.resume if may_read else consumer.pause)(*consumer.assignment())
            self.holds = not may_read
            polled = consumer.poll(timeout_ms=200)
            self.assigned = {p.partition for p in consumer.assignment()}
            for partition, records in polled.items():
                for record in records:
                    self.seen.append((record.partition, record.offset, record.value.decode()))
                try:
                    at = records[-1].offset + 1
                    consumer.commit({partition: kafka.OffsetAndMetadata(at, "", -1)})
                    self.committed[partition.partition] = at
                except kafka.errors.KafkaError as error:
                    self.errors.append(repr(error))
        consumer.close()


def share(members):
    """Whether the members have all partitions between them, each some and none twice."""
    sets = [set(member.assigned) for member in members]
    return all(sets) and sum(map(len, sets)) == PARTITIONS and set().union(*sets) == set(range(PARTITIONS))


def coordinator(cluster, group):
    """Which living site coordinates a group, as all living sites say."""
    said = set()
    for site in cluster.sites:
        if site.runs():
            said |= {g["coordinator"] for g in site.groups() if g["group"] == group}
    return said.pop() if len(said) == 1 else None


@pytest.mark.parametrize("kind", [ConfluentMember, KafkaPythonMember], ids=lambda kind: kind.name)
def test_a_group_over_two_sites_goes_on_at_the_same_offsets_after_its_coordinator_dies(own_cluster, kind):
    cluster = own_cluster
    topic, group = cluster.create("work", PARTITIONS), f"workers-{kind.name}"
    half = EACH // 2

    def write(start):
        for partition in range(PARTITIONS):
            values = [f"{partition}/{number}" for number in range(start, start + half)]
            clients.Confluent.write(cluster.bootstrap("eu-west"), topic, partition, values)
        cluster.converge(topic, PARTITIONS * (start + half))

    def committed():
        return {p: max(member.committed.get(p, 0) for member in members) for p in range(PARTITIONS)}

    write(0)
    gate = threading.Event()
    members = [kind(cluster.bootstrap(home), topic, group, gate) for home in NAMES[:2]]
    try:
        eventually("two members at two sites share the partitions", lambda: share(members))
        gate.set()
        eventually("they commit all there is", lambda: set(committed().values()) == {half})
        gate.clear()
        eventually("they stand still", lambda: all(member.holds for member in members))
        write(half)
        where = eventually("all sites name one coordinator", lambda: coordinator(cluster, group))
        seen_before = [len(member.seen) for member in members]

        cluster[where].kill()
        eventually("another site coordinates", lambda: coordinator(cluster, group) not in (None, where))
        gate.set()

        def all_seen():
            places = {place[:2] for member in members for place in member.seen}
            return len(places) == PARTITIONS * EACH

        eventually("the rest is read", all_seen)
        for member, count in zip(members, seen_before):
            for partition, offset, _ in member.seen[count:]:
                assert offset >= half, f"{partition}/{offset} was committed before and read again"
        eventually("it is shared again", lambda: share(members))
        cluster[where].start().wait_ready()
    finally:
        for member in members:
            member.stop()
    values = {(partition, offset): value for member in members for partition, offset, value in member.seen}
    assert values == {(p, n): f"{p}/{n}" for p in range(PARTITIONS) for n in range(EACH)}


def test_a_member_that_commits_while_all_sites_are_killed_reads_on_when_they_are_back(own_cluster):
    cluster = own_cluster
    topic, group = cluster.create("work", PARTITIONS), "workers-all-killed"
    gate = threading.Event()
    gate.set()
    members = [ConfluentMember(cluster.bootstrap(home), topic, group, gate) for home in NAMES]
    running = [load.ConfluentLoad(cluster.bootstrap("eu-west"), topic, partition).start() for partition in range(PARTITIONS)]
    try:
        for _ in range(3):
            before = [len(member.seen) for member in members]
            grown = lambda: all(len(member.seen) > count + 20 for member, count in zip(members, before))
            eventually("every member reads", grown)
            for site in cluster.sites:
                site.kill()
            for site in cluster.sites:
                site.start()
            for site in cluster.sites:
                site.wait_ready()
        before = [len(member.seen) for member in members]
        eventually("every member reads on", grown)
    finally:
        for writer in running:
            writer.stop()
        for member in members:
            member.stop()
