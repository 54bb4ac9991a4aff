"""What should not be sent, and what should not be there: each is refused with words, and the site goes on."""

import contextlib
import os
import random
import resource
import shutil
import socket
import struct
import subprocess
import time

import confluent_kafka
import pytest
from kafka.record.default_records import DefaultRecordBatchBuilder

import clients
import load
from cluster import MERIDIAN, NAMES, eventually, readiness, run

HOME, NEXT, FAR = NAMES


def works(cluster, topic):
    """The cluster takes a record and shows it."""
    before = clients.end(cluster[HOME].address(), topic, 0)
    clients.Confluent.write(cluster.bootstrap(HOME), topic, 0, ["still here"])
    eventually("a new record is readable", lambda: clients.end(cluster[FAR].address(), topic, 0) > before)


@pytest.fixture(scope="module")
def topic(cluster):
    return cluster.create("edges", 1)


# --- what clients may do wrong


def test_an_unknown_topic_is_named_and_not_made_for_who_only_looks(cluster):
    for look in (("topic", "describe", "nowhere"), ("consume", "nowhere"), ("consume", "nowhere", "--group", "g")):
        refused = run(*look, "--bootstrap", cluster[HOME].address(), check=False)
        assert refused.returncode == 1 and "there is no topic nowhere" in refused.stderr, refused
    assert produce_raw(cluster[HOME].address(), "nowhere", batch_of(b"lost")) == 3
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": cluster[HOME].address(), "group.id": "g", "allow.auto.create.topics": False}
    )
    consumer.subscribe(["nowhere-either"])
    message = eventually("the client is told", lambda: consumer.poll(1.0))
    assert message.error().code() == confluent_kafka.KafkaError.UNKNOWN_TOPIC_OR_PART
    consumer.close()


def test_an_oversized_batch_is_refused_and_the_next_is_taken(cluster, topic):
    errors = []
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": cluster[HOME].address(), "message.max.bytes": 8_000_000, "batch.size": 8_000_000}
    )
    producer.produce(topic, os.urandom(3_000_000), on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(30) == 0
    assert errors[0].code() == confluent_kafka.KafkaError.MSG_SIZE_TOO_LARGE, errors
    works(cluster, topic)


def produce_raw(address, topic, batch, source=""):
    """A Produce request of version 3 by hand, from this address; gives the error code."""
    text = lambda value: struct.pack(">h", len(value)) + value.encode()
    body = struct.pack(">hhi", 0, 3, 7) + text("by hand")
    body += struct.pack(">hhi", -1, -1, 5000) + struct.pack(">i", 1) + text(topic)
    body += struct.pack(">iii", 1, 0, len(batch)) + batch
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0)) as stream:
        stream.sendall(struct.pack(">i", len(body)) + body)
        answer = stream.makefile("rb")
        size, correlation = struct.unpack(">ii", answer.read(8))
        answer = answer.read(size - 4)
    assert correlation == 7
    at = 4 + 2 + len(topic) + 4 + 4
    return struct.unpack(">h", answer[at : at + 2])[0]


def batch_of(value):
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 100_000)
    builder.append(0, 1_700_000_000_000, None, value, [])
    return bytes(builder.build())


def test_a_wrong_crc_is_a_corrupt_message_and_is_never_written(cluster, topic):
    good = batch_of(b"whole")
    bad = bytearray(batch_of(b"broken"))
    bad[-2] ^= 0x20
    assert produce_raw(cluster[HOME].address(), topic, good) == 0
    assert produce_raw(cluster[HOME].address(), topic, bytes(bad)) == 2
    works(cluster, topic)
    values = clients.Confluent.read(cluster.bootstrap(NEXT), topic, 1, clients.end(cluster[NEXT].address(), topic, 0))
    assert "whole" in values.values() and len([v for v in values.values() if "brok" in v.lower()]) == 0


def test_garbage_on_the_kafka_port_ends_that_connection_only(cluster, topic):
    chance = random.Random(11)
    host, port = cluster[HOME].address().split(":")
    for size in (1, 3, 4, 64, 5000):
        with socket.create_connection((host, int(port)), timeout=30) as stream:
            try:
                stream.sendall(chance.randbytes(size))
                stream.shutdown(socket.SHUT_WR)
                while stream.recv(4096):
                    pass
            except ConnectionError:
                pass  # Reset is as good an end as any.
    # A length that nobody could mean, and then silence.
    with socket.create_connection((host, int(port)), timeout=30) as stream:
        stream.sendall(struct.pack(">i", 0x7FFFFFFF))
        try:
            assert stream.recv(1) == b""
        except ConnectionError:
            pass
    works(cluster, topic)


