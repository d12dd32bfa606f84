"""Separation: the same as Spleeter's own program, for any length, and files that are whole or not there.

The networks here are Spleeter's with fewer filters and random weights (tests/golden/spleeter_reference.py made the
checkpoints and the outputs to compare with); nothing here says how well anything is separated.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from golden.signals import RATE_HZ, signals
from services import http_server
from typer.testing import CliRunner

from backbeat.audio import decode, probe
from backbeat.audio.encode import encode, stereo_bitrates
from backbeat.audio.mixing import stereo_weights
from backbeat.cli import app
from backbeat.errors import AudioNotFoundError, ConfigError, DamagedAudioError, ModelError, UnsupportedAudioError
from backbeat.files import sha256_file
from backbeat.separation import store
from backbeat.separation.checkpoint import read_checkpoint, spleeter_state
from backbeat.separation.files import (
    RECORD,
    USUAL,
    Preparation,
    SeparationOptions,
    StemFormat,
    is_stem,
    separate_file,
    song_folders,
)
from backbeat.separation.network import SeparatorNetwork, SeparatorParams
from backbeat.separation.noise import NO_NOISE
from backbeat.separation.store import OFFICIAL, find, installed, load_network, pull, remove, validate
from backbeat.separation.streaming import separate_blocks

GOLDEN = Path(__file__).parents[1] / "golden" / "spleeter"
#: A folder that `make spleeter-reference` has made, with networks of the real size.
FULL = os.environ.get("BACKBEAT_SPLEETER_REFERENCE")
KINDS = tuple(OFFICIAL)
DATA, INDEX = "model.data-00000-of-00001", "model.index"


def small(kind: str) -> SeparatorParams:
    told = json.loads((GOLDEN / kind / "reference.json").read_text())
    return replace(OFFICIAL[kind].params, filters=tuple(told["filters"]), segment_frames=told["segment_frames"])


def network_of(folder: Path, params: SeparatorParams) -> SeparatorNetwork:
    network = SeparatorNetwork(params)
    state = spleeter_state(read_checkpoint(folder / INDEX, folder / DATA), params)
    missing, unknown = network.load_state_dict(state, strict=False)
    assert unknown == []
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return network.eval().requires_grad_(False)


def separated(network: SeparatorNetwork, samples: np.ndarray, block: int = 10_000, **how: Any) -> np.ndarray:
    blocks = [samples[:, at : at + block] for at in range(0, samples.shape[1], block)]
    return np.concatenate(list(separate_blocks(network, blocks, **how)), axis=-1)


def compare(folder: Path, params: SeparatorParams) -> None:
    network = network_of(folder, params)
    stride = json.loads((folder / "reference.json").read_text())["stride"]
    outputs = np.load(folder / "outputs.npz")
    for name, signal in signals(params.segment_frames * params.frame_step / RATE_HZ).items():
        stems = separated(network, (stereo_weights(("FC",) if signal.shape[1] == 1 else ("FL", "FR")) @ signal.T))
        for stem, samples in zip(params.instruments, stems, strict=True):
            assert samples.T.shape == tuple(outputs[f"{name}/{stem}/shape"])
            truth = outputs[f"{name}/{stem}"]
            assert np.abs(samples.T[::stride] - truth).max() <= 1e-4 * np.abs(truth).max(), (name, stem)


@pytest.mark.parametrize("kind", KINDS)
def test_stems_are_those_of_spleeter(kind: str) -> None:
    compare(GOLDEN / kind, small(kind))


@pytest.mark.skipif(not FULL, reason="needs BACKBEAT_SPLEETER_REFERENCE: `make spleeter-reference` sets it")
@pytest.mark.parametrize("kind", KINDS)
def test_stems_of_the_real_size_are_those_of_spleeter(kind: str) -> None:
    compare(Path(FULL or "") / kind, OFFICIAL[kind].params)


@pytest.fixture(scope="module")
def network() -> SeparatorNetwork:
    return network_of(GOLDEN / "2stems", small("2stems"))


@pytest.mark.parametrize("count", [1, 1023, 65_536, 65_537, 140_000])
def test_how_audio_is_cut_to_blocks_changes_nothing(network: SeparatorNetwork, count: int) -> None:
    samples = (0.2 * np.random.default_rng(count).standard_normal((2, count))).astype(np.float32)
    whole = separated(network, samples, count)
    assert whole.shape == (2, 2, count)
    np.testing.assert_array_equal(separated(network, samples, 977), whole)
    # With several segments at once the sums come in another order.
    np.testing.assert_allclose(separated(network, samples, segments_at_once=3), whole, atol=1e-5)


def test_masks_of_all_stems_add_up_to_the_mixture_below_the_band_limit(network: SeparatorNetwork) -> None:
    time_s = np.arange(100_000) / RATE_HZ
    samples = np.stack([np.sin(2 * np.pi * 440 * time_s), np.sin(2 * np.pi * 660 * time_s)]).astype(np.float32)
    both = separated(network, samples).sum(axis=0)
    # The ends of a sine have a spectrum without end.
    np.testing.assert_allclose(both[:, 5000:-5000], samples[:, 5000:-5000], atol=1e-4)
    high = np.tile(np.sin(2 * np.pi * 15_000 * time_s).astype(np.float32), (2, 1))
    assert np.abs(separated(network, high)[..., 5000:-5000]).max() < 1e-4


def test_nothing_is_no_stems(network: SeparatorNetwork) -> None:
    assert list(separate_blocks(network, [])) == []
    with pytest.raises(ConfigError, match=r"of shape \(2, samples\)"):
        list(separate_blocks(network, [np.zeros((1, 10), np.float32)]))
    with pytest.raises(ConfigError, match="segments_at_once"):
        list(separate_blocks(network, [], segments_at_once=0))


@pytest.mark.parametrize(
    "bad",
    [
        {"instruments": ()},
        {"instruments": ("a", "a")},
        {"encoder": "swish"},
        {"filters": (1, 2)},
        {"frame_step": 512},
        {"bins": 1000},
        {"segment_frames": 100},
    ],
)
def test_senseless_networks_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SeparatorParams(**{"instruments": ("a",), **bad})


def test_damaged_checkpoints_are_said_to_be_so(tmp_path: Path) -> None:
    index, data = (GOLDEN / "2stems" / name for name in (INDEX, DATA))
    whole = index.read_bytes()
    rng = np.random.default_rng(0)
    (tmp_path / "d").write_bytes(data.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cut short"):
        read_checkpoint(index, tmp_path / "d")
    for content in (b"", b"words", whole[:-1], whole[100:], b"\0" * 5000 + whole[-8:]):
        (tmp_path / "i").write_bytes(content)
        with pytest.raises(ModelError, match="is not the index of a TensorFlow checkpoint"):
            read_checkpoint(tmp_path / "i", data)
    for _ in range(300):
        broken = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            broken[at] = rng.integers(0, 256)
        (tmp_path / "i").write_bytes(bytes(broken))
        with suppress(ModelError):
            read_checkpoint(tmp_path / "i", data)
    with pytest.raises(ModelError, match="cannot be read"):
        read_checkpoint(tmp_path / "none", data)
    with pytest.raises(ModelError, match="has no variable conv2d_14"):
        spleeter_state(read_checkpoint(index, data), small("4stems"))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the small networks stand for the official ones, in a folder of their own."""
    root = tmp_path / "models"
    monkeypatch.setenv("BACKBEAT_MODELS", str(root))
    monkeypatch.delenv("BACKBEAT_SPLEETER_URL", raising=False)
    for kind in KINDS:
        entry = store.Official(small(kind), sha256_file(GOLDEN / kind / DATA))
        monkeypatch.setitem(OFFICIAL, kind, entry)
    return root


