"""Separation by workers that wait at a queue: what they do, what they refuse, and a queue of the real kind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner
from unit.test_separation import GOLDEN, models  # noqa: F401 (a fixture)
from unit.test_separation_cache import redis_port  # noqa: F401 (a fixture)
from unit.test_separation_engine import contents, write_songs

from backbeat.cli import app as cli
from backbeat.errors import ConfigError
from backbeat.separation.cache import StemCache
from backbeat.separation.engine import SeparationEngine
from backbeat.separation.files import USUAL, SeparationOptions, StemFormat
from backbeat.separation.queue import celery_app, enqueue, register
from backbeat.separation.store import pull

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def songs(tmp_path: Path, models: Path) -> list[Path]:  # noqa: F811
    pull("spleeter:2stems", source=GOLDEN / "2stems")
    (tmp_path / "music").mkdir()
    return write_songs(tmp_path / "music/songs", 3, 0.5)


def test_a_worker_does_what_a_message_says_inside_its_folder_only(tmp_path: Path, songs: list[Path]) -> None:
    task = register(celery_app(NOWHERE), SeparationEngine(), tmp_path / "music")
    options = SeparationOptions(("vocals",), StemFormat("flac")).to_dict()
    out = tmp_path / "music/out"
    said = task(str(songs[0]), "spleeter:2stems", str(out), options)
    assert said == {"stems": ["vocals"], "warnings": [], "skipped": False}
    assert (out / "vocals.flac").is_file()
    assert task(str(songs[0]), "spleeter:2stems", str(out), options)["skipped"]

    (tmp_path / "music/link").symlink_to(tmp_path)
    write_songs(tmp_path, 1, 0.5)
    for path, folder in (
        (tmp_path / "song0.wav", out),
        (tmp_path / "music/link/song0.wav", out),
        (tmp_path / "music/../song0.wav", out),
        (songs[0], tmp_path / "elsewhere"),
    ):
        said = task(str(path), "spleeter:2stems", str(folder), options)
        assert "which is all that this worker may touch" in said["error"]
    assert not (tmp_path / "elsewhere").exists()
    assert "no separation model" in task(str(songs[0]), str(tmp_path), str(out), options)["error"]
    assert "no options" in task(str(songs[0]), "spleeter:2stems", str(out), {"stems": None})["error"]
    (tmp_path / "music/words.wav").write_text("words")
    assert (
        "is not audio"
        in task(str(tmp_path / "music/words.wav"), "spleeter:2stems", str(out / "words"), options)["error"]
    )


def test_addresses_that_are_no_queue_are_refused(tmp_path: Path, songs: list[Path]) -> None:
    for url in ("amqp://queue", "http://queue", "queue", "redis://", "redis://queue:port", "redis://queue:7801/abc"):
        with pytest.raises(ConfigError, match="is no address of a queue"):
            celery_app(url)
    with pytest.raises(ConfigError, match="cannot be reached"):
        enqueue(celery_app(NOWHERE), [(songs[0], tmp_path / "out")], "spleeter:2stems", USUAL)
    for url in ("redis://queue", "rediss://:word@10.0.0.1:7801/3", "redis://[::1]:6379/0?ssl_cert_reqs=none"):
        assert celery_app(url).conf.broker_url == url


def test_what_a_queue_has_no_use_for_is_refused(tmp_path: Path, songs: list[Path]) -> None:
    def said(*options: str) -> str:
        return str(CliRunner().invoke(cli, ["separate", str(songs[0]), "--queue", NOWHERE, *options]).exception)

    assert "--cache and --device are for `backbeat worker`" in said("--device", "cpu")
    assert "a queue takes models by their names" in said("-m", str(tmp_path))
    assert "there is no stem 'flute'" in said("--stems", "flute")


@pytest.fixture
def worker(tmp_path: Path, songs: list[Path], redis_port: int) -> Iterator[str]:  # noqa: F811
    """A worker of the real kind in a thread of this process; gives the queue's address."""
    from celery.contrib.testing.worker import start_worker

    url = f"redis://127.0.0.1:{redis_port}/0"
    app = celery_app(url)
    register(app, SeparationEngine(cache=StemCache(tmp_path / "cache", redis_url=url)), tmp_path / "music")
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=60):
        yield url


def test_songs_go_through_the_queue(tmp_path: Path, songs: list[Path], worker: str) -> None:
    (tmp_path / "music/songs/bad.wav").write_text("words")
    out = tmp_path / "music/out"
    command = ["separate", str(tmp_path / "music/songs"), "-m", "spleeter:2stems", "-o", str(out)]
    done = CliRunner().invoke(cli, [*command, "--queue", worker])
    assert done.exit_code == 1
    assert done.output.count("vocals, accompaniment") == 3
    assert "bad.wav: is not audio" in done.output
    by_queue = contents(out)
    assert len(by_queue) == 9
    (tmp_path / "music/songs/bad.wav").unlink()
    assert CliRunner().invoke(cli, [*command[:-1], str(tmp_path / "here"), "--workers", "2"]).exit_code == 0
    assert contents(tmp_path / "here") == by_queue
    later = CliRunner().invoke(cli, [*command, "--queue", worker, "--no-wait"])
    assert later.exit_code == 0
    assert "3 in the queue" in later.output


def test_machines_that_share_a_redis_do_not_work_on_the_same_song_at_once(
    tmp_path: Path,
    redis_port: int,  # noqa: F811
) -> None:
    url = f"redis://127.0.0.1:{redis_port}/0"
    machines = [StemCache(tmp_path / name, redis_url=url) for name in ("one", "two")]
    order: list[str] = []

    def work(number: int) -> None:
        with machines[number].once("00key"):
            order.append("begins")
            time.sleep(0.3)
            order.append("ends")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order == ["begins", "ends"] * 2
    for machine in machines:
        machine.close()
