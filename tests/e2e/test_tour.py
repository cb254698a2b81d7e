"""One server, used through every door: what it counts, what it logs, and what it leaves on the disk."""

import base64
import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import promql_parser
import pytest
import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import ClientConnection, connect

from molva.keys import KeyFile
from molva.runtime.loading import sample_speech
from molva.samples import Samples
from tests.e2e.conftest import Process, molva_serve
from tests.http.conftest import wav
from tests.http.openai.realtime import pcm24
from tests.http.wsclient import pcm
from tests.outbound.receiver import answer as answering
from tests.outbound.receiver import receiver
from tests.text import CLIP_TEXT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "molva.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))

SPEECH = sample_speech()
FILE = wav(SPEECH)
CANARY = "canary"
"""Part of everything that a client may send and nobody else should find."""
IDS = {"x-request-id": "tour-0001"}
PATIENCE_S = 60.0


@dataclass
class Tour:
    """What is left of it."""

    scrape: str
    log: str
    main_port: httpx2.Response
    """Of /metrics there."""
    data: Path
    key: str
    job_id: str
    told: list[bytes]
    """Bodies that the webhooks brought."""
    traces: bytes
    """What the collector of traces got."""

    @property
    def families(self) -> dict[str, Metric]:
        return {family.name: family for family in text_string_to_metric_families(self.scrape)}

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.splitlines()]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory, tiny_dir: Path) -> Tour:
    home = tmp_path_factory.mktemp("tour")
    data = home / ".molva"
    key = KeyFile(data / "keys.json").create("laptop")
    flags: list[str | Path] = [
        "--port",
        "0",
        "--model-dir",
        tiny_dir,
        "--metrics-listen",
        "127.0.0.1:0",
        "--shutdown-drain-secs",
        "20",
    ]
    flags += ["--log-level", "debug", "--log-format", "json", "--allow-network", "127.0.0.0/8"]
    with (
        receiver(answering()) as listener,
        receiver(answering()) as collector,
        molva_serve(*flags, home=home, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}") as process,
    ):
        url = process.url()
        metrics = process.wait_for(r"metrics: (http://\S+)").group(1)
        with httpx2.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=PATIENCE_S) as client:
            visit_files(client)
            visit_live(url, key)
            job_id = visit_jobs(client, f"{listener.url}/{CANARY}?token={CANARY}")
            go_astray(client, url)
            client.post("/model/unload")
            client.post("/model/load")
            while client.get("/ready").status_code != 200:
                time.sleep(0.05)
            main_port = client.get("/metrics")
        wait_for(process, metrics, 'molva_webhook_attempts_total{outcome="delivered"} ')
        scrape = httpx2.get(metrics)
        assert scrape.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert process.stop() == 0
        log = "".join(process.errors)
        told = [heard.body for heard in listener.heard]
        traces = b"".join(heard.body for heard in collector.heard if heard.line.startswith("POST /v1/traces "))
    return Tour(scrape.text, log, main_port, data, key, job_id, told, traces)


def wait_for(process: Process, metrics: str, sample: str) -> None:
    """Until a counter is not zero any more."""
    deadline = time.monotonic() + PATIENCE_S
    while re.search(f"^{re.escape(sample)}0.0$", httpx2.get(metrics).text, re.MULTILINE):
        assert time.monotonic() < deadline, process.errors
        time.sleep(0.05)


def visit_files(client: httpx2.Client) -> None:
    for path in ("/v1/transcribe", "/v1/transcribe/stream"):
        answer = client.post(path, params={"download": f"{CANARY}.json"}, content=FILE, headers=IDS)
        assert CLIP_TEXT.split()[0] in answer.text
    for stream in ("false", "true"):
        form = {"model": "whisper-1", "stream": stream, "prompt": CANARY}
        files = {"file": (f"{CANARY}.wav", FILE)}
        answer = client.post("/v1/audio/transcriptions", data=form, files=files, params={"q": CANARY})
        assert answer.status_code == 200
    assert client.get("/v1/models").status_code == 200
    assert client.get("/health").status_code == 200


def visit_live(url: str, key: str) -> None:
    address = url.replace("http", "ws", 1)
    headers = {"authorization": f"Bearer {key}"}
    with connect(f"{address}/v1/ws?token={CANARY}", additional_headers=headers, proxy=None) as connection:
        until(connection, '"ready"')
        connection.send(json.dumps({"type": "configure", "sample_rate": 16_000}))
        for piece in pieces(np.concatenate([SPEECH, np.zeros(16_000, np.float32)])):
            connection.send(pcm(piece))
        connection.send('{"type":"stop"}')
        until(connection, '"stop"')
    protocols = ["realtime", f"openai-insecure-api-key.{key}"]
    realtime = f"{address}/v1/realtime?intent=transcription&token={CANARY}"
    with connect(realtime, subprotocols=protocols, proxy=None) as connection:  # type: ignore[arg-type]
        until(connection, '"session.created"')
        audio = base64.b64encode(pcm24(SPEECH, np.zeros(16_000, np.float32))).decode()
        connection.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        until(connection, "input_audio_transcription.completed")