def archive_of(kind: str, path: Path, extra: dict[str, bytes] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in (extra or {}).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name in ("checkpoint", INDEX, DATA):
            archive.add(GOLDEN / kind / name, f"./{name}")
    return path


@contextmanager
def server(folder: Path, asked: list[str], *, breaks_after: int | None = None) -> Iterator[str]:
    """Serve a folder with byte ranges; break the first answer off after so many bytes."""
    state = {"breaks": breaks_after}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Range", "whole"))
            file = folder / self.path.lstrip("/")
            if not file.is_file():
                self.send_error(404)
                return
            content, start = file.read_bytes(), 0
            if (span := self.headers.get("Range", "")).startswith("bytes="):
                start = int(span[6:].rstrip("-"))
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            cut, state["breaks"] = state["breaks"], None
            self.wfile.write(content[start : start + cut] if cut else content[start:])

        def log_message(self, *_: Any) -> None:
            return

    with http_server(Handler) as address:
        yield address


def test_a_model_is_pulled_once_and_works(tmp_path: Path, models: Path) -> None:
    archive_of("4stems", tmp_path / "www" / "4stems.tar.gz")
    asked: list[str] = []
    seen: list[tuple[str, int, int | None]] = []
    with server(tmp_path / "www", asked) as address:
        folder = pull("spleeter:4stems", mirror=address, progress=lambda *step: seen.append(step))
        assert pull("spleeter:4stems", mirror=address) == folder
    assert asked == ["whole"]
    assert seen[-1][1] == seen[-1][2]
    assert folder.parent.parent.parent == models
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    spec = validate(folder)
    assert (spec.name, spec.licence, spec.provenance["official"]) == ("spleeter:4stems", "MIT", "yes")
    assert spec.network == small("4stems")
    before = network_of(GOLDEN / "4stems", small("4stems")).state_dict()
    for name, values in load_network(folder).state_dict().items():
        assert torch.equal(values, before[name]), name


def test_a_download_that_broke_off_goes_on_where_it_was(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = archive_of("2stems", tmp_path / "www" / "2stems.tar.gz").stat().st_size
    asked: list[str] = []
    with server(tmp_path / "www", asked, breaks_after=5000) as address:
        monkeypatch.setenv("BACKBEAT_SPLEETER_URL", address + "/")
        with pytest.raises(ModelError, match=f"5000 of {size} bytes came; .* --from 2stems.tar.gz") as caught:
            pull("spleeter:2stems")
        assert address in str(caught.value)
        assert installed() == []
        pull("spleeter:2stems")
    assert asked == ["whole", "bytes=5000-"]
    assert len(installed()) == 1
    assert not list(models.rglob("*.tar.gz*"))


def test_a_process_killed_while_it_imports_leaves_no_model(tmp_path: Path, models: Path) -> None:
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "import backbeat.separation.store as store\n"
            "network = store.SeparatorNetwork(store.SeparatorParams(('vocals', 'accompaniment'), filters=(1,) * 6))\n"
            "state = {name: value.contiguous() for name, value in network.state_dict().items()}\n"
            "store.spleeter_state = lambda *_: state\n"
            "store.SeparatorNetwork = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
            "store.pull('spleeter:2stems', source=Path(sys.argv[1]), sha256=sys.argv[2])\n",
            str(GOLDEN / "2stems"),
            sha256_file(GOLDEN / "2stems" / DATA),
        ],
        check=False,
    )
    assert killed.returncode == -9
    assert list(models.rglob("*.safetensors"))  # it had come as far as that
    assert installed() == []
    with pytest.raises(ModelError, match="is not installed"):
        find("spleeter:2stems")
    pull("spleeter:2stems", source=GOLDEN / "2stems")
    assert len(installed()) == 1