def test_garbage_on_the_quic_port_is_passed_over(cluster, topic):
    chance = random.Random(12)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for _ in range(2000):
            out.sendto(chance.randbytes(chance.choice((1, 20, 100, 1200, 1472))), (cluster[HOME].host, 7400))
    works(cluster, topic)
    assert len(cluster[HOME].status()["alive"]) == 3


# --- what operators may do wrong


def serve_and_end(config, *settings):
    """`meridian serve` that is expected to refuse: gives what it said."""
    words = [word for setting in settings for word in ("--set", setting)]
    done = run("serve", "--config", config, *words, check=False)
    assert done.returncode not in (0, 101), done
    return done.stderr


def elsewhere(cluster, number):
    """Addresses that no site of the cluster uses."""
    host = f"{cluster.network}.{number}"
    return (f"listen.kafka={host}", f"listen.peer={host}:7400", f"listen.http={host}:9644")


def test_a_data_directory_in_use_is_refused_with_its_owner_named(cluster):
    said = serve_and_end(cluster[HOME].config, *elsewhere(cluster, 50))
    assert "in use" in said and str(cluster[HOME].process.pid) in said and str(cluster[HOME].data) in said, said


def test_a_port_in_use_is_named(cluster, tmp_path):
    config = cluster[HOME].write_config(path=tmp_path / "eu-west.toml", data=tmp_path / "data")
    run("bootstrap", "--config", config)
    said = serve_and_end(config)
    assert f"{cluster[HOME].host}:" in said and "listen" in said, said


def test_a_directory_that_was_never_founded_says_how(cluster, tmp_path):
    config = cluster[HOME].write_config(path=tmp_path / "eu-west.toml", data=tmp_path / "data")
    said = serve_and_end(config, *elsewhere(cluster, 51))
    assert "bootstrap" in said and "join" in said, said


def test_configuration_errors_name_the_place_and_the_cure(cluster, tmp_path):
    config = cluster[HOME].write_config(path=tmp_path / "x.toml", extra="[clok]\nbound_ms = 5\n")
    said = serve_and_end(config)
    assert "clok" in said and "clock" in said, said
    said = serve_and_end(cluster[HOME].config, "listen.kafka=10.1.2.3")
    assert "10.1.2.3" in said and "tls.kafka" in said, said
    said = serve_and_end(tmp_path / "missing.toml")
    assert "missing.toml" in said, said


def test_strangers_among_the_sites_are_refused(own_cluster, tmp_path):
    """Another authority's certificate, and another cluster's id: neither gets in, both learn why, the rest goes on."""
    cluster = own_cluster
    topic = cluster.create("orders", 1)
    works(cluster, topic)
    far = cluster[FAR]
    assert far.stop() == 0
    eventually("the others have noticed", lambda: len(cluster[HOME].status()["alive"]) == 2)

    run("cert", "dev", "--out", tmp_path / "certs", "--config", cluster[HOME].config)
    far.write_config(certs=tmp_path / "certs")
    far.start()
    eventually("it says that it is not trusted", lambda: "certificate" in far.said(100_000).lower())
    assert len(cluster[HOME].status()["alive"]) == 2, "a wrong authority gets nowhere"
    far.kill()

    other = "7e1a5d8e-3f6c-4f4f-8d7c-2f1c9e1f0c11"
    far.write_config(cluster_id=other, data=tmp_path / "data")
    run("bootstrap", "--config", far.config)
    far.start()
    eventually("it says which cluster it met", lambda: "cluster" in far.said(100_000) and cluster_named(far))
    assert len(cluster[HOME].status()["alive"]) == 2, "a wrong cluster id gets nowhere"
    far.kill()

    far.write_config()
    far.start().wait_ready()
    eventually("the right one is let in again", lambda: len(cluster[HOME].status()["alive"]) == 3)
    works(cluster, topic)
    cluster.verify()


def cluster_named(site):
    """Whether a warning of it speaks of clusters, beyond the lines of any start."""
    return any("WARN" in line and "cluster" in line for line in site.said(100_000).splitlines())


