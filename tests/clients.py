"""The strangers: kcat, confluent-kafka (librdkafka) and kafka-python, as their users would use them, behind one shape.

Each knows `write` (values to a partition, all acknowledged when it returns) and `read` (so many records from the start, as
(partition, offset) -> value). No option is set that an ordinary user would not set.
"""

import subprocess
import time

import confluent_kafka
import confluent_kafka.admin
import kafka

READ_PATIENCE_S = 90


def end(bootstrap, topic, partition):
    """The end of what is readable there, as a client is told it. Asks again while connections come and go."""
    deadline = time.monotonic() + READ_PATIENCE_S
    while True:
        consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "looking"})
        try:
            return consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, partition), timeout=10)[1]
        except confluent_kafka.KafkaException:
            if time.monotonic() > deadline:
                raise
        finally:
            consumer.close()


class Kcat:
    name = "kcat"

    @staticmethod
    def write(bootstrap, topic, partition, values):
        subprocess.run(
            ["kcat", "-P", "-b", bootstrap, "-t", topic, "-p", str(partition), "-X", "acks=all"],
            input="".join(value + "\n" for value in values),
            text=True,
            check=True,
            timeout=READ_PATIENCE_S,
        )

    @staticmethod
    def read(bootstrap, topic, partitions, count):
        done = subprocess.run(
            ["kcat", "-C", "-q", "-b", bootstrap, "-t", topic, "-o", "beginning", "-c", str(count), "-f", "%p %o %s\n"],
            capture_output=True,
            text=True,
            check=True,
            timeout=READ_PATIENCE_S,
        )
        lines = (line.split(" ", 2) for line in done.stdout.splitlines())
        return {(int(partition), int(offset)): value for partition, offset, value in lines}


def leader(bootstrap, topic):
    """The host of the site that a client is sent to."""
    known = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap}).list_topics(topic, timeout=READ_PATIENCE_S)
    return known.brokers[known.topics[topic].partitions[0].leader].host


class Confluent:
    name = "confluent-kafka"

    @staticmethod
    def write(bootstrap, topic, partition, values):
        failures = []
        producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
        for value in values:
            producer.produce(topic, value, partition=partition, on_delivery=lambda error, _: error and failures.append(error))
        assert producer.flush(READ_PATIENCE_S) == 0 and not failures, failures

    @staticmethod
    def read(bootstrap, topic, partitions, count):
        consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": f"reader-{time.monotonic_ns()}"})
        consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in range(partitions)])
        found, deadline = {}, time.monotonic() + READ_PATIENCE_S
        try:
            while len(found) < count and time.monotonic() < deadline:
                message = consumer.poll(0.5)
                if message is not None and message.error() is None:
                    found[message.partition(), message.offset()] = message.value().decode()
        finally:
            consumer.close()
        return found


class KafkaPython:
    name = "kafka-python"

    @staticmethod
    def write(bootstrap, topic, partition, values):
        producer = kafka.KafkaProducer(bootstrap_servers=bootstrap.split(","), acks="all", enable_idempotence=True)
        try:
            answers = [producer.send(topic, value.encode(), partition=partition) for value in values]
            for answer in answers:
                answer.get(timeout=READ_PATIENCE_S)
        finally:
            producer.close(timeout=10)

    @staticmethod
    def read(bootstrap, topic, partitions, count):
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=bootstrap.split(","), auto_offset_reset="earliest", enable_auto_commit=False
        )
        consumer.assign([kafka.TopicPartition(topic, partition) for partition in range(partitions)])
        found, deadline = {}, time.monotonic() + READ_PATIENCE_S
        try:
            while len(found) < count and time.monotonic() < deadline:
                for records in consumer.poll(timeout_ms=500).values():
                    for record in records:
                        found[record.partition, record.offset] = record.value.decode()
        finally:
            consumer.close()
        return found


ALL = (Kcat, Confluent, KafkaPython)