def test_a_download_that_was_whole_is_not_repeated(tmp_path: Path, models: Path) -> None:
    archive = archive_of("2stems", tmp_path / "www" / "2stems.tar.gz")
    part = models / "spleeter" / "2stems" / ".2stems.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(archive.read_bytes())
    asked: list[str] = []
    with server(tmp_path / "www", asked) as address:
        pull("spleeter:2stems", mirror=address)
    assert asked == [f"bytes={archive.stat().st_size}-"]


def test_what_is_not_the_official_model_is_refused_and_leaves_nothing(tmp_path: Path, models: Path) -> None:
    archive = archive_of("2stems", tmp_path / "2stems.tar.gz")
    with pytest.raises(ModelError, match=r"is not the file expected: the SHA-256 of its data is .*official"):
        pull("spleeter:4stems", source=archive)
    digest = sha256_file(GOLDEN / "2stems" / DATA)
    with pytest.raises(ModelError, match="has no variable conv2d_14"):
        pull("spleeter:4stems", source=archive, sha256=digest)
    digest = sha256_file(GOLDEN / "4stems" / DATA)
    with pytest.raises(ModelError, match="beyond those of 2 stems"):
        pull("spleeter:2stems", source=GOLDEN / "4stems", sha256=digest)
    with pytest.raises(ModelError, match="64 hexadecimal digits"):
        pull("spleeter:4stems", source=archive, sha256="../..")
    with pytest.raises(ModelError, match="there is no separation model 'spleeter:3stems'"):
        pull("spleeter:3stems")
    with pytest.raises(ModelError, match="no such archive or folder"):
        pull("spleeter:2stems", source=tmp_path / "none.tar.gz")
    (tmp_path / "words.tar.gz").write_text("words")
    with pytest.raises(ModelError, match="cannot be read as an archive"):
        pull("spleeter:2stems", source=tmp_path / "words.tar.gz")
    (tmp_path / "half.tar.gz").write_bytes(archive.read_bytes()[:9000])
    with pytest.raises(ModelError, match="cannot be read as an archive"):
        pull("spleeter:2stems", source=tmp_path / "half.tar.gz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"has no model\.index"):
        pull("spleeter:2stems", source=tmp_path / "empty")
    assert installed() == []
    assert not [path for path in models.rglob("*") if path.is_file()]


def test_an_archive_writes_nowhere_but_where_it_should(tmp_path: Path, models: Path) -> None:
    traps = {"../../evil": b"1", "/tmp/backbeat-evil": b"2", f"../{DATA}.x": b"3"}  # noqa: S108
    before = {path for path in tmp_path.rglob("*") if models not in path.parents}
    archive = archive_of("5stems", tmp_path / "a.tar.gz", traps)
    pull("spleeter:5stems", source=archive)
    assert {path for path in tmp_path.rglob("*") if models not in path.parents} - before == {archive, models}
    assert not Path("/tmp/backbeat-evil").exists()  # noqa: S108


def test_versions_stand_side_by_side(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pull("spleeter:2stems", source=GOLDEN / "2stems")
    other = tmp_path / "other"
    other.mkdir()
    (other / INDEX).write_bytes((GOLDEN / "2stems" / INDEX).read_bytes())
    changed = bytearray((GOLDEN / "2stems" / DATA).read_bytes())
    changed[:4] = b"\0\0\0\0"
    (other / DATA).write_bytes(bytes(changed))
    # A second later, for the second to be the latest.
    spec = json.loads((first / "spec.json").read_text())
    spec["provenance"]["imported"] = "2020-01-01T00:00:00+00:00"
    (first / "spec.json").write_text(json.dumps(spec))
    second = pull("spleeter:2stems", source=other, sha256=sha256_file(other / DATA))
    assert second.name.startswith("own-")
    assert find("spleeter:2stems") == second
    assert find(f"spleeter:2stems@{first.name}") == first
    with pytest.raises(ModelError, match=f"spleeter:2stems@9 is not installed; there is {second.name}, {first.name}"):
        find("spleeter:2stems@9")
    remove(second)
    assert find("spleeter:2stems") == first
    assert [path.name for path in first.parent.iterdir()] == [first.name]
    (first / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ModelError, match="is not what was imported"):
        validate(first)
    with pytest.raises(ModelError, match=r"cannot be read: .* pull it again"):
        load_network(first)
    with pytest.raises(ModelError, match="get it with `backbeat models pull spleeter:4stems`"):
        find("spleeter:4stems")


def write_song(path: Path, seconds: float = 2.0, rate_hz: int = 44100, channels: int = 2) -> Path:
    rng = np.random.default_rng(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(path, (0.1 * rng.standard_normal((channels, round(seconds * rate_hz)))).astype(np.float32), rate_hz)
    return path


@pytest.mark.parametrize(
    ("rate_hz", "channels", "suffix", "out_hz"),
    [(44100, 2, "wav", None), (22050, 1, "flac", None), (48000, 2, "wav", None), (48000, 6, "wav", 16000)],
)
def test_stems_are_as_long_as_the_song(
    tmp_path: Path, network: SeparatorNetwork, rate_hz: int, channels: int, suffix: str, out_hz: int | None
) -> None:
    song = write_song(tmp_path / "song.wav", 1.7, rate_hz, channels)
    done: list[tuple[float, float]] = []
    how = StemFormat(suffix, 24, None, out_hz)
    made = separate_file(
        song,
        tmp_path / "out",
        network,
        "small",
        SeparationOptions(how=how),
        progress=lambda at, total: done.append((at, total)),
    )
    assert list(made.stems) == ["vocals", "accompaniment"]
    total = np.zeros((2, round(1.7 * (out_hz or rate_hz))), np.float32)
    for path in made.stems.values():
        info = soundfile.info(path)
        assert (info.channels, info.samplerate, info.subtype) == (2, out_hz or rate_hz, "PCM_24")
        assert info.frames == total.shape[1]
        total += soundfile.read(path, dtype="float32", always_2d=True)[0].T
    assert done[-1][0] == done[-1][1] == pytest.approx(1.7)
    # Both stems together are the song, at the same time, up to what the network does not hear above 11 kHz.
    source = decode(song, sample_rate_hz=out_hz or rate_hz).samples
    source = stereo_weights(probe(song).channel_names) @ source
    spectra = [np.fft.rfft(sound[:, 2000:-2000])[:, 100:2000] for sound in (total, source)]
    np.testing.assert_allclose(spectra[0], spectra[1], atol=0.02 * np.abs(spectra[1]).max())


def test_silence_is_passed_over_and_nothing_else(network: SeparatorNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = network.params.segment_frames * network.params.frame_step
    samples = np.zeros((2, 6 * segment + 321), np.float32)
    rng = np.random.default_rng(3)
    samples[:, segment : segment + 30_000] = 0.1 * rng.standard_normal((2, 30_000))
    samples[:, -segment // 2 :] = 0.1 * rng.standard_normal((2, segment // 2))
    calls: list[int] = []
    real = SeparatorNetwork.forward
    monkeypatch.setattr(SeparatorNetwork, "forward", lambda self, heard: calls.append(1) or real(self, heard))
    every = separated(network, samples)
    asked = len(calls)
    spared = separated(network, samples, silence=0.0)
    assert len(calls) - asked < asked - 2
    np.testing.assert_allclose(spared, every, atol=1e-6)


def test_audio_is_prepared_as_asked(tmp_path: Path, network: SeparatorNetwork) -> None:
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    song = tmp_path / "song.wav"
    low, high = (0.2 * np.sin(2 * np.pi * hz * time_s) for hz in (30.0, 1000.0))
    encode(song, np.stack([low + high] * 2).astype(np.float32), RATE_HZ, bit_depth=32, floating=True)

    def total(name: str, before: Preparation) -> np.ndarray:
        made = separate_file(
            song, tmp_path / name, network, "small", SeparationOptions(how=StemFormat("wav", 24), before=before)
        )
        return sum(soundfile.read(path)[0].T for path in made.stems.values())[:, 20_000:-20_000]

    def level(sound: np.ndarray, hz: float) -> float:
        turn = np.exp(-2j * np.pi * hz * np.arange(sound.shape[1]) / RATE_HZ)
        return float(2 * abs((sound[0] * turn).mean()))

    plain, filtered = total("plain", Preparation()), total("filtered", Preparation(highpass_hz=120))
    assert level(plain, 30) == pytest.approx(0.2, rel=0.02)
    assert level(filtered, 30) < 0.2 * 10 ** (-45 / 20)
    assert level(filtered, 1000) == pytest.approx(0.2, rel=0.02)
    # Heard at another level, given back at its own.
    np.testing.assert_allclose(total("level", Preparation(loudness_lufs=-30)), plain, atol=2e-3)
    for bad in ({"highpass_hz": 0.1}, {"loudness_lufs": 3}, {"silence_db": 0}):
        with pytest.raises(ConfigError):
            Preparation(**bad)


def test_lossy_stems_and_a_choice_of_them(tmp_path: Path, network: SeparatorNetwork) -> None:
    song = write_song(tmp_path / "song.wav", 1.0)
    for suffix in ("mp3", "ogg", "m4a", "opus"):
        how = StemFormat(suffix, bitrate=128_000)
        made = separate_file(song, tmp_path / suffix, network, "small", SeparationOptions(stems=("vocals",), how=how))
        assert list(made.stems) == ["vocals"]
        assert sorted(path.name for path in (tmp_path / suffix).iterdir()) == [RECORD, f"vocals.{suffix}"]
        assert decode(made.stems["vocals"], allow_silence=True).samples.shape[1] == pytest.approx(44100, abs=4000)
    with pytest.raises(ConfigError, match="no stem 'flute': there are vocals, accompaniment"):
        separate_file(song, tmp_path / "x", network, "small", SeparationOptions(stems=("flute",)))
    for how in (StemFormat("mp3", sample_rate_hz=12345), StemFormat("flac", 32)):
        with pytest.raises((UnsupportedAudioError, ConfigError)) as caught:
            separate_file(song, tmp_path / "x", network, "small", SeparationOptions(how=how))
        assert ".separating" not in str(caught.value)
    assert not (tmp_path / "x").exists()
    with pytest.raises(UnsupportedAudioError, match=r"song\.wav: its stems cannot be written: MP3 .* \(--rate\)"):
        separate_file(
            song, tmp_path / "x", network, "small", SeparationOptions(how=StemFormat("mp3", sample_rate_hz=9000))
        )
    for bad in (
        {"suffix": "exe"},
        {"bit_depth": 7},
        {"sample_rate_hz": 3},
        {"suffix": "opus", "sample_rate_hz": 44100},
        {"bitrate": 128_000},  # of WAV
        {"suffix": "mp3", "bitrate": 1000},
        {"suffix": "mp3", "bitrate": 1_000_000},
        {"suffix": "opus", "bitrate": 512_000},
        {"suffix": "wma", "bitrate": 8000},
    ):
        with pytest.raises(ConfigError):
            StemFormat(**bad)


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "m4a", "opus", "webm", "wma"])
def test_stems_can_have_every_bit_rate_that_is_offered(tmp_path: Path, suffix: str) -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal((2, 2 * RATE_HZ))).astype(np.float32)
    sizes = []
    for bitrate in stereo_bitrates(f".{suffix}") or ():
        path = tmp_path / f"{bitrate}.{suffix}"
        encode(path, noise, RATE_HZ, bitrate=bitrate)
        sizes.append(path.stat().st_size)
    assert sizes[1] > 3 * sizes[0]


def test_what_is_done_is_not_done_again(tmp_path: Path, network: SeparatorNetwork) -> None:
    song, out = write_song(tmp_path / "song.wav", 0.5), tmp_path / "out"
    assert not separate_file(song, out, network, "a", SeparationOptions(stems=("vocals",))).skipped
    assert separate_file(song, out, network, "a", SeparationOptions(stems=("vocals",))).skipped
    assert not separate_file(song, out, network, "a").skipped  # the other stem is missing
    assert separate_file(song, out, network, "a").skipped
    assert not separate_file(song, out, network, "a", SeparationOptions(again=True)).skipped
    with pytest.raises(ConfigError, match=r"vocals\.wav: was made otherwise, by a: choose another folder"):
        separate_file(song, out, network, "another")
    assert not separate_file(song, out, network, "another", SeparationOptions(again=True)).skipped
    write_song(song, 0.6)
    assert not separate_file(song, out, network, "another").skipped  # the song changed
    song.rename(tmp_path / "moved.wav")
    assert separate_file(tmp_path / "moved.wav", out, network, "another").skipped
    # In another form beside the first: both are known afterwards.
    flac = SeparationOptions(how=StemFormat("flac"))
    assert not separate_file(tmp_path / "moved.wav", out, network, "another", flac).skipped
    assert separate_file(tmp_path / "moved.wav", out, network, "another").skipped
    assert separate_file(tmp_path / "moved.wav", out, network, "another", flac).skipped
    assert all(is_stem(path) for path in out.iterdir() if path.name != RECORD)


def test_what_was_not_made_here_or_of_another_song_stays(tmp_path: Path, network: SeparatorNetwork) -> None:
    song, other, out = write_song(tmp_path / "song.wav", 0.5), write_song(tmp_path / "other.wav", 0.6), tmp_path / "out"
    separate_file(song, out, network, "a")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for options in (USUAL, SeparationOptions(how=StemFormat("flac"))):
        with pytest.raises(ConfigError, match=r"out: has the stems of another song, .*song\.wav: choose"):
            separate_file(other, out, network, "a", options)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / RECORD).write_text("words")
    with pytest.raises(ConfigError, match=r"vocals\.wav: is there already and was not made here"):
        separate_file(song, out, network, "a")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {**before, RECORD: b"words"}
    assert len(separate_file(other, out, network, "a", SeparationOptions(again=True)).stems) == 2
    assert soundfile.info(out / "vocals.wav").frames == soundfile.info(other).frames

    (tmp_path / "odd/vocals.wav").mkdir(parents=True)
    for again in (False, True):
        with pytest.raises(ConfigError):
            separate_file(song, tmp_path / "odd", network, "a", SeparationOptions(again=again))
    assert [path.name for path in (tmp_path / "odd").iterdir()] == ["vocals.wav"]

    mine = write_song(tmp_path / "mine/vocals.wav", 0.5)
    content = mine.read_bytes()
    for again in (False, True):
        with pytest.raises(ConfigError):
            separate_file(mine, mine.parent, network, "a", SeparationOptions(again=again))
    assert mine.read_bytes() == content
    assert [path.name for path in mine.parent.iterdir()] == ["vocals.wav"]


@pytest.mark.parametrize(
    ("songs", "folders"),
    [
        (["a/one.wav", "a/two.wav"], ["one", "two"]),
        (["a/one.wav", "a/one.mp3"], ["one.wav", "one.mp3"]),
        (["a/one.wav", "b/one.wav", "c.wav"], ["a - one", "b - one", "c"]),
        (["x/a/one.wav", "y/a/one.wav", "z/b/one.wav"], ["x - a - one", "y - a - one", "b - one"]),
        (["a/one.wav", "b/one.wav", "b/one.mp3"], ["a - one", "b - one", "one.mp3"]),
        (["a/one.wav", "b/../a/one.wav"], ["one", "one"]),
        (["a/...wav", "a/....wav", "a/..hidden.wav"], ["song __", "song ___", "..hidden"]),
    ],
)
def test_each_song_has_a_folder_within(songs: list[str], folders: list[str]) -> None:
    found = song_folders([Path(song) for song in songs])
    assert found == folders
    assert (
        len({name.casefold() for name in song_folders([Path("a/one.wav"), Path("A/ONE.wav"), Path("a/One.wav")])}) == 3
    )
    assert all(Path("out", name).resolve().parent == Path("out").resolve() for name in found)


def test_songs_whose_names_are_hard_to_tell_apart_have_folders_of_their_own() -> None:
    for songs in (["a/one.wav", "A/ONE.wav", "a/One.wav"], ["a/one.wav", "b/one.wav", "a - one.wav"]):
        found = song_folders([Path(song) for song in songs])
        assert len({name.casefold() for name in found}) == 3


def test_stems_of_two_models_are_never_taken_for_one_set(
    tmp_path: Path, network: SeparatorNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    song, out = write_song(tmp_path / "song.wav", 0.5), tmp_path / "out"
    separate_file(song, out, network, "a")
    real, moved = Path.replace, []

    def stops(self: Path, target: Path) -> Path:
        if target.name == "accompaniment.wav" and target.parent == out:
            raise KeyboardInterrupt
        moved.append(target)
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stops)
        with pytest.raises(KeyboardInterrupt):
            separate_file(song, out, network, "b", SeparationOptions(again=True))
    assert out / "vocals.wav" in moved
    assert not separate_file(song, out, network, "a").skipped


def test_a_failure_leaves_what_was_there(
    tmp_path: Path, network: SeparatorNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    song, out = write_song(tmp_path / "song.wav", 0.5), tmp_path / "out"
    separate_file(song, out, network, "a")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (tmp_path / "bad.wav").write_bytes(song.read_bytes()[:60])
    with pytest.raises(DamagedAudioError):
        separate_file(tmp_path / "bad.wav", out, network, "a", SeparationOptions(again=True))
    with pytest.raises(AudioNotFoundError):
        separate_file(tmp_path / "none.wav", out, network, "a")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("backbeat.separation.files.AudioWriter.write", full)
        with pytest.raises(OSError, match="No space left"):
            separate_file(song, out, network, "a", SeparationOptions(again=True))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path, network: SeparatorNetwork) -> None:
    song, out = write_song(tmp_path / "song.wav", 0.5), tmp_path / "out"
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "import backbeat.separation.files as files\n"
            "from backbeat.separation.network import SeparatorNetwork, SeparatorParams\n"
            "files.AudioWriter.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "network = SeparatorNetwork(SeparatorParams(('vocals', 'rest'), filters=(1,) * 6)).eval()\n"
            "files.separate_file(Path(sys.argv[1]), Path(sys.argv[2]), network, 'a')\n",
            str(song),
            str(out),
        ],
        check=False,
    )
    assert killed.returncode == -9
    (stray,) = out.iterdir()
    assert stray.name.startswith(".separating@")
    other = out / f"{stray.name.rpartition('@')[0]}@{os.getpid()}.abc"
    other.mkdir()  # of a process that is alive
    separate_file(song, out, network, "a")
    assert {path.name for path in out.iterdir()} == {"vocals.wav", "accompaniment.wav", RECORD, other.name}