@pytest.mark.parametrize("directory", ("its own", "a copy"))
def test_a_second_site_of_one_id_stops_taking_writes_and_changes_nothing(own_cluster, tmp_path, directory):
    """A clone of a site, started elsewhere: it must not get a record into the order, and must not go on saying yes."""
    cluster = own_cluster
    topic = cluster.create("orders", 1)
    works(cluster, topic)
    config = cluster[HOME].write_config(path=tmp_path / "clone.toml", data=tmp_path / "data")
    if directory == "a copy":
        assert cluster[HOME].stop() == 0
        shutil.copytree(cluster[HOME].data, tmp_path / "data", ignore=shutil.ignore_patterns("*.sock"))
        cluster[HOME].start().wait_ready()
        eventually("it is back", lambda: len(cluster[NEXT].status()["alive"]) == 3)
    else:
        run("bootstrap", "--config", config)
    host = f"{cluster.network}.60"
    words = [word for setting in elsewhere(cluster, 60) for word in ("--set", setting)]
    log = tmp_path / "clone.log"
    with open(log, "wb") as out:
        clone = subprocess.Popen([MERIDIAN, "serve", "--config", str(config), *words], stdout=out, stderr=out)
    try:
        eventually("it is called a duplicate", lambda: "another process seems to be this site" in readiness(host))
        # Straight to the clone, without asking it for metadata, which would name the real site.
        assert produce_raw(f"{host}:9092", topic, batch_of(b"from the clone")) != 0
        works(cluster, topic)
        eventually("it believes that", lambda: "journal is halted: another process is this site" in readiness(host))
        assert produce_raw(f"{host}:9092", topic, batch_of(b"from the clone")) != 0
        said = run("site", "status", "--admin", tmp_path / "data")
        assert "writes        halted: another process is this site" in said, said
        assert "two processes claim this id" in log.read_text(errors="replace")
        works(cluster, topic)
        assert all(len(site.status()["alive"]) == 3 for site in cluster.sites), "nobody lost the real one"
        cluster.converge(topic, 3)
        cluster.verify()
        values = clients.Confluent.read(cluster.bootstrap(NEXT), topic, 1, clients.end(cluster[NEXT].address(), topic, 0))
        assert "from the clone" not in values.values()
    finally:
        clone.kill()
        clone.wait()


def test_a_deleted_topic_takes_its_files_along(own_cluster):
    cluster = own_cluster
    gone, kept = cluster.create("gone", 1), cluster.create("kept", 1)
    clients.Confluent.write(cluster[HOME].address(), gone, 0, ["x" * 1000] * 50)
    cluster.converge(gone, 50)
    run("topic", "delete", gone, "--bootstrap", cluster[HOME].address())
    topics = lambda site: {path.name for path in (site.data / "logs").iterdir()}
    lines = "\n".join("fill " * 200 for _ in range(2000))

    def checkpointed():
        run("produce", kept, "--bootstrap", cluster[HOME].address(), stdin=lines)
        return all(len(topics(site)) == 1 for site in cluster.sites)

    for site in cluster.sites:
        assert site.stop() == 0
        site.write_config(checkpoint_bytes=2 << 20)
        site.start().wait_ready()
    eventually("checkpoints were taken", checkpointed)
    for site in cluster.sites:
        site.kill()
        site.start().wait_ready()
    works(cluster, kept)
    cluster.verify()


# --- too much of everything


def idle(address, count):
    """Connections on which nothing is asked, as many of them as were let in."""
    host, port = address.split(":")
    streams = [socket.create_connection((host, int(port)), timeout=20) for _ in range(count)]

    def is_open(stream):
        stream.setblocking(False)
        try:
            return stream.recv(1) != b""
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False

    # Who is not let in is closed at once, as far as the site has come.
    eventually("all were looked at", lambda: len({sum(map(is_open, streams)) for _ in range(3) if not time.sleep(0.2)}) == 1)
    return [stream for stream in streams if is_open(stream)]