def pieces(audio: Samples) -> Iterator[Samples]:
    """At the pace at which it was spoken: faster ones are files, whose finals nobody waits for."""
    for start in range(0, audio.size, 1600):
        yield audio[start : start + 1600]
        time.sleep(0.1)


def until(connection: ClientConnection, what: str) -> None:
    while what not in str(connection.recv(PATIENCE_S)):
        pass


def visit_jobs(client: httpx2.Client, webhook_url: str) -> str:
    files = {"audio": (f"{CANARY}.wav", FILE)}
    answer = client.post(
        "/jobs", files=files, data={"webhook_url": webhook_url}, headers={"idempotency-key": f"{CANARY}-1"}
    )
    assert answer.status_code == 202, answer.text
    job_id = str(answer.json()["job_id"])
    assert '"status":"done"' in client.get(f"/jobs/{job_id}/stream").text
    assert client.get(f"/jobs/{job_id}").json()["segments"]
    broken = client.post("/jobs", files={"audio": (f"{CANARY}.mp3", CANARY.encode() * 100)}).json()["job_id"]
    assert client.get(f"/jobs/{broken}/stream").is_success  # to its end
    assert client.get(f"/jobs/{broken}").json()["status"] == "failed"
    return job_id


def go_astray(client: httpx2.Client, url: str) -> None:
    """What fails is logged no less."""
    assert client.get(f"/{CANARY}/{CANARY}.wav", params={"q": CANARY}).status_code == 404
    assert client.get(f"/jobs/{CANARY}").status_code == 400
    assert client.get(f"/jobs/{uuid.uuid4()}").status_code == 404
    assert client.request("BREW", "/v1/models").status_code == 405
    assert client.post("/v1/transcribe", content=CANARY.encode() * 1000).status_code == 422
    assert client.post("/v1/transcribe", params={"language": CANARY}, content=FILE).status_code == 400
    odd = b"--b\r\nContent-Disposition: form-data; name=canary\r\nContent-Transfer-Encoding: canary\r\n\r\n\x00"
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert client.post("/v1/audio/transcriptions", content=odd, headers=headers).status_code == 400
    assert client.get("/v1/models", headers={"origin": "https://foreign.example"}).status_code == 403
    assert httpx2.get(f"{url}/v1/models", headers={"authorization": f"Bearer {CANARY}"}).status_code == 401