def test_the_commands(tmp_path: Path, models: Path) -> None:
    run = CliRunner()
    write_song(tmp_path / "album" / "one.wav", 0.4)
    write_song(tmp_path / "album" / "two.flac", 0.4)
    (tmp_path / "album" / "three.mp3").write_text("words")
    command = ["separate", str(tmp_path / "album"), "-m", "spleeter:5stems", "-o", str(tmp_path / "out")]
    missing = run.invoke(app, command)
    assert isinstance(missing.exception, ModelError)
    assert "backbeat models pull spleeter:5stems" in str(missing.exception)
    pulled = run.invoke(app, ["models", "pull", "spleeter:5stems", "--from", str(GOLDEN / "5stems")])
    assert pulled.exit_code == 0, pulled.output
    assert "whole, as imported" in run.invoke(app, ["models", "validate", "spleeter:5stems"]).output
    listed = run.invoke(app, ["models", "list"]).output
    assert "spleeter:5stems" in listed
    assert "piano" in listed
    done = run.invoke(app, command)
    assert done.exit_code == 1
    assert "three.mp3: is not audio" in done.output
    stems = {"vocals.wav", "piano.wav", "drums.wav", "bass.wav", "other.wav", RECORD}
    for name in ("one", "two"):
        assert {path.name for path in (tmp_path / "out" / name).iterdir()} == stems
    (tmp_path / "album" / "three.mp3").unlink()
    again = run.invoke(app, command)
    assert again.exit_code == 0
    assert again.output.count("is there already") == 2
    within = ["separate", str(tmp_path / "album"), "-m", "spleeter:5stems", "-o", str(tmp_path / "album" / "out")]
    for _ in range(2):  # what the first made is not separated by the second
        assert run.invoke(app, within).output.count("\n") == 2
    shutil.rmtree(tmp_path / "album" / "out")
    write_song(tmp_path / "more" / "one.wav", 0.4)
    alike = run.invoke(app, ["separate", str(tmp_path / "album"), str(tmp_path / "more"), *command[2:]])
    assert alike.exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"one", "two", "album - one", "more - one"}
    assert "is removed" in run.invoke(app, ["models", "remove", "spleeter:5stems"]).output
    assert isinstance(run.invoke(app, ["models", "remove", "spleeter:5stems"]).exception, ModelError)