@pytest.mark.parametrize("open_files_max, flood, let_in", ((None, 3000, 2048), (400, 300, 50)))
def test_idle_connections_are_bounded_and_leave_room_for_others(own_cluster, open_files_max, flood, let_in):
    cluster = own_cluster
    home = cluster[HOME]
    topic = cluster.create("orders", 1)
    if open_files_max:
        assert home.stop() == 0
        home.open_files_max = open_files_max
        home.start().wait_ready()
        eventually("it is back", lambda: len(cluster[NEXT].status()["alive"]) == 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        streams = idle(home.address(), flood)
        assert let_in - 20 <= len(streams) <= let_in
        assert "too many Kafka connections" in home.said(100_000) and "open files and sockets" in home.said(100_000)
        for n in range(20):
            value = f"honest {n}".encode()
            assert produce_raw(home.address(), topic, batch_of(value), source=f"{cluster.network}.77") == 0
        assert "Too many open files" not in home.said(100_000)
        resident = next(line for line in open(f"/proc/{home.process.pid}/status") if line.startswith("VmRSS"))
        assert int(resident.split()[1]) < 400 * 1024, resident
        for stream in streams:
            stream.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    cluster.converge(topic, 20)
    works(cluster, topic)


# --- a full disk


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 128 MiB, where we may mount one."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root to mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"may not mount a small file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def on_small_disk(cluster, folder):
    """The first site, moved to the small disk."""
    home = cluster[HOME]
    assert home.stop() == 0
    shutil.copytree(home.data, folder / "data", ignore=shutil.ignore_patterns("*.sock"))
    home.write_config(data=folder / "data")
    home.start().wait_ready()
    eventually("it is back", lambda: len(cluster[NEXT].status()["alive"]) == 3)
    return home


def fill(folder, ballast):
    """Takes whatever is free, to the last byte."""
    with open(ballast, "ab", buffering=0) as out, contextlib.suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free:
            os.posix_fallocate(out.fileno(), ballast.stat().st_size, free)
        while out.write(b"\0" * 4096):
            pass


def test_a_full_disk_refuses_writes_keeps_serving_and_recovers(own_cluster, small_disk):
    cluster = own_cluster
    topic = cluster.create("orders", 1)
    home = on_small_disk(cluster, small_disk)

    running = load.ConfluentLoad(home.address(), topic, 0).start()
    eventually("it writes", lambda: len(running.acked) > 20 and clients.end(home.address(), topic, 0) > 20)
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    # The site writes meanwhile, and may leave less room than that.
    with open(ballast, "wb", buffering=0) as out, contextlib.suppress(OSError):
        out.write(b"\0" * max(0, free - 4 * 1024 * 1024))

    eventually("writes are refused", lambda: produce_raw(home.address(), topic, batch_of(b"perhaps")) != 0)
    assert home.runs(), home.said()
    sent_to = lambda asked: clients.leader(cluster[asked].address(HOME), topic)
    for asked in cluster.names:
        eventually(f"{asked} sends its clients on", lambda: sent_to(asked) != home.host)
    before = len(running.acked)
    eventually("they write elsewhere", lambda: len(running.acked) > before + 20)
    readable = clients.end(home.address(), topic, 0)
    assert readable > 0 and len(clients.Confluent.read(home.address(), topic, 1, readable)) == readable
    clients.Confluent.write(cluster[NEXT].address(), topic, 0, ["elsewhere"])

    ballast.unlink()
    for asked in cluster.names:
        eventually(f"{asked} sends its clients home", lambda: sent_to(asked) == home.host)
    before = len(running.acked)
    eventually("they write at home", lambda: len(running.acked) > before + 20)
    assert produce_raw(home.address(), topic, batch_of(b"room")) == 0
    acked = running.stop()
    cluster.converge(topic, len(acked) + 2)
    cluster.verify()
    found = list(clients.Confluent.read(cluster.bootstrap(FAR), topic, 1, cluster[FAR].ends(topic)[0]).values())
    values = [value for value in found if value != "perhaps"]
    assert len(values) == len(set(values)) and acked <= set(values)


def test_a_site_starts_without_a_byte_free_and_takes_writes_when_there_is_room(own_cluster, small_disk):
    """A power cut took what was in the logs only, and somebody else has filled the disk meanwhile."""
    cluster = own_cluster
    topic = cluster.create("orders", 1)
    home = on_small_disk(cluster, small_disk)
    eventually("room is set aside", lambda: (small_disk / "data/reserve").stat().st_size == 4 << 20)
    clients.Confluent.write(home.address(), topic, 0, [f"{n} {'x' * 1000}" for n in range(1000)])
    cluster.converge(topic, 1000)

    home.kill()
    assert not list((small_disk / "data/checkpoint").glob("*")), "all of the logs is in the WAL"
    shutil.rmtree(small_disk / "data/logs")
    ballast = small_disk / "ballast"
    fill(small_disk, ballast)
    assert shutil.disk_usage(small_disk).free == 0
    home.start()
    eventually("it runs, and says why it takes no writes", lambda: "the disk is full" in home.readiness())
    assert "using what was set aside" in home.said(100_000)
    assert len(clients.Confluent.read(home.address(), topic, 1, 1000)) == 1000
    assert produce_raw(home.address(), topic, batch_of(b"refused")) != 0
    clients.Confluent.write(cluster[NEXT].address(), topic, 0, ["elsewhere"])
    assert home.runs(), home.said()

    ballast.unlink()
    eventually("writes are taken again", lambda: produce_raw(home.address(), topic, batch_of(b"room")) == 0)
    cluster.converge(topic, 1002)
    cluster.verify()


@pytest.mark.parametrize("stopped", (False, True))
def test_what_is_durable_and_finds_no_room_in_the_logs_ends_no_site(own_cluster, small_disk, stopped):
    """What others take between a write to the WAL and the one to the logs is seen by no look at what is free: so the logs
    lie on a file system of their own, which is full while the other one is not."""
    cluster = own_cluster
    topic = cluster.create("orders", 1)
    home = on_small_disk(cluster, small_disk)
    assert home.stop() == 0
    logs = small_disk / "data/logs"
    # Nothing was written yet.
    logs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", logs], check=True)
    home.start().wait_ready()

    running = [load.ConfluentLoad(home.address(), topic, 0, label=f"{n}.{'x' * 6000}.").start() for n in range(3)]
    eventually("there is no room left", lambda: "the disk is full" in home.readiness())
    # What comes in later is readable at the others, and here when there is room.
    readable = home.ends(topic)[0]
    found = clients.Confluent.read(home.address(), topic, 1, readable)
    missing = sorted({(0, offset) for offset in range(readable)} - set(found))
    assert readable > 100 and not missing, (readable, missing, home.readiness())
    # A new producer of this very region asks the full site for its id, and writes elsewhere.
    clients.Confluent.write(home.address(), topic, 0, ["elsewhere"])
    assert home.runs(), home.said()
    if stopped:
        assert home.stop() == 0, home.said()
        home.start()
        eventually("it waits", lambda: "no room for a start" in home.readiness())
        time.sleep(2)
        assert home.runs(), home.said()
    subprocess.run(["mount", "-o", "remount,size=64m", logs], check=True)
    home.wait_ready()
    before = [len(one.acked) for one in running]
    eventually("all write again", lambda: all(len(one.acked) > n + 5 for one, n in zip(running, before)))
    acked = set().union(*(one.stop() for one in running))
    cluster.converge(topic, len(acked) + 1)
    cluster.verify()
    values = list(clients.Confluent.read(cluster.bootstrap(FAR), topic, 1, cluster[FAR].ends(topic)[0]).values())
    assert len(values) == len(set(values)) and acked <= set(values)


def test_a_start_that_finds_no_room_waits_and_goes_on_by_itself(own_cluster, small_disk):
    """A power cut took what was in the logs only, others have filled the disk, and nothing was set aside."""
    cluster = own_cluster
    topic = cluster.create("orders", 1)
    home = on_small_disk(cluster, small_disk)
    clients.Confluent.write(home.address(), topic, 0, [f"{n} {'x' * 1000}" for n in range(1000)])
    cluster.converge(topic, 1000)
    home.kill()
    shutil.rmtree(small_disk / "data/logs")
    (small_disk / "data/reserve").unlink(missing_ok=True)
    ballast = small_disk / "ballast"
    fill(small_disk, ballast)
    for stops in (True, False):
        home.start()
        why = eventually("it says that it waits", lambda: (said := home.readiness()) and "no room" in said and said)
        for part in (str(small_disk / "data"), "bytes are free", "remove other files"):
            assert part in why and part in home.said(100_000), why
        assert home.get("/healthz") == "ok\n"
        time.sleep(2)
        assert home.runs(), home.said()
        if stops:
            assert home.stop() == 0, home.said()
    process = home.process.pid
    ballast.unlink()
    home.wait_ready()
    assert home.process.pid == process and home.runs(), "the same process went on"
    assert len(clients.Confluent.read(home.address(), topic, 1, 1000)) == 1000
    assert produce_raw(home.address(), topic, batch_of(b"room")) == 0
    cluster.converge(topic, 1001)
    cluster.verify()
