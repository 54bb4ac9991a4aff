"""kafka-python as its users would use it: an idempotent producer and a group member.

Started by the chaos run with one JSON argument; see clients.rs for its fields.
"""

import json
import logging
import random
import sys
import threading
import time

import kafka
from kafka.errors import KafkaError

from diary import Diary, Numbers, Orders, Values, now_us, run, value_of

METADATA_AGE_MS = 2000
DELIVERY_MS = 30_000
UNANSWERED_MAX = 64

logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
told = json.loads(sys.argv[1])
site, topics, partitions = told["site"], told["topics"], told["partitions"]
numbers, orders, values = Numbers(told["first_process"]), Orders(told["state"], ["write"]), Values()


def some_place(dice):
    """Mostly the first topic: the others wait for other sites when they are acknowledged."""
    return dice.choices(topics, told["weights"])[0], dice.randrange(partitions)


def connected(make):
    """Makes a client; a library that wants a living broker at once is asked again until there is one."""
    while not orders.stopped():
        try:
            return make()
        except KafkaError:
            time.sleep(0.5)
    return None


def new_producer():
    return kafka.KafkaProducer(
        bootstrap_servers=told["bootstrap"].split(","),
        acks="all",
        enable_idempotence=True,
        metadata_max_age_ms=METADATA_AGE_MS,
        delivery_timeout_ms=DELIVERY_MS,
        request_timeout_ms=10_000,
        max_block_ms=DELIVERY_MS,
        linger_ms=5,
    )


def write():
    dice = random.Random(told["seed"] * 31 + 5)
    while orders.may_write("write"):
        producer = connected(new_producer)
        if producer is None:
            return
        process = numbers.take()
        diary, doubts, room = Diary(process, site), [], threading.Semaphore(UNANSWERED_MAX)
        while not doubts and orders.may_write("write", lambda: settle(producer)):
            room.acquire()
            (topic, partition), value = some_place(dice), values.next(process)
            call = diary.begin(sent=[[topic, partition, None, value]])

            def taken(metadata, call=call, spot=(topic, partition), value=value):
                offset = metadata.offset if metadata.offset >= 0 else None
                diary.end(call, "ok", sent=[[*spot, offset, value]])
                room.release()

            def doubted(error, call=call):
                doubts.append(error)
                diary.end(call, "info")
                room.release()

            try:
                answer = producer.send(topic, str(value).encode(), partition=partition)
            except KafkaError as error:
                doubted(error)
                break
            answer.add_callback(taken)
            answer.add_errback(doubted)
            time.sleep(dice.expovariate(told["rate"]))
        settle(producer)
        close(producer)


def settle(producer):
    try:
        producer.flush(timeout=1.2 * DELIVERY_MS / 1000)
    except KafkaError as error:
        print(f"write: {error!r}", file=sys.stderr, flush=True)


def close(producer):
    """What it could not deliver in time is in doubt already; that it says so once more must not end the writer."""
    try:
        producer.close(timeout=5)
    except KafkaError as error:
        print(f"close: {error!r}", file=sys.stderr, flush=True)


class Given(kafka.ConsumerRebalanceListener):
    def __init__(self, moved):
        self.moved = moved

    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        self.moved.extend((p.topic, p.partition) for p in assigned)


def follow():
    group = told["group"]
    make = lambda: kafka.KafkaConsumer(
        bootstrap_servers=told["bootstrap"].split(","),
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
        metadata_max_age_ms=METADATA_AGE_MS,
    )
    while not orders.stopped():
        consumer = connected(make)
        if consumer is None:
            return
        diary, moved = Diary(numbers.take(), site), []
        call = diary.begin(group=group)
        consumer.subscribe(topics, listener=Given(moved))
        diary.end(call, "ok")
        try:
            while not orders.stopped():
                began = now_us()
                polled = consumer.poll(timeout_ms=300)
                spots = [
                    [p.topic, p.partition, record.offset, value_of(record.value)]
                    for p, records in polled.items()
                    for record in records
                ]
                if spots or moved:
                    diary.whole(began, polled=spots, moved=list(moved))
                    moved.clear()
                if spots:
                    try:
                        consumer.commit(timeout_ms=10_000)
                    except KafkaError:
                        pass
        except KafkaError as error:
            print(f"follow: {error!r}; starting anew", file=sys.stderr, flush=True)
        finally:
            try:
                consumer.close(timeout_ms=5000)
            except KafkaError:
                pass


run([threading.Thread(target=task, name=task.__name__) for task in (write, follow)])
