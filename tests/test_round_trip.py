"""Written at one site, readable at all three at the same offsets, by every client."""

import pytest

import clients
from cluster import NAMES

PARTITIONS = 3
EACH = 20


@pytest.mark.parametrize("client", clients.ALL, ids=lambda client: client.name)
def test_what_one_site_takes_all_sites_show_at_the_same_offsets(cluster, client):
    topic = cluster.create(f"from-{client.name}", PARTITIONS)
    for site in NAMES:
        for partition in range(PARTITIONS):
            values = [f"{site}/{partition}/{number}" for number in range(EACH)]
            client.write(cluster.bootstrap(site), topic, partition, values)
    total = len(NAMES) * PARTITIONS * EACH
    logs = {site: client.read(cluster.bootstrap(site), topic, PARTITIONS, total) for site in NAMES}
    assert len(logs["eu-west"]) == total
    assert logs["eu-west"] == logs["us-east"] == logs["ap-southeast"]
    for partition in range(PARTITIONS):
        offsets = sorted(offset for at, offset in logs["eu-west"] if at == partition)
        assert offsets == list(range(len(NAMES) * EACH)), "dense from 0"
        for site in NAMES:
            written = [v for (at, _), v in sorted(logs["eu-west"].items()) if at == partition and v.startswith(site + "/")]
            assert written == [f"{site}/{partition}/{number}" for number in range(EACH)], "each site's order is kept"
    cluster.verify()


@pytest.mark.parametrize("client", clients.ALL, ids=lambda client: client.name)
def test_an_origin_log_shows_its_sites_records_alike_everywhere(cluster, client):
    topic = cluster.create(f"origin-{client.name}", 1)
    for site in NAMES:
        client.write(cluster.bootstrap(site), topic, 0, [f"{site}/{number}" for number in range(EACH)])
    for origin in NAMES:
        logs = [client.read(cluster.bootstrap(site), f"{origin}.{topic}", 1, EACH) for site in NAMES]
        assert logs[0] == {(0, number): f"{origin}/{number}" for number in range(EACH)}
        assert logs[0] == logs[1] == logs[2]
