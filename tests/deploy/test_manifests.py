"""The Compose and Kubernetes files name what there is, and give a stop the time it takes."""

import re
import subprocess
from pathlib import Path
from typing import Final

import msgspec
import pytest

from proxy.server.app import ROUTES
from tests.support.docker.dockerfile import parse
from tests.support.nginx import SHIPPED
from tests.support.program import ROOT

_DEPLOY: Final = ROOT / "deploy"
_COMPOSE: Final = ("compose.yaml", "compose.scale.yaml")
_AFTER_DRAIN_S: Final = 4
"""One second for what was cut, three for the last work."""


def _read(file: str) -> dict[str, object]:
    return msgspec.yaml.decode((_DEPLOY / file).read_bytes(), type=dict[str, object])


class Probe(msgspec.Struct):
    """A probe of Kubernetes'."""

    http: dict[str, str] = msgspec.field(name="httpGet")


class Container(msgspec.Struct, rename="camel"):
    """A container of a pod."""

    image: str
    ports: list[dict[str, str | int]]
    env: list[dict[str, str]]
    startup_probe: Probe
    liveness_probe: Probe
    readiness_probe: Probe
    security_context: dict[str, object]
    volume_mounts: list[dict[str, str]]


class PodSpec(msgspec.Struct, rename="camel"):
    """What a pod is made of."""

    containers: list[Container]
    volumes: list[dict[str, object]]
    security_context: dict[str, object]
    termination_grace_period_seconds: int


class Metadata(msgspec.Struct):
    """Labels."""

    labels: dict[str, str]


class Template(msgspec.Struct):
    """A pod's template."""

    metadata: Metadata
    spec: PodSpec


class DeploymentSpec(msgspec.Struct):
    """What a Deployment asks for."""

    replicas: int
    template: Template
    selector: dict[str, dict[str, str]]


class Deployment(msgspec.Struct):
    """A Deployment."""

    spec: DeploymentSpec


class Service(msgspec.Struct):
    """A service of Compose."""

    read_only: bool
    cap_drop: list[str]
    security_opt: list[str]
    tmpfs: list[str] = []
    volumes: list[str] = []
    networks: dict[str, dict[str, str]] = {}
    environment: dict[str, str] = {}
    stop_grace_period: str = "10s"


class Compose(msgspec.Struct):
    """A Compose file."""

    services: dict[str, Service]
    volumes: dict[str, object]
    networks: dict[str, object] = {}


@pytest.fixture
def deployment() -> DeploymentSpec:
    """The Deployment as it is shipped."""
    return msgspec.yaml.decode((_DEPLOY / "kubernetes/deployment.yaml").read_bytes(), type=Deployment).spec


def _compose(file: str) -> Compose:
    return msgspec.yaml.decode((_DEPLOY / file).read_bytes(), type=Compose)


def test_whoever_selects_pods_finds_them(deployment: DeploymentSpec) -> None:
    """Protects against a Service without pods, and a budget that guards nothing."""
    labels = deployment.template.metadata.labels
    assert deployment.selector["matchLabels"] == labels
    service, budget = _read("kubernetes/service.yaml"), _read("kubernetes/disruption-budget.yaml")
    assert isinstance(service["spec"], dict)
    assert isinstance(budget["spec"], dict)
    assert service["spec"]["selector"] == labels
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert budget["spec"]["maxUnavailable"] < deployment.replicas
    (container,) = deployment.template.spec.containers
    assert service["spec"]["ports"][0]["targetPort"] == container.ports[0]["name"]


def test_probes_ask_what_is_there_on_the_port_of_the_image(deployment: DeploymentSpec) -> None:
    """Protects pods from being killed by a probe of an address that does not exist."""
    (container,) = deployment.template.spec.containers
    paths = {route.path for route in ROUTES}
    for probe in (container.startup_probe, container.liveness_probe, container.readiness_probe):
        assert probe.http["path"] in paths
        assert probe.http["port"] == container.ports[0]["name"]
    assert container.readiness_probe.http["path"] == "/ready"
    *_, final = parse((ROOT / "Dockerfile").read_text())
    exposed = next(each.text for each in final.instructions if each.word == "EXPOSE")
    assert container.ports[0]["containerPort"] == int(exposed)


def test_a_pod_has_no_rights_and_the_time_its_drain_takes(deployment: DeploymentSpec) -> None:
    """Protects clusters from the program, and streams from being killed while they drain."""
    pod = deployment.template.spec
    (container,) = pod.containers
    assert pod.security_context["runAsUser"] == pod.security_context["fsGroup"] == 1000
    assert container.security_context["readOnlyRootFilesystem"] is True
    assert container.security_context["allowPrivilegeEscalation"] is False
    assert container.security_context["capabilities"] == {"drop": ["ALL"]}
    assert {mount["mountPath"] for mount in container.volume_mounts} == {"/data", "/tmp"}  # noqa: S108 - the pod's
    assert {mount["name"] for mount in container.volume_mounts} == {volume["name"] for volume in pod.volumes}
    settings = {one["name"]: one["value"] for one in container.env}
    drain_s = float(settings["DRAIN_DELAY"]) + float(settings["DRAIN_SECONDS"]) + _AFTER_DRAIN_S
    assert pod.termination_grace_period_seconds > drain_s