ROW = re.compile(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|([^|]*)\| ([^|]+) \|$", re.MULTILINE)
DOCUMENTED = {
    name: (kind, frozenset(re.findall(r"`(\w+)`", labels)), meaning)
    for name, kind, labels, meaning in ROW.findall(PAGE)
}


def full_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_every_metric_is_documented_with_its_type_and_labels(tour: Tour) -> None:
    told = {full_name(family): family for family in tour.families.values()}
    assert set(told) == set(DOCUMENTED)
    for name, family in told.items():
        kind, labels, meaning = DOCUMENTED[name]
        assert family.type == kind, name
        assert meaning.strip()
        assert family.samples, f"{name} has no value after a tour through all doors"
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels, name


def test_the_tour_is_in_the_numbers(tour: Tour) -> None:
    def value(name: str, **labels: str) -> float:
        samples = [sample for family in tour.families.values() for sample in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    seconds = SPEECH.size / 16_000
    for door, times in {"native": 1, "sse": 1, "openai": 2, "jobs": 1}.items():
        assert value("molva_audio_seconds_total", door=door) == pytest.approx(times * seconds, abs=0.1), door
    for door in ("ws", "realtime"):
        assert value("molva_audio_seconds_total", door=door) == pytest.approx(seconds + 1, abs=0.1), door
    assert value("gigastt_http_requests_total", path="/v1/ws", status="101") == 1
    assert value("gigastt_http_requests_total", path="/v1/transcribe") == 3
    assert value("gigastt_http_requests_total", path="/jobs/{job_id}", status="404") == 1
    assert value("gigastt_http_requests_total", path="other", status="404") == 1
    assert value("gigastt_http_requests_total", method="other", status="405") == 1
    assert value("gigastt_http_requests_total", path="/health") == 0
    assert value("gigastt_inference_duration_seconds_count") == 1
    assert value("gigastt_ws_active_connections") == 0
    assert value("molva_admissions_total", outcome="granted") >= 6
    assert value("molva_final_delay_seconds_count") >= 1
    assert value("molva_partial_lag_seconds_count") >= 1
    assert value("molva_window_decode_seconds_count", **{"class": "job"}) == 1
    assert value("molva_jobs", status="done") == value("molva_jobs", status="failed") == 1
    assert value("molva_job_duration_seconds_count") == value("molva_job_attempts_total") == 2
    assert value("molva_webhook_attempts_total", outcome="delivered") >= 1


def test_paths_are_routes_whatever_was_asked_for(tour: Tour) -> None:
    paths = {sample.labels["path"] for sample in tour.families["gigastt_http_requests"].samples}
    assert paths >= {"/v1/transcribe", "/jobs/{job_id}", "/jobs/{job_id}/stream", "other"}
    assert not any(CANARY in path or tour.job_id in path for path in paths)


def test_families_come_in_the_contracts_order(tour: Tour) -> None:
    kinds: dict[str, str] = dict(re.findall(r"^# TYPE (\S+) (\w+)$", tour.scrape, re.MULTILINE))
    by_kind = [[name for name in kinds if kinds[name] == kind] for kind in ("counter", "gauge", "histogram")]
    assert list(kinds) == [name for names in by_kind for name in sorted(names)]
    assert "_created" not in tour.scrape


def test_the_main_port_has_no_metrics_where_another_one_has_them(tour: Tour) -> None:
    assert tour.main_port.status_code == 404
    assert tour.main_port.json()["code"] == "metrics_disabled"


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """What a query reads. Fails where it is no PromQL."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        elif isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


QUERIES = [
    *(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]),
    *(rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]),
]


def test_dashboard_and_alerts_ask_for_what_is_there(tour: Tour) -> None:
    samples = [sample for family in tour.families.values() for sample in family.samples]
    assert len(QUERIES) > 40
    for query in QUERIES:
        read = selectors(query.replace("$__rate_interval", "5m"))
        assert read, query
        for selector in read:
            if selector.name == "probe_success":  # the blackbox exporter's
                continue
            labels = {"instance"}.union(*(set(sample.labels) for sample in samples if sample.name == selector.name))
            assert any(sample.name == selector.name for sample in samples), query
            assert {matcher.name for matcher in selector.matchers.matchers} <= labels, query


def test_alerts_have_the_contracts_names_and_a_shape_that_prometheus_reads() -> None:
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    names = [rule["alert"] for rule in rules]
    contract = {"HighErrorRate", "PoolExhaustion", "HighLatency", "PoolTimeouts", "Down"}
    assert {f"Gigastt{name}" for name in contract} <= set(names)
    assert len(set(names)) == len(names)
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        assert rule["annotations"]["summary"]


def test_the_log_is_one_object_a_line_and_says_whose_work_it_is(tour: Tour) -> None:
    ended = [line for line in tour.lines if "route" in line]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in tour.lines)
    assert all(line["request_id"] for line in ended)
    [first] = [line for line in ended if line["request_id"] == "tour-0001" and line["route"] == "/v1/transcribe"]
    assert (first["method"], first["status"], first["key"], first["level"]) == ("POST", 200, "laptop", "info")
    assert isinstance(first["ms"], float)
    about_the_job = [line["message"] for line in tour.lines if line.get("job_id") == tour.job_id]
    assert f"job {tour.job_id} is done" in about_the_job


def test_nothing_that_clients_sent_or_got_is_in_the_log(tour: Tour) -> None:
    assert '"level": "debug"' in tour.log
    for word in (CANARY, tour.key, *CLIP_TEXT.split()):
        assert word not in tour.log, word


def test_nothing_that_clients_sent_or_got_is_in_the_traces(tour: Tour) -> None:
    for name in ("POST /v1/transcribe", "GET /v1/realtime", "job", "engine", "find speech", "molva"):
        assert name.encode() in tour.traces, name
    for word in (CANARY, tour.key, *CLIP_TEXT.split()):
        assert word.encode() not in tour.traces, word


def test_only_the_database_knows_what_was_said(tour: Tour) -> None:
    """docs/privacy.md: jobs are kept in molva.db; recordings are gone with their jobs."""
    places = dict.fromkeys((CANARY, *CLIP_TEXT.split(), tour.key), "")
    for path in tour.data.rglob("*"):
        kept = path.read_bytes() if path.is_file() else b""
        for word in places:
            if word.encode() in kept or json.dumps(word)[1:-1].encode() in kept:
                assert path.name.startswith("molva.db"), (path, word)
                places[word] = path.name
    assert places[CANARY]
    assert all(places[word] for word in CLIP_TEXT.split())
    assert not places[tour.key]
    assert list((tour.data / "jobs").iterdir()) == []
    assert [path.name for path in (tour.data / "spool").iterdir()] == [".lock"]
    assert tour.told, "the webhook brought the transcript to whom the job named"
