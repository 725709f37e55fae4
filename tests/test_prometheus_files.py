"""docs/prometheus: the rules and the dashboard, asked of a real Prometheus that reads a running monitor."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.agent_process import AgentProcess
from support.broker import free_port
from test_cli import LONG_S, environment, simulator

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "prometheus"
RULES, RULE_TESTS, DASHBOARD = (
    FOLDER / name for name in ("ecg-agent.rules.yml", "ecg-agent.rules.test.yml", "grafana-dashboard.json")
)
METRIC = re.compile(r"\b(?:ecg_agent|process)_\w+|\bup\b")
RULE_EXPRESSION = re.compile(r"^ +expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", re.MULTILINE)
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="prometheus is not installed (Debian: apt install prometheus)",
)


def rule_queries() -> list[str]:
    return [block or line for block, line in RULE_EXPRESSION.findall(RULES.read_text())]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panel_queries() -> dict[str, list[str]]:
    """The queries of each panel, with all jobs and beds chosen."""
    return {
        panel["title"]: [target["expr"].replace("$job", ".*").replace("$bed", ".*") for target in panel["targets"]]
        for panel in dashboard()["panels"]
    }


def test_all_metrics_of_the_page_are_used() -> None:
    """Rules and dashboard name metrics that docs/metrics.md lists, and the dashboard shows all of them."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    used = {name for queries in panel_queries().values() for query in queries for name in METRIC.findall(query)}
    ruled = {name for query in rule_queries() for name in METRIC.findall(query)} - {"up"}
    listed = set(re.findall(r"^\| `(ecg_agent_\w+)`", page, re.MULTILINE))
    listed |= {"ecg_agent_samples_missing_total", "ecg_agent_packets_rejected_total", "ecg_agent_disk_free_bytes"}
    assert {name.removesuffix("_bucket") for name in ruled} <= listed | {"ecg_agent_samples_analysed_total"}
    assert listed <= {name.removesuffix("_bucket") for name in used}


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """What Grafana needs of a dashboard: unique panels on a grid of 24 columns that do not overlap, a data source."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels) >= 15
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = msgspec.convert(panel["gridPos"], dict[str, int])
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    named = {variable["name"] for variable in dashboard()["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text())) - {"__all", "__field"} <= named


@needs_prometheus
def test_rules_are_right() -> None:
    """promtool finds no fault in the rules, and they fire for asystole and a lost bed, and for nothing else."""
    for command in (["check", "rules", str(RULES)], ["check", "config", str(FOLDER / "prometheus.yml")]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(["promtool", "test", "rules", str(RULE_TESTS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A Prometheus that reads a monitor's metrics every half second; its address, and the port it reads."""
    port, scraped = free_port(), free_port()
    config = (FOLDER / "prometheus.yml").read_text().replace("127.0.0.1:9100", f"127.0.0.1:{scraped}")
    config = config.replace("5s", "500ms").replace("ecg-agent.rules.yml", str(RULES))
    (tmp_path / "prometheus.yml").write_text(config)
    options = [f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    process = subprocess.Popen(
        ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}", scraped
    process.terminate()
    process.wait(20)


def ask(address: str, query: str) -> list[Any]:
    """Return the result of a query. Raises OSError while Prometheus is not there, or if it finds the query wrong."""
    with urllib.request.urlopen(f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}") as answer:
        result: list[Any] = json.load(answer)["data"]["result"]
    return result


@pytest.mark.slow
@needs_prometheus
def test_every_query_has_a_result(prometheus: tuple[str, int], tmp_path: Path) -> None:
    """While a monitor runs each query of the dashboard gives something, and each metric of the rules is there."""
    address, scraped = prometheus
    every = [query for queries in panel_queries().values() for query in queries]
    metrics = {name for query in rule_queries() for name in METRIC.findall(query)} - {"ecg_agent_alarms_active"}
    with simulator("ward", "207", "208", "--speed", "4", "--loop") as (endpoint, _):
        command = ["monitor", "--endpoint", endpoint, "--metrics", f":{scraped}", "--record", str(tmp_path / "night")]
        monitor = AgentProcess[bytes](
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(), cwd=ROOT
        )
        try:
            empty, end_s = ["all"], time.monotonic() + LONG_S
            while empty and time.monotonic() < end_s:
                time.sleep(1)
                assert monitor.poll() is None, monitor.communicate()[1]
                try:
                    empty = [query for query in (*every, *metrics) if not ask(address, query)]
                except ConnectionError:
                    continue
            assert empty == []
            for query in rule_queries():
                ask(address, query)
            with urllib.request.urlopen(f"{address}/api/v1/rules") as answer:
                groups = json.load(answer)["data"]["groups"]
            health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
            assert set(health.values()) == {"ok"}
            assert len(health) == len(rule_queries())
        finally:
            monitor.terminate()
            monitor.communicate(timeout=LONG_S)