@pytest.mark.parametrize("file", _COMPOSE)
def test_compose_services_have_no_rights_and_time_to_drain(file: str) -> None:
    """Protects hosts from the program, and streams from Docker's ten seconds."""
    compose = _compose(file)
    for name, service in compose.services.items():
        assert service.read_only
        assert service.cap_drop == ["ALL"]
        assert service.security_opt == ["no-new-privileges:true"]
        named = {volume.partition(":")[0] for volume in service.volumes if not volume.startswith(".")}
        assert named <= compose.volumes.keys()
        mounted = [volume.partition(":")[0] for volume in service.volumes if volume.startswith(".")]
        assert [file for file in mounted if not (_DEPLOY / file).is_file()] == []
        if name.startswith("carousel"):
            drain_s = float(service.environment.get("DRAIN_DELAY", "0")) + 25 + _AFTER_DRAIN_S
            assert int(service.stop_grace_period.removesuffix("s")) > drain_s
            assert service.tmpfs == ["/tmp"]  # noqa: S108 - the container's


def test_nginx_knows_every_replica_and_is_the_only_one_they_trust() -> None:
    """Protects replicas from being forgotten, and the addresses of clients from being forged within the network."""
    services = _compose("compose.scale.yaml").services
    replicas = {name: one for name, one in services.items() if name.startswith("carousel")}
    addresses = {one.networks["inner"]["ipv4_address"] for one in replicas.values()}
    assert set(re.findall(r"^ +server ([0-9.]+):8080 ", SHIPPED.read_text(), re.MULTILINE)) == addresses
    assert len(addresses) == len(replicas) == 3
    assert len({tuple(one.volumes) for one in replicas.values()}) == 3
    front = services["nginx"].networks["inner"]["ipv4_address"]
    assert {one.environment["TRUSTED_PROXIES"] for one in replicas.values()} == {f"{front}/32"}


def _built(folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    docker = folder / "docker"
    docker.write_text('#!/bin/sh\necho "$@"\n')
    docker.chmod(0o755)
    paths = {"PATH": f"{folder}:/usr/bin:/bin"}
    return subprocess.run(  # noqa: S603 - ours
        [_DEPLOY / "build.sh"], env={**paths, **environment}, capture_output=True, text=True, check=False
    )


def test_the_build_goes_to_the_registry_that_was_named(tmp_path: Path) -> None:
    """Protects users of the variable they know: with a scheme or without, both platforms, and pushed."""
    done = _built(tmp_path, CLAUDE_PROXY_API_DOCKER_REGISTRY_URI="https://registry.example.com/team/")
    assert done.returncode == 0
    assert "--platform linux/amd64,linux/arm64" in done.stdout
    assert "--tag registry.example.com/team/carousel:0.1.0" in done.stdout
    assert "--push" in done.stdout


def test_without_a_registry_the_build_says_what_is_missing(tmp_path: Path) -> None:
    """Protects against an image that is built for a quarter of an hour and goes nowhere."""
    done = _built(tmp_path)
    assert done.returncode == 1
    assert "CLAUDE_PROXY_API_DOCKER_REGISTRY_URI" in done.stderr
    assert done.stdout == ""


def test_a_space_holds_the_program_under_its_own_readme(tmp_path: Path) -> None:
    """Protects Spaces: the header Hugging Face reads stands first, the port is the one the image listens on."""
    for _ in range(2):
        subprocess.run([_DEPLOY / "space.sh", tmp_path], check=True)  # noqa: S603 - ours
    head = (tmp_path / "README.md").read_text().split("---")[1]
    header = msgspec.yaml.decode(head.encode(), type=dict[str, object])
    *_, final = parse((tmp_path / "Dockerfile").read_text())
    exposed = next(each.text for each in final.instructions if each.word == "EXPOSE")
    assert header["sdk"] == "docker"
    assert header["app_port"] == int(exposed) == 7860
    assert (tmp_path / "proxy/server/app.py").is_file()
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_space_is_never_laid_out_over_the_checkout() -> None:
    """Protects the README of whoever names the wrong folder."""
    before = (ROOT / "README.md").read_bytes()
    done = subprocess.run([_DEPLOY / "space.sh", ROOT], capture_output=True, check=False)  # noqa: S603 - ours
    assert done.returncode == 1
    assert (ROOT / "README.md").read_bytes() == before
