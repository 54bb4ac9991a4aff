"""confluent-kafka (librdkafka) as its users would use it: a producer, a reader that answers, a group member, and a nuisance.

Started by the chaos run with one JSON argument; see clients.rs for its fields.
"""

import json
import random
import sys
import threading
import time

import confluent_kafka as ck

from diary import Diary, Numbers, Orders, Values, now_us, run, value_of

# After five minutes where nobody says otherwise; no run waits that long for a client to come home.
METADATA_AGE_MS = 2000
DELIVERY_MS = 30_000
UNANSWERED_MAX = 64

# What a broker says of a record that it certainly did not take.
REFUSALS = {
    ck.KafkaError.MSG_SIZE_TOO_LARGE,
    ck.KafkaError.TOPIC_EXCEPTION,
    ck.KafkaError.TOPIC_AUTHORIZATION_FAILED,
    ck.KafkaError.INVALID_RECORD,
    ck.KafkaError.POLICY_VIOLATION,
}

told = json.loads(sys.argv[1])
site, topics, partitions = told["site"], told["topics"], told["partitions"]
numbers, orders, values = Numbers(told["first_process"]), Orders(told["state"], ["write", "answer", "annoy"]), Values()


def some_place(dice):
    """Mostly the first topic: the others wait for other sites when they are acknowledged."""
    return dice.choices(topics, told["weights"])[0], dice.randrange(partitions)


def common(**more):
    return {"bootstrap.servers": told["bootstrap"], "topic.metadata.refresh.interval.ms": METADATA_AGE_MS, **more}


def new_producer(**more):
    return ck.Producer(common(**{"enable.idempotence": True, "delivery.timeout.ms": DELIVERY_MS, "linger.ms": 5, **more}))


def offset_of(message):
    offset = message.offset()
    return offset if offset is not None and offset >= 0 else None


def write():
    """Writes at a steady rate, many unanswered at a time."""
    dice = random.Random(told["seed"] * 31 + 1)
    while orders.may_write("write"):
        process = numbers.take()
        diary, producer, doubts = Diary(process, site), new_producer(), []
        settle = lambda: producer.flush(2 * DELIVERY_MS / 1000)
        while not doubts and orders.may_write("write", settle):
            (topic, partition), value = some_place(dice), values.next(process)
            call = diary.begin(sent=[[topic, partition, None, value]])

            def answered(error, message, call=call, spot=(topic, partition), value=value):
                if error is None:
                    diary.end(call, "ok", sent=[[*spot, offset_of(message), value]])
                else:
                    doubts.append(error)
                    diary.end(call, "info")

            producer.produce(topic, str(value), partition=partition, on_delivery=answered)
            producer.poll(0)
            while len(producer) >= UNANSWERED_MAX:
                producer.poll(0.05)
            producer.poll(dice.expovariate(told["rate"]))
        settle()


def answer():
    """Reads merged and origin logs from their start, and now and then writes after what it has read."""
    dice = random.Random(told["seed"] * 31 + 2)
    logs = topics + [f"{origin}.{topic}" for origin in told["sites"] for topic in topics]
    consumer = ck.Consumer(common(**{"group.id": f"reader-{site}", "enable.auto.commit": False}))
    producer = new_producer()
    diary = Diary(numbers.take(), site)
    places = [(log, partition) for log in logs for partition in range(partitions)]
    call = diary.begin(assigned=places)
    consumer.assign([ck.TopicPartition(*place, ck.OFFSET_BEGINNING) for place in places])
    diary.end(call, "ok")
    while not orders.stopped():
        read_merged = poll(consumer, diary)
        may_write = orders.may_write_now()
        orders.rest("answer", not may_write)
        if not read_merged or not may_write or dice.random() > 0.3:
            continue
        (topic, partition), value = some_place(dice), values.next(diary.process)
        call, outcome = diary.begin(sent=[[topic, partition, None, value]]), []
        producer.produce(topic, str(value), partition=partition, on_delivery=lambda error, m: outcome.append((error, m)))
        producer.flush(2 * DELIVERY_MS / 1000)
        if outcome and outcome[0][0] is None:
            diary.end(call, "ok", sent=[[topic, partition, offset_of(outcome[0][1]), value]])
        else:
            diary.end(call, "info")
            diary, producer = Diary(numbers.take(), site), new_producer()
    consumer.close()


def poll(consumer, diary, moved=None):
    """One poll, written down. Gives whether it brought something of a merged log."""
    began = now_us()
    try:
        messages = [m for m in consumer.consume(num_messages=200, timeout=0.3) if m.error() is None]
    except ck.KafkaException:
        return False
    polled = [[m.topic(), m.partition(), m.offset(), value_of(m.value())] for m in messages]
    if polled or moved:
        diary.whole(began, polled=polled, moved=[*moved] if moved else [])
    if moved:
        moved.clear()
    return any(topic in topics for topic, _, _, _ in polled)


def follow():
    """A member of a group: reads what it is given, writes it down, then commits."""
    while not orders.stopped():
        diary, moved = Diary(numbers.take(), site), []
        group = told["group"]
        consumer = ck.Consumer(
            common(
                **{"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, "session.timeout.ms": 6000}
            )
        )
        call = diary.begin(group=group)
        given = lambda _, places: moved.extend((p.topic, p.partition) for p in places)
        consumer.subscribe(topics, on_assign=given)
        diary.end(call, "ok")
        while not orders.stopped():
            if poll(consumer, diary, moved):
                try:
                    consumer.commit(asynchronous=False)
                except ck.KafkaException:
                    pass
        consumer.close()


def annoy():
    """Writes what must be refused: into an origin log, and records that are too long."""
    dice = random.Random(told["seed"] * 31 + 4)
    producer = new_producer(**{"enable.idempotence": False, "message.max.bytes": 4 << 20, "delivery.timeout.ms": 10_000})
    diary = Diary(numbers.take(), site)
    while orders.may_write("annoy"):
        (topic, partition), value = some_place(dice), values.next(diary.process)
        to, padding = (f"{site}.{topic}", 0) if dice.random() < 0.8 else (topic, 1_200_000)
        call, outcome = diary.begin(sent=[[topic, partition, None, value]]), []
        try:
            producer.produce(
                to, f"{value} " + "x" * padding, partition=partition, on_delivery=lambda error, _: outcome.append(error)
            )
            producer.flush(30)
        except ck.KafkaException as error:
            outcome.append(error.args[0])
        refused = bool(outcome) and outcome[0] is not None and outcome[0].code() in REFUSALS
        taken = bool(outcome) and outcome[0] is None
        diary.end(call, "fail" if refused else "ok" if taken else "info")
        if not refused and not taken:
            diary = Diary(numbers.take(), site)
        time.sleep(dice.uniform(0.5, 3))


run([threading.Thread(target=task, name=task.__name__) for task in (write, answer, follow, annoy)])
