"""What is deployed: containers, Kubernetes, alerts, dashboards; held to schemas, to the settings and to the metrics."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from backbeat.monitoring.settings import load_monitoring
from serving import metrics
from serving.problems import CODES
from serving.settings import DEFAULT

ROOT = Path(__file__).parents[2]
SERVING = ROOT / "serving"
COMPOSE = SERVING / "compose.yaml"
ALERTS = SERVING / "prometheus" / "alerts.yml"
KUBERNETES = {"base": SERVING / "k8s" / "base", "gpu": SERVING / "k8s" / "overlays" / "gpu"}
SETTINGS = yaml.safe_load(DEFAULT.read_text())
SECRETS = re.compile(r"^\w*PASSWORD=$", re.MULTILINE)
GIB = 1 << 30
# What Prometheus itself adds to what it is told.
OF_PROMETHEUS = {"up"}


def needs(program: str) -> str:
    """The path of a program; the test is left out where it is not installed."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def said(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Compose


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((SERVING / name).read_text())
    return loaded


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from compose()["services"].items()


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_fits_its_schema(name: str) -> None:
    schemas = files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text())
    jsonschema.validate(compose(name), schema, cls=jsonschema.validators.validator_for(schema))


def test_containers_may_do_nothing_that_they_need_not() -> None:
    for name, container in containers():
        assert container["read_only"] is True, name
        assert container["cap_drop"] == ["ALL"], name
        assert container["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "devices"} & set(container), name
        assert "mem_limit" in container, name
        assert container["pids_limit"] <= 512, name
        user = str(container.get("user") or inline_user(container))
        assert user.partition(":")[0] not in ("", "0", "root"), name
        assert all("docker.sock" not in str(volume) for volume in container.get("volumes", [])), name


def inline_user(container: dict[str, Any]) -> str:
    last = re.findall(r"^USER (\S+)", container["build"]["dockerfile_inline"], re.MULTILINE)
    return last[-1] if last else ""


def test_only_this_machine_reaches_ports_and_only_three() -> None:
    published = {name: container["ports"] for name, container in containers() if "ports" in container}
    assert set(published) == {"service", "grafana", "mlflow"}
    for name, ports in published.items():
        assert all(port.startswith("127.0.0.1:") for port in ports), name
        assert "front" in dict(containers())[name]["networks"]
    # It listens to nobody, and tells of alerts.
    assert dict(containers())["monitor"]["networks"] == ["front", "back"]
    assert compose()["networks"]["back"] == {"internal": True}
    for name, container in containers():
        if name not in {*published, "monitor"}:
            assert container.get("network_mode") == "none" or container["networks"] == ["back"], name


def test_images_are_pinned_and_named_shortly() -> None:
    images = [container["image"] for _, container in containers()]
    images += re.findall(r"^FROM (\S+)", COMPOSE.read_text().replace("        ", ""), re.MULTILINE)
    assert len(images) > len(dict(containers()))
    for image in images:
        plain = re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", image)
        assert re.fullmatch(r"([a-z]+/)?[a-z-]+:(?!latest)[\w.-]+", plain), image


def test_no_secret_is_committed_and_each_that_must_be_set_says_so() -> None:
    text = COMPOSE.read_text()
    known = dict(
        line.split("=", 1) for line in (SERVING / ".env.example").read_text().splitlines() if re.match(r"\w", line)
    )
    assert all(value == "" for name, value in known.items() if name.endswith(("PASSWORD", "SECRET")))
    passwords = {name for name in known if name.endswith("PASSWORD")}
    for name in passwords:
        assert f"${{{name}:?" in text, name
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", text + (SERVING / "compose.gpu.yaml").read_text()))
    told = set(re.findall(r"^#?(\w+)=", (SERVING / ".env.example").read_text(), re.MULTILINE))
    assert used - told <= {"BACKBEAT_WORKERS"}
    assert told <= used
    for name, container in containers():
        for variable, value in container.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|AUTH$|_KEY$", variable):
                assert str(value).startswith("${"), f"{name}: {variable}"
    for file in ("serving/.env", "serving/k8s/secrets.env", "deep/serving/.env"):
        assert subprocess.run(["git", "check-ignore", "--quiet", file], cwd=ROOT, timeout=10).returncode == 0, file
    tracked = said("git", "-C", ROOT, "ls-files", "serving").splitlines()
    assert not [name for name in tracked if re.search(r"(\.env|\.key|\.pem)$", name)]
    assert not re.search(r"bb_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", "".join((ROOT / name).read_text() for name in tracked))


def test_what_is_mounted_from_here_is_here() -> None:
    for name, container in containers():
        for volume in container.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (SERVING / source).exists(), f"{name}: {source}"
                assert volume.endswith(":ro"), f"{name}: {source}"
            else:
                assert source in compose()["volumes"], f"{name}: {source}"
    # The image's start reads into itself what cannot be run.
    assert os.access(SERVING / "postgres" / "databases.sh", os.X_OK)


def test_the_service_is_looked_after_and_let_end() -> None:
    service = compose()["services"]["service"]
    assert "/readyz" in service["healthcheck"]["test"][-1]
    compile(service["healthcheck"]["test"][-1], "healthcheck", "exec")
    assert service["restart"] == "unless-stopped"
    assert service["environment"]["BACKBEAT_SERVING__MODE"] == "production"
    assert seconds(service["stop_grace_period"]) > SETTINGS["limits"]["upload_s"] + SETTINGS["limits"]["request_s"]
    gpu = compose("compose.gpu.yaml")["services"]
    assert set(gpu) == {name for name, container in containers() if "BACKBEAT_IMAGE" in container["image"]}
    compile(compose()["services"]["buckets"]["command"][0], "buckets", "exec")


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def test_what_shells_run_in_containers_is_a_script() -> None:
    for name, container in containers():
        for script in container.get("command", []):
            if "\n" in script and name not in ("buckets",):
                subprocess.run(["sh", "-n"], input=script.replace("$$", "$"), text=True, check=True, timeout=10)
    for path in (SERVING / "engine.sh", SERVING / "postgres" / "databases.sh"):
        said("sh", "-n", path)


def test_compose_itself_reads_the_files(tmp_path: Path) -> None:
    docker = needs("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, timeout=30).returncode:
        pytest.skip("docker has no compose here")
    (tmp_path / "env").write_text(SECRETS.sub(lambda match: match[0] + "x", (SERVING / ".env.example").read_text()))
    said(docker, "compose", "--env-file", tmp_path / "env", "-f", COMPOSE, "-f", SERVING / "compose.gpu.yaml", "config")


# Settings


def variables() -> Iterator[tuple[str, str]]:
    for name, container in containers():
        for variable in container.get("environment", {}):
            yield name, variable
    for path in (SERVING / "k8s").rglob("*"):
        if path.suffix in (".yaml", ".example"):
            for variable in re.findall(r"BACKBEAT_SERVING__\w+", path.read_text()):
                yield path.name, variable


def test_settings_that_are_named_exist() -> None:
    found = 0
    for where, variable in variables():
        if match := re.fullmatch(r"BACKBEAT_SERVING__([A-Z0-9_]+?)(?:__([A-Z0-9_]+))?", variable):
            section, key = match[1].lower(), (match[2] or "").lower()
            assert section in SETTINGS, f"{where}: {variable}"
            assert not key or key in SETTINGS[section], f"{where}: {variable}"
            found += 1
    assert found > 15


def test_the_monitor_watches_what_the_service_keeps(tmp_path: Path) -> None:
    service, monitor = (compose()["services"][name] for name in ("service", "monitor"))
    given = monitor["environment"]
    assert given["BACKBEAT_MONITORING__STATE"] == "/var/lib/backbeat"
    kept = re.sub(r":\?[^}]*", "", service["environment"]["BACKBEAT_SERVING__MONITORING__DATABASE"])
    assert re.sub(r":\?[^}]*", "", given["BACKBEAT_MONITORING__DATABASE"]) == kept
    assert set(service["volumes"]) == set(monitor["volumes"])
    empty = {name: re.sub(r"\$\{\w+:-\}", "", value) for name, value in given.items()}
    assert [one.url for one in load_monitoring(empty).targets.values()] == [""]
    address, secret = "https://example.org/", "s" * 32
    filled = {
        name: value.replace("${BACKBEAT_ALERT_URL:-}", address).replace("${BACKBEAT_ALERT_SECRET:-}", secret)
        for name, value in given.items()
    }
    assert [(one.url, one.secret) for one in load_monitoring(filled).targets.values()] == [(address, secret)]


# Kubernetes


@cache
def manifests(name: str) -> dict[str, dict[str, Any]]:
    """What kustomize makes of a folder, by kind."""
    built = list(yaml.safe_load_all(said(needs("kubectl"), "kustomize", KUBERNETES[name])))
    kinds = {document["kind"]: document for document in built}
    assert len(kinds) == len(built)
    return kinds


def pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = manifests(name)["Deployment"]["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("name", KUBERNETES)
@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_manifests_fit_the_schemas_of_kubernetes(name: str, version: str) -> None:
    kinds = manifests(name)
    assert set(kinds) == {
        "Namespace", "ServiceAccount", "ConfigMap", "PersistentVolumeClaim", "Deployment", "Service",
        "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy",
    }  # fmt: skip
    for document in kinds.values():
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("name", KUBERNETES)
def test_pods_may_do_nothing_that_they_need_not(name: str) -> None:
    spec = pod(name)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1034
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert manifests(name)["ServiceAccount"]["automountServiceAccountToken"] is False
    assert manifests(name)["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    (container,) = spec["containers"]
    own = container["securityContext"]
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"/tmp", "/var/lib/backbeat", "/var/lib/backbeat/stems"}  # noqa: S108
    assert set(container["resources"]) == {"requests", "limits"}
    assert "Secret" not in manifests(name)


@pytest.mark.parametrize("name", KUBERNETES)
def test_a_rolling_update_loses_nothing(name: str) -> None:
    kinds, spec = manifests(name), pod(name)
    (container,) = spec["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["startupProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert kinds["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    slept = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    # Longer than it takes the probe to find it not ready.
    assert slept >= container["readinessProbe"]["periodSeconds"] * container["readinessProbe"]["failureThreshold"]
    limits = SETTINGS["limits"]
    assert spec["terminationGracePeriodSeconds"] > slept + limits["upload_s"] + limits["request_s"]
    assert kinds["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert kinds["HorizontalPodAutoscaler"]["spec"]["minReplicas"] >= 2
    assert "replicas" not in kinds["Deployment"]["spec"]
    assert kinds["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    labels = kinds["Deployment"]["spec"]["selector"]["matchLabels"]
    for chosen in (
        kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        kinds["Service"]["spec"]["selector"],
        kinds["Deployment"]["spec"]["template"]["metadata"]["labels"],
    ):
        assert chosen == labels


@pytest.mark.parametrize("name", KUBERNETES)
def test_replicas_follow_the_queue_and_have_room(name: str) -> None:
    kinds, limits = manifests(name), SETTINGS["limits"]
    (metric,) = kinds["HorizontalPodAutoscaler"]["spec"]["metrics"]
    wanted = metric["pods"]["metric"]["name"]
    assert wanted in exposed()
    rule = yaml.safe_load((SERVING / "k8s" / "prometheus-adapter.yaml").read_text())["rules"]["custom"][0]
    assert rule["seriesQuery"].startswith(f"{wanted}{{")
    assert limits["at_once"] < int(metric["pods"]["target"]["averageValue"]) < limits["at_once"] + limits["waiting"]
    rooms = {volume["name"]: volume.get("emptyDir", {}).get("sizeLimit", "") for volume in pod(name)["volumes"]}
    assert gibibytes(rooms["tmp"]) >= 2 * limits["max_bytes"] * (limits["at_once"] + limits["waiting"])
    assert gibibytes(rooms["stems"]) > SETTINGS["jobs"]["cache_bytes"]
    (container,) = pod(name)["containers"]
    most = gibibytes(container["resources"]["limits"]["ephemeral-storage"])
    assert most > gibibytes(rooms["tmp"]) + gibibytes(rooms["stems"])


def gibibytes(text: str) -> int:
    assert text.endswith("Gi")
    return int(text[:-2]) * GIB


@pytest.mark.parametrize("name", KUBERNETES)
def test_the_network_lets_through_what_the_settings_name(name: str) -> None:
    policy = manifests(name)["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (entry,) = policy["ingress"]
    assert [port["port"] for port in entry["ports"]] == [8000]
    assert all("namespaceSelector" in source for source in entry["from"])
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 6379, 5432, 5000, 3310, 4318}
    assert all(rule["to"] for rule in policy["egress"])


def test_the_gpu_overlay_asks_for_one() -> None:
    spec = pod("gpu")
    (container,) = spec["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["image"] == "backbeat:gpu"
    assert spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert spec["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert pod("base")["containers"][0]["image"] == "backbeat:cpu"


def test_the_monitor_can_be_added(tmp_path: Path) -> None:
    kubectl = needs("kubectl")
    shutil.copytree(SERVING / "k8s", tmp_path / "k8s")
    overlay = tmp_path / "k8s" / "overlays" / "mine"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text("resources: [../../base]\ncomponents: [../../components/monitor]\n")
    kinds = {document["kind"]: document for document in yaml.safe_load_all(said(kubectl, "kustomize", overlay))}
    labels = kinds["Service"]["metadata"]["labels"]
    assert kinds["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    # The alerts ask for job="backbeat".
    assert labels[kinds["ServiceMonitor"]["spec"]["jobLabel"]] == "backbeat"


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_alerts_can_be_added(tmp_path: Path, version: str) -> None:
    kubectl = needs("kubectl")
    shutil.copytree(SERVING / "k8s", tmp_path / "k8s")
    overlay = tmp_path / "k8s" / "overlays" / "mine"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text("resources: [../../base]\ncomponents: [../../components/alerts]\n")
    built = list(yaml.safe_load_all(said(kubectl, "kustomize", overlay)))
    added = {one["kind"]: one for one in built if one["metadata"]["name"] == "backbeat-monitor"}
    assert set(added) == {"Deployment", "NetworkPolicy"}
    for document in added.values():
        kubernetes_validate.validate(document, version, strict=True)
        assert document["metadata"]["namespace"] == "backbeat"
    spec, own = added["Deployment"]["spec"]["template"]["spec"], pod("base")
    assert spec["securityContext"] == own["securityContext"]
    (container,), (served,) = spec["containers"], own["containers"]
    assert container["securityContext"] == served["securityContext"]
    assert container["image"] == served["image"]
    assert spec["automountServiceAccountToken"] is False
    labels = added["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert added["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    # The Service must not send requests to it.
    base = next(one for one in built if one["kind"] == "Service")
    assert not base["spec"]["selector"].items() <= labels.items()


# Metrics, alerts, dashboard


@cache
def exposed() -> dict[str, set[str]]:
    """The names that Prometheus sees, with their labels."""
    names: dict[str, set[str]] = {}
    for collector in vars(metrics).values():
        if not isinstance(collector, MetricWrapperBase):
            continue
        for family in collector.describe():
            labels = set(collector._labelnames)
            if family.type == "counter":
                names[f"{family.name}_total"] = labels
            elif family.type == "histogram":
                for suffix in ("_bucket", "_sum", "_count"):
                    names[f"{family.name}{suffix}"] = labels | ({"le"} if suffix == "_bucket" else set())
            else:
                names[family.name] = labels
    return names


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SERVING / "dashboards" / "backbeat.json").read_text())
    return loaded


def expressions() -> list[str]:
    """Every expression of the alerts and the dashboard, without what Grafana puts in."""
    shown = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    return [rule["expr"] for rule in alerts()] + [
        expression.replace("$__rate_interval", "5m").replace("$instance", ".*") for expression in shown
    ]


def test_expressions_use_metrics_and_labels_that_there_are() -> None:
    used = set()
    for expression in expressions():
        names = set(re.findall(r"\b(?:backbeat_\w+|up)\b", re.sub(r'"[^"]*"', '""', expression)))
        assert names, expression
        unknown = names - set(exposed()) - OF_PROMETHEUS
        assert not unknown, f"{sorted(unknown)} in {expression}"
        for name, matchers in re.findall(r"\b(backbeat_\w+)\{([^}]*)\}", expression):
            asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", matchers))
            assert asked <= exposed()[name] | {"instance", "job"}, f"{name}: {asked}"
        used |= names
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed()}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert bare <= shown, "metrics that neither the dashboard nor an alert uses"


def test_values_of_labels_are_those_that_the_service_gives() -> None:
    codes = {code for expression in expressions() for code in re.findall(r'code=~?"([^"]*)"', expression)}
    assert {code for several in codes for code in several.split("|")} <= set(CODES)


def test_thresholds_follow_the_settings() -> None:
    rules = {rule["alert"]: rule["expr"] for rule in alerts()}
    limits = SETTINGS["limits"]
    assert last_number(rules["BackbeatQueueNearFull"]) == pytest.approx(0.8 * (limits["at_once"] + limits["waiting"]))
    assert last_number(rules["BackbeatJobsWait"]) == SETTINGS["jobs"]["waiting"] / 2
    given = int(compose()["services"]["service"]["mem_limit"].removesuffix("g")) * GIB
    assert 0.75 * given < last_number(rules["BackbeatMemoryHigh"]) < 0.85 * given
    assert last_number(rules["BackbeatSlow"]) in metrics.LATENCY._upper_bounds


def test_pods_have_the_memory_that_the_alert_is_for() -> None:
    given = compose()["services"]["service"]["mem_limit"].replace("g", "Gi")
    assert pod("base")["containers"][0]["resources"]["limits"]["memory"] == given


def last_number(expression: str) -> float:
    return float(expression.split()[-1])


def test_every_alert_says_what_to_do_and_is_tested() -> None:
    tested: dict[str, set[bool]] = {}
    for case in yaml.safe_load((ALERTS.parent / "alerts_test.yml").read_text())["tests"]:
        for expected in case["alert_rule_test"]:
            tested.setdefault(expected["alertname"], set()).add(bool(expected["exp_alerts"]))
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert True in tested[rule["alert"]], rule["alert"]


def test_promtool_accepts_the_configuration_and_the_alerts_fire_when_they_should() -> None:
    promtool = needs("promtool")
    # The key is there only where it runs.
    said(promtool, "check", "config", "--syntax-only", ALERTS.parent / "prometheus.yml")
    said(promtool, "check", "rules", ALERTS)
    said(promtool, "test", "rules", ALERTS.parent / "alerts_test.yml")


def test_promtool_parses_every_expression(tmp_path: Path) -> None:
    promtool = needs("promtool")
    rules = [{"record": f"expression:{number}", "expr": text} for number, text in enumerate(expressions())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    said(promtool, "check", "rules", tmp_path / "rules.yml")


def test_the_dashboard_is_whole() -> None:
    board = dashboard()
    assert board["uid"] == "backbeat"
    assert board["schemaVersion"] >= 39
    names = {variable["name"] for variable in board["templating"]["list"]}
    assert names == {"datasource", "instance"}
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows == [
        "Traffic",
        "Latency by stage",
        "Queue and batches",
        "Errors",
        "Jobs and cache",
        "Models",
        "Drift and alerts",
        "Recommendation",
        "Memory",
    ]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert 'instance=~"$instance"' in target["expr"], target["expr"]
    sources = yaml.safe_load((SERVING / "grafana" / "datasources.yml").read_text())["datasources"]
    asked = yaml.safe_load((ALERTS.parent / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert sources[0]["jsonData"]["timeInterval"] == asked


def test_prometheus_asks_with_the_key_that_is_made() -> None:
    (job,) = yaml.safe_load((ALERTS.parent / "prometheus.yml").read_text())["scrape_configs"]
    folder, _, name = job["authorization"]["credentials_file"].rpartition("/")
    services = compose()["services"]
    volume = next(one for one in services["prometheus"]["volumes"] if one.split(":")[1] == folder)
    assert volume.endswith(":ro")
    place = next(
        one.split(":")[1] for one in services["scrape-key"]["volumes"] if one.split(":")[0] == volume.split(":")[0]
    )
    assert f"key={place}/{name}" in services["scrape-key"]["command"][0]
    assert job["static_configs"] == [{"targets": ["service:8000"]}]


# Make


@pytest.fixture
def engineless(tmp_path: Path) -> dict[str, str]:
    """Variables with which `docker` and `podman` are there, and no engine answers them."""
    for name in ("docker", "podman"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'Cannot connect to the daemon' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


@pytest.mark.parametrize("target", ["start", "stop", "logs", "health"])
def test_without_an_engine_make_says_so(engineless: dict[str, str], target: str) -> None:
    made = SERVING / ".env"
    there = made.exists()
    # make puts the environment's programs before ours; the fake ones must stay first.
    asked = ["make", "--no-print-directory", target, f"PATH={engineless['PATH']}"]
    done = subprocess.run(asked, cwd=ROOT, env=engineless, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    first, *others = done.stderr.splitlines()
    assert first.startswith("no container engine answers: install Docker or Podman")
    assert all(line.startswith("make") for line in others)
    assert done.stdout == ""
    assert made.exists() == there


def test_make_starts_with_the_engine_that_answers(tmp_path: Path, engineless: dict[str, str]) -> None:
    shutil.copytree(SERVING, tmp_path / "serving", ignore=shutil.ignore_patterns(".env", "__pycache__"))
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "podman").write_text('#!/bin/sh\n[ "$2" = version ] || [ "$1" = info ] || echo "$@" >>"$CALLED"\n')
    called = tmp_path / "called"
    variables = {**engineless, "CALLED": str(called)}

    def make(*what: str) -> str:
        asked = ["make", "--no-print-directory", *what, f"PATH={engineless['PATH']}"]
        done = subprocess.run(asked, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert make("start", "GPU=1").startswith("ready: the service at http://127.0.0.1:8000")
    assert called.read_text().split()[:5] == [
        "compose", "--file", "serving/compose.yaml", "--file", "serving/compose.gpu.yaml"
    ]  # fmt: skip
    secrets = (tmp_path / "serving" / ".env").read_text()
    assert (tmp_path / "serving" / ".env").stat().st_mode & 0o077 == 0
    made = re.findall(r"^\w*PASSWORD=([0-9a-f]{48})$", secrets, re.MULTILINE)
    assert len(set(made)) == len(made) == len(SECRETS.findall((SERVING / ".env.example").read_text()))
    assert not SECRETS.search(secrets)
    assert make("health").endswith("ready: http://127.0.0.1:8000\n")
    make("stop")
    assert called.read_text().splitlines()[-1] == "compose --file serving/compose.yaml down"
    make("start")
    assert (tmp_path / "serving" / ".env").read_text() == secrets