def test_commands_that_would_lose_something_lose_nothing(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CliRunner()
    model = str(pull("spleeter:2stems", source=GOLDEN / "2stems"))
    monkeypatch.chdir(tmp_path)
    one = write_song(tmp_path / "a/one.wav", 0.4)
    write_song(tmp_path / "b/one.wav", 0.5)
    assert run.invoke(app, ["separate", "a/one.wav", "a/one.wav", "-o", "out"]).output.count("\n") == 1
    second = run.invoke(app, ["separate", "b/one.wav", "-o", "out"])
    assert second.exit_code == 1
    assert "out/one: has the stems of another song" in second.output
    assert soundfile.info(tmp_path / "out/one/vocals.wav").frames == soundfile.info(one).frames
    # Stems made earlier are no songs, wherever they lie; what is beside them is.
    (tmp_path / "a").rename(tmp_path / "out/a")
    here = run.invoke(app, ["separate", "out", "-o", "."])
    assert here.exit_code == 0, here.output
    assert here.output == "one: vocals, accompaniment\n"
    nothing = run.invoke(app, ["separate", "out/one", "-o", "new"])
    assert "no audio in it that is not a stem already" in str(nothing.exception)
    # Names that are not text, or that lead elsewhere.
    for name in (b"a\xff.wav", b"...wav"):
        write_song(tmp_path / "odd" / os.fsdecode(name), 0.4)
    program = [sys.executable, "-c", "from backbeat.cli import main; main()"]
    odd = subprocess.run(
        [*program, "separate", "odd", "odd/...wav", "-o", "deep/er", "-m", model],
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "1"},
        check=False,
    )
    assert odd.returncode == 0, odd.stderr
    assert sorted(odd.stdout.splitlines()) == [
        b"deep/er/a\\udcff: vocals, accompaniment",
        b"deep/er/song __: vocals, accompaniment",
    ]
    made = (tmp_path / "deep/er").iterdir()
    assert sorted(os.fsencode(path.name) for path in made) == [b"a\xff", b"song __"]


