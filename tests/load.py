"""Producers under load, each library with idempotence on and otherwise as its users leave it.

A producer writes numbered values until told to stop and keeps those that were acknowledged. What it was not sure of may be in
the log or not; what was acknowledged must be there, and nothing may be there twice.
"""

import subprocess
import threading
import time

import confluent_kafka
import kafka

PAUSE_S = 0.02

# A client learns that its home is back when it next asks for metadata: after five minutes where nobody says otherwise. No test
# waits that long, so this one option is set.
METADATA_AGE_MS = 2000


class Load:
    """One producer in a thread of its own."""

    name = None

    def __init__(self, bootstrap, topic, partition, label=""):
        self.bootstrap, self.topic, self.partition, self.label = bootstrap, topic, partition, label
        self.sent, self.acked, self.failed = 0, set(), []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        """Stops, waits for what is on the way, and gives the acknowledged values."""
        self._stop.set()
        self._thread.join(timeout=180)
        assert not self._thread.is_alive(), f"{self.name} does not come to an end"
        assert not self.failed, f"{self.name}: {len(self.failed)} records failed: {self.failed[:3]}"
        return self.acked

    def _values(self):
        while not self._stop.is_set():
            self.sent += 1
            yield f"{self.name}/{self.label}{self.sent}"
            time.sleep(PAUSE_S)


class ConfluentLoad(Load):
    name = "confluent-kafka"

    def _run(self):
        producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "topic.metadata.refresh.interval.ms": METADATA_AGE_MS,
            }
        )

        def delivered(error, message):
            if error is None:
                self.acked.add(message.value().decode())
            else:
                self.failed.append(str(error))

        for value in self._values():
            producer.produce(self.topic, value, partition=self.partition, on_delivery=delivered)
            producer.poll(0)
        left = producer.flush(120)
        if left:
            self.failed.append(f"{left} without an answer")


class KafkaPythonLoad(Load):
    name = "kafka-python"

    def _run(self):
        producer = kafka.KafkaProducer(
            bootstrap_servers=self.bootstrap.split(","),
            acks="all",
            enable_idempotence=True,
            metadata_max_age_ms=METADATA_AGE_MS,
        )
        for value in self._values():
            answer = producer.send(self.topic, value.encode(), partition=self.partition)
            answer.add_callback(lambda _, value=value: self.acked.add(value))
            answer.add_errback(lambda error, value=value: self.failed.append(f"{value}: {error!r}"))
        producer.flush(timeout=120)
        producer.close(timeout=30)


class KcatLoad(Load):
    """kcat says at its end only whether all was delivered."""

    name = "kcat"

    def _run(self):
        process = subprocess.Popen(
            ["kcat", "-P", "-b", self.bootstrap, "-t", self.topic, "-p", str(self.partition)]
            + ["-X", "enable.idempotence=true", "-X", f"topic.metadata.refresh.interval.ms={METADATA_AGE_MS}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = []
        reading = threading.Thread(target=lambda: said.extend(process.stderr), daemon=True)
        reading.start()
        written = []
        for value in self._values():
            process.stdin.write(value + "\n")
            process.stdin.flush()
            written.append(value)
        process.stdin.close()
        code = process.wait(timeout=120)
        reading.join(timeout=10)
        if code == 0:
            self.acked.update(written)
        else:
            self.failed.append(f"exit {code}: {''.join(said)[-500:]}")


ALL = (KcatLoad, ConfluentLoad, KafkaPythonLoad)
