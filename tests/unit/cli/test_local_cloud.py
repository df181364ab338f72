"""Parts of the local cloud that need neither the emulator nor a network."""

import dataclasses
import os
import sys
from pathlib import Path

import psutil
import pytest

from forebay_cli.failures import CommandError
from forebay_cli.home import Home
from forebay_cli.localcloud import deploying, interpreters, ports
from forebay_cli.localcloud.emulator import client_environment, stop
from forebay_cli.localcloud.lifecycle import UpRequest, bring_down, bring_up, running_cloud
from forebay_cli.localcloud.record import LocalCloud


def a_cloud(**changes: object) -> LocalCloud:
    this = psutil.Process()
    cloud = LocalCloud("http://127.0.0.1:9", 9, False, this.pid, this.create_time())
    return dataclasses.replace(cloud, **changes)  # type: ignore[arg-type]


def test_the_record_survives_a_round_trip(tmp_path: Path) -> None:
    cloud = a_cloud(deployed="abc")
    cloud.save(tmp_path / "deep" / "local.json")
    assert LocalCloud.load(tmp_path / "deep" / "local.json") == cloud


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"unknown": 1}'])
def test_a_record_that_cannot_be_understood_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "local.json").write_text(text)
    assert LocalCloud.load(tmp_path / "local.json") is None


def test_a_process_id_given_to_another_program_is_not_the_emulator() -> None:
    assert a_cloud().process() is not None
    assert a_cloud(started_at=1.0).process() is None


def test_stopping_leaves_a_foreign_process_alone() -> None:
    assert stop(a_cloud(started_at=1.0)) is False


def test_no_record_means_no_local_cloud(tmp_path: Path) -> None:
    home = Home(None, tmp_path)
    assert running_cloud(home) is None
    assert bring_down(home, purge=False) is False


def test_an_up_with_other_wishes_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path, tmp_path / "state")
    a_cloud().save(home.record)
    monkeypatch.setattr("forebay_cli.localcloud.lifecycle.cdk_command", lambda _: ["cdk"])
    with pytest.raises(CommandError, match="another --port and --secure") as refused:
        bring_up(home, UpRequest(secure=True, port=4600), print)
    assert "forebay down" in refused.value.hint


def test_kept_state_is_served_where_it_was_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, kept = Home(tmp_path, tmp_path / "state"), tmp_path / "kept"
    kept.mkdir()
    (kept / "port").write_text("4700\n")
    monkeypatch.setattr("forebay_cli.localcloud.lifecycle.cdk_command", lambda _: ["cdk"])
    with pytest.raises(CommandError, match="kept at port 4700") as refused:
        bring_up(home, UpRequest(port=4600, data_folder=kept), print)
    assert "--port 4700" in refused.value.hint


def test_a_purge_keeps_journals_of_uploads(tmp_path: Path) -> None:
    home = Home(None, tmp_path)
    for folder in (home.environment, home.logs, home.kept_state, home.scratch, home.uploads):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    bring_down(home, purge=True)
    assert [path.name for path in tmp_path.iterdir()] == [home.uploads.name]


def test_up_outside_a_checkout_says_so(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no checkout"):
        bring_up(Home(None, tmp_path), UpRequest(), print)


def test_a_missing_cdk_names_npm_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploying, "require_node", lambda: "22.0.0")
    with pytest.raises(CommandError) as refused:
        deploying.cdk_command(tmp_path)
    assert "npm ci" in refused.value.hint


def test_a_missing_node_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CommandError, match="not installed") as refused:
        deploying.require_node()
    assert "Node 20" in refused.value.hint


def test_an_old_node_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v18.1.0\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(CommandError, match=r"18\.1\.0 is too old"):
        deploying.require_node()


def test_cdk_output_is_told_as_progress() -> None:
    line = "forebay-ingest |  3/98 | 5:37:51 PM | CREATE_COMPLETE      | AWS::SQS::Queue | Queue"
    assert deploying.progress_of(line) == "forebay-ingest: 3 of 98 resources"
    assert deploying.progress_of("forebay-catalog: deploying... [2/4]").startswith(
        "forebay-catalog"
    )
    assert deploying.progress_of("anything else") == ""


def test_the_fingerprint_sees_source_and_not_caches(tmp_path: Path) -> None:
    source = tmp_path / "functions" / "a" / "handler.py"
    source.parent.mkdir(parents=True)
    source.write_text("one")
    first = deploying.source_fingerprint(tmp_path)
    cache = tmp_path / "functions" / "a" / "__pycache__" / "handler.pyc"
    cache.parent.mkdir()
    cache.write_text("cache")
    assert deploying.source_fingerprint(tmp_path) == first
    source.write_text("two")
    assert deploying.source_fingerprint(tmp_path) != first


def test_a_deployment_does_not_hear_of_real_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    monkeypatch.setenv("FOREBAY_PREFIX", "other")
    environment = deploying.deployment_environment(Home(tmp_path, tmp_path), a_cloud())
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "FOREBAY_PREFIX"} & environment.keys()
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"


def test_a_secure_cloud_is_trusted_by_node_and_python() -> None:
    environment = client_environment(a_cloud(ca_bundle="/ca.pem"))
    names = ("NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE", "SSL_CERT_FILE")
    assert {environment[name] for name in names} == {"/ca.pem"}


@pytest.mark.enable_socket
def test_a_taken_port_names_its_holder() -> None:
    import socket  # noqa: PLC0415 - only here

    with socket.socket() as taken:
        taken.bind((ports.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Port {port} is taken by") as refused:
            ports.require_free(port)
    assert f"--port {port + 1}" in refused.value.hint


def test_the_lambda_version_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("3.14.1", "3.13.2", "3.12.0"):
        fake = tmp_path / "versions" / version / "bin" / "python3"
        fake.parent.mkdir(parents=True)
        fake.write_text(f"#!/bin/sh\necho {version}\n")
        fake.chmod(0o755)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.delenv(interpreters.ENV_PYTHON, raising=False)
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("sys.version_info", (3, 12, 0))
    assert interpreters.best_interpreter().version == (3, 13, 2)


def test_a_chosen_interpreter_that_does_not_work_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(interpreters.ENV_PYTHON, "/nowhere/python")
    with pytest.raises(CommandError, match="FOREBAY_PYTHON names /nowhere/python"):
        interpreters.best_interpreter()


def test_this_interpreter_answers() -> None:
    found = interpreters.ask_version(Path(sys.executable))
    assert found is not None
    assert found.version == sys.version_info[:3]