def test_a_damaged_model_is_in_nobody_s_way(models: Path) -> None:
    run = CliRunner()
    broken, whole = (pull(f"spleeter:{kind}", source=GOLDEN / kind) for kind in ("4stems", "2stems"))
    (broken / "spec.json").write_text("{")
    assert find("spleeter:2stems") == whole
    assert "spleeter:2stems" in run.invoke(app, ["models", "validate", "spleeter:2stems"]).output
    listed = run.invoke(app, ["models", "list"])
    assert listed.exit_code == 0
    assert "damaged" in listed.output
    with pytest.raises(ModelError, match="remove the model and get it again"):
        validate(find("spleeter:4stems"))
    assert run.invoke(app, ["models", "remove", f"spleeter:4stems@{broken.name}"]).exit_code == 0
    assert installed() == [whole]


def test_a_disk_that_is_full_is_said_to_be_so(
    tmp_path: Path, network: SeparatorNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise soundfile.LibsndfileError(2, "")

    song = write_song(tmp_path / "song.flac", 0.2)
    monkeypatch.setattr(soundfile.SoundFile, "write", fails)
    for free, number in ((1 << 30, errno.EIO), (4096, errno.ENOSPC)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: shutil._ntuple_diskusage(1 << 30, 0, free))
        with pytest.raises(OSError, match=os.strerror(number) if number == errno.ENOSPC else "System error") as caught:
            separate_file(song, tmp_path / "out", network, "a")
        assert caught.value.errno == number


def test_the_allocator_is_told_to_keep_memory() -> None:
    import platform

    told = subprocess.run(
        [sys.executable, "-c", "from backbeat.separation.allocator import keep_freed_memory as f; print(f())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str(platform.libc_ver()[0] == "glibc")


def test_surround_comes_down_to_two_sides() -> None:
    sides = stereo_weights(("FL", "FR", "FC", "LFE", "BL", "BR"))
    assert sides[0] == pytest.approx(np.array([1, 0, 0.5**0.5, 0, 0.5**0.5, 0]) / (1 + 2 * 0.5**0.5))
    assert sides[1] == pytest.approx(sides[0][[1, 0, 2, 3, 5, 4]])
    assert stereo_weights(("FC",)).tolist() == [[1], [1]]
    assert stereo_weights(("FL", "FR")).tolist() == [[1, 0], [0, 1]]
    assert stereo_weights(("a", "b", "c")).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_steady_noise_goes_where_it_is_heard_alone_and_nothing_else_does(
    tmp_path: Path, network: SeparatorNetwork
) -> None:
    rng = np.random.default_rng(0)
    time_s = np.arange(50 * RATE_HZ) / RATE_HZ
    sounding = (time_s > 1) & (time_s % 5 < 4)
    tone = 0.3 * np.sin(2 * np.pi * 440 * time_s) * sounding
    song = (tone + 0.003 * rng.standard_normal((2, time_s.size))).astype(np.float32)
    path = tmp_path / "song.wav"
    encode(path, song, RATE_HZ, bit_depth=32, floating=True)
    how = StemFormat("wav", 24)
    done = separate_file(
        path, tmp_path / "out", network, "small", SeparationOptions(how=how, before=Preparation(noise_reduction=1.0))
    )
    assert done.warnings == ()
    clean = sum(soundfile.read(file)[0].T for file in done.stems.values())
    assert clean.shape == song.shape
    quiet = ~sounding & (time_s > 0.1)
    assert np.std(clean[:, quiet]) < 0.45 * np.std(song[:, quiet])
    assert np.std(clean[:, sounding]) == pytest.approx(np.std(song[:, sounding]), rel=0.01)

    encode(path, song[:, 2 * RATE_HZ : 4 * RATE_HZ], RATE_HZ, bit_depth=32, floating=True)
    before = Preparation(noise_reduction=0.8)
    done = separate_file(path, tmp_path / "loud", network, "small", SeparationOptions(how=how, before=before))
    assert done.warnings == (NO_NOISE,)
    with pytest.raises(ConfigError, match="choose a share up to 1"):
        Preparation(noise_reduction=1.5)
