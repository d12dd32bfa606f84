"""Kits: attacks lie on their labels to the sample, layers and chokes do what the map says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from backbeat.corpus.rendered.acoustic import acoustic_kit
from backbeat.corpus.rendered.drumsynth import synthesised_kit
from backbeat.corpus.rendered.effects import biquad
from backbeat.corpus.rendered.kits import (
    SYNTHESIS_RATE_HZ,
    DrumSetup,
    Hit,
    Layer,
    SampledKit,
    attack_index,
    strike,
    substitute,
)
from backbeat.corpus.rendered.samples import drum_notes, load_kit
from backbeat.corpus.rendered.score import Note
from backbeat.errors import CorpusError
from backbeat.music import DRUMS, GENERAL_MIDI_DRUMS

MULDJORD = Path(__file__).parents[3] / "shared" / "data" / "kits" / "muldjord"


def click(before: int = 0, after: int = 10, level: float = 1.0) -> np.ndarray:
    samples = np.zeros(before + 1 + after, dtype=np.float32)
    samples[before] = level
    return samples


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def write_click(path: Path, before: int, level: float = 0.5, rate_hz: int = SYNTHESIS_RATE_HZ) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, click(before, level=level), rate_hz, subtype="FLOAT")


@pytest.mark.parametrize("before", [0, 1, 7, 4000])
def test_attack_index_is_where_a_click_is(before: int) -> None:
    assert attack_index(click(before)) == before


def test_attack_index_passes_over_quiet_noise_before_the_stroke() -> None:
    noise = 0.005 * rng().uniform(-1, 1, 3000)
    stroke = np.exp(-np.arange(5000) / 800)
    assert attack_index(np.concatenate([noise, stroke])) == 3000


def test_attack_index_finds_the_click_before_a_later_swell() -> None:
    swell = np.sin(np.pi * np.arange(20000) / 20000)
    swell[0] = 0.3
    assert attack_index(swell) == 0


@pytest.mark.parametrize("before", [0, 3, 441, 12345])
def test_a_click_lies_on_its_label_to_the_sample_whatever_silence_its_file_begins_with(
    tmp_path: Path, before: int
) -> None:
    write_click(tmp_path / "snare" / "one.wav", before)
    kit = load_kit(tmp_path)
    starts_s = np.sort(rng(1).uniform(0, 2, 25))
    out = strike([kit], [Note(float(start_s), 0.1, 38, 127) for start_s in starts_s], 2 * SYNTHESIS_RATE_HZ, rng())
    assert out.shape == (1, 2 * SYNTHESIS_RATE_HZ)
    assert np.flatnonzero(out[0]).tolist() == [round(start_s * SYNTHESIS_RATE_HZ) for start_s in starts_s]


def test_tuning_keeps_the_attack_on_its_sample() -> None:
    ramp = np.concatenate([np.zeros(100), np.exp(-np.arange(4000) / 500)]).astype(np.float32)
    kit = SampledKit("ramp", {38: (Layer(127, (Hit.measured(ramp),)),)})
    for semitones in (-3.0, -0.4, 2.7):
        setup = DrumSetup({"snare": semitones}, {}, {"snare": 0.05}, {})
        out = strike([kit], [Note(0.1, 0.1, 38, 127)], SYNTHESIS_RATE_HZ, rng(), setup=setup)
        assert int(np.argmax(np.abs(out[0]))) == 4410


def test_a_stroke_at_the_very_start_loses_what_comes_before_its_attack() -> None:
    kit = SampledKit("late", {36: (Layer(127, (Hit(np.array([0.1, 0.2, 1.0, 0.5], np.float32), 2),)),)})
    out = strike([kit], [Note(0.0, 0.1, 36, 127)], 3, rng())
    assert out[0].tolist() == [1.0, 0.5, 0.0]


def test_layers_are_chosen_by_velocity() -> None:
    soft, loud = Hit(click(level=0.25), 0), Hit(click(level=1.0), 0)
    kit = SampledKit("layers", {38: (Layer(60, (soft,)), Layer(127, (loud,)))}, velocity_gain=0.0)
    notes = [Note(0.0, 0.1, 38, 60), Note(0.1, 0.1, 38, 61)]
    out = strike([kit], notes, SYNTHESIS_RATE_HZ, rng())
    assert out[0, 0] == 0.25
    assert out[0, 4410] == 1.0


def test_velocity_sets_the_level_of_a_kit_without_layers() -> None:
    kit = SampledKit("one", {38: (Layer(127, (Hit(click(), 0),)),)})
    setup = DrumSetup({}, {}, {}, {}, curve=2.0)
    out = strike([kit], [Note(0.0, 0.1, 38, 64)], 100, rng(), setup=setup)
    assert out[0, 0] == pytest.approx((64 / 127) ** 2)


def test_a_closing_hihat_cuts_off_the_open_one() -> None:
    ring = np.ones(SYNTHESIS_RATE_HZ, dtype=np.float32)
    kit = SampledKit("hats", {46: (Layer(127, (Hit(ring, 0),)),), 44: (Layer(127, (Hit(click(), 0),)),)})
    out = strike([kit], [Note(0.0, 1, 46, 127), Note(0.25, 1, 44, 127)], SYNTHESIS_RATE_HZ, rng())
    assert np.all(out[0, :11025] == 1)
    assert np.all(out[0, 11025 + 400 :] == 0)
    crash = SampledKit("crash", {49: (Layer(127, (Hit(ring, 0),)),)})
    both = strike([crash], [Note(0.0, 1, 49, 127), Note(0.25, 1, 44, 127)], SYNTHESIS_RATE_HZ, rng())
    assert np.all(both[0] == 1)


def test_substitutes_are_of_the_same_class_or_none() -> None:
    kit = SampledKit("few", {note: (Layer(127, (Hit(click(), 0),)),) for note in (36, 38, 37, 49)})
    assert substitute(kit, 35) == 36
    assert substitute(kit, 40) == 38
    assert substitute(kit, 57) == 49
    assert substitute(kit, 42) is None
    assert substitute(kit, 56) is None


def test_a_missing_drum_is_played_by_the_next_kit() -> None:
    first = SampledKit("first", {36: (Layer(127, (Hit(click(level=0.5), 0),)),)})
    second = SampledKit("second", {note: (Layer(127, (Hit(click(), 0),)),) for note in (36, 38)})
    out = strike([first, second], [Note(0.0, 0.1, 36, 127), Note(0.1, 0.1, 38, 127)], 5000, rng())
    assert (out[0, 0], out[0, 4410]) == (0.5, 1.0)


def test_pan_places_drums_with_equal_power() -> None:
    kit = SampledKit("one", {51: (Layer(127, (Hit(click(), 0),)),)})
    out = strike([kit], [Note(0.0, 0.1, 51, 127)], 10, rng(), setup=DrumSetup({}, {}, {}, {"ride": 0.4}), channels=2)
    assert out[0, 0] < out[1, 0]
    assert out[0, 0] ** 2 + out[1, 0] ** 2 == pytest.approx(1)


@pytest.mark.parametrize(("make", "kits"), [(synthesised_kit, 8), (acoustic_kit, 3)])
def test_every_drum_from_nothing_starts_on_its_label(
    make: Callable[[np.random.Generator], SampledKit], kits: int
) -> None:
    for seed in range(kits):
        kit = make(rng(seed))
        assert set(GENERAL_MIDI_DRUMS) - {37, 39} <= set(kit.notes())
        for note in kit.notes():
            for hit in kit.alternatives(note, 100):
                # Half a millisecond; what is shaken comes in.
                limit = 22 if note not in (69, 70, 82) else 882
                assert hit.attack <= limit, (seed, note, hit.attack)
                assert np.all(np.isfinite(hit.samples))
                assert 0.2 < np.abs(hit.samples).max() <= 1.2
                out = strike([SampledKit("x", {note: (Layer(127, (hit,)),)})], [Note(0.5, 1, note, 127)], 44100, rng())
                length = min(hit.samples.size, 22050)
                placed = out[0, 22050 - hit.attack :][:length]
                assert np.array_equal(placed, hit.samples[:length])


@pytest.mark.parametrize("make", [synthesised_kit, acoustic_kit])
def test_kits_from_nothing_differ_by_seed_only(make: Callable[[np.random.Generator], SampledKit]) -> None:
    def sound(seed: int) -> bytes:
        kit = make(rng(seed))
        return b"".join(kit.alternatives(note, 100)[0].samples.tobytes() for note in sorted(kit.notes()))

    assert sound(3) == sound(3)
    assert sound(3) != sound(4)


def centre_hz(samples: np.ndarray) -> float:
    power = np.square(np.abs(np.fft.rfft(samples)))
    return float((power * np.fft.rfftfreq(samples.size, 1 / SYNTHESIS_RATE_HZ)).sum() / power.sum())


def test_an_acoustic_drum_depends_on_no_other_and_is_brighter_when_struck_harder() -> None:
    first, second = acoustic_kit(rng(5)), acoustic_kit(rng(5))
    second.alternatives(49, 100)
    # A snare's wires answer soft strokes as well, so it is no darker then.
    for note in (36, 42, 48):
        soft, hard = first.alternatives(note, 30)[0], first.alternatives(note, 120)[0]
        assert np.array_equal(hard.samples, second.alternatives(note, 120)[0].samples)
        assert centre_hz(hard.samples) > centre_hz(soft.samples), note
    centres = [centre_hz(first.alternatives(note, 120)[0].samples) for note in (43, 38, 42)]
    assert centres == sorted(centres)


def test_some_acoustic_kits_are_played_with_brushes_that_come_in() -> None:
    attacks = [acoustic_kit(rng(seed)).alternatives(38, 100)[0].attack for seed in range(24)]
    brushed = [attack for attack in attacks if attack > 0.001 * SYNTHESIS_RATE_HZ]
    assert 1 <= len(brushed) <= 8
    assert max(brushed) < 0.02 * SYNTHESIS_RATE_HZ


def test_a_tone_changes_its_drum_and_no_other_and_keeps_the_attack() -> None:
    notes = [Note(0.1, 0.1, 36, 127), Note(0.5, 0.1, 38, 127)]
    kit = SampledKit("x", {note: (Layer(127, (Hit(click(), 0),)),) for note in (36, 38)})
    setup = replace(DrumSetup.plain(), tone={"snare": biquad("peak", 1000, 6)[None, :]})
    plain = strike([kit], notes, 44100, rng())[0]
    toned = strike([kit], notes, 44100, rng(), setup=setup)[0]
    snare = round(0.5 * SYNTHESIS_RATE_HZ)
    assert np.array_equal(plain[:snare], toned[:snare])
    assert toned[snare] > plain[snare] == 1.0


SFZ = """// a comment
<control> default_path=hits/
#define $LOUD 127
<global> amp_veltrack=0
<group> key=36 /* kick */
<region> lovel=0 hivel=60 sample=kick soft.wav volume=-6.0206
<region> lovel=61 hivel=$LOUD lorand=0 hirand=0.5 sample=kick loud.wav
<region> lovel=61 hivel=$LOUD lorand=0.5 hirand=1 sample=kick loud2.wav
<group> key=c#3
<region> sample=Tom1.wav
<group> key=50
<region> sample=Tom2.wav
<group> key=51
<region> sample=Tom3.wav
<group> lokey=42 hikey=42
<region> sample=strange.wav offset=5
"""


@pytest.fixture
def sfz_kit(tmp_path: Path) -> Path:
    (tmp_path / "map.sfz").write_text(SFZ)
    for name, level in (("kick soft", 0.4), ("kick loud", 0.8), ("kick loud2", 0.9), ("strange", 0.5)):
        write_click(tmp_path / "hits" / f"{name}.wav", 9, level)
    for number in (1, 2, 3):
        write_click(tmp_path / "hits" / f"Tom{number}.wav", number, 0.5)
    return tmp_path


def test_an_sfz_map_gives_layers_round_robins_volumes_and_drums_by_name(sfz_kit: Path) -> None:
    kit = load_kit(sfz_kit)
    assert kit.velocity_gain == 0
    assert [len(layer.hits) for layer in kit.drums[36]] == [1, 2]
    soft = kit.alternatives(36, 30)[0]
    loud = kit.alternatives(36, 61)
    assert len(loud) == 2
    # Levels between layers stay; the kit as a whole is scaled to a mean peak of 0.9 in its loudest drum.
    assert np.abs(soft.samples).max() / np.abs(loud[0].samples).max() == pytest.approx(0.4 * 0.5 / 0.8, rel=1e-3)
    assert np.mean([np.abs(hit.samples).max() for hit in loud]) == pytest.approx(0.9, rel=1e-3)
    assert soft.attack == 9
    assert kit.alternatives(42, 100)[0].attack == 4
    attacks = [kit.alternatives(note, 100)[0].attack for note in (48, 45, 43)]
    assert attacks == [1, 2, 3]  # Tom1 is the high one


def test_samples_are_found_when_the_folder_above_them_was_dropped(sfz_kit: Path) -> None:
    text = (sfz_kit / "map.sfz").read_text().replace("default_path=hits/", "default_path=elsewhere/hits/")
    (sfz_kit / "map.sfz").write_text(text)
    assert 36 in load_kit(sfz_kit).notes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda kit: (kit / "hits" / "Tom2.wav").unlink(), "Tom2.wav is not there"),
        (lambda kit: (kit / "hits" / "Tom2.wav").write_bytes(b"no audio"), "cannot be read as audio"),
        (lambda kit: (kit / "map.sfz").write_text("<region> key=loud sample=Tom1.wav"), "'loud' is not a number"),
        (lambda kit: (kit / "map.sfz").write_text('#include "map.sfz"'), "go round in a circle"),
        (lambda kit: (kit / "map.sfz").write_text("<group>"), "no drum samples found"),
        (lambda kit: (kit / "other.sfz").write_text(""), "2 .sfz maps"),
    ],
)
def test_a_broken_kit_is_refused_with_its_cause(sfz_kit: Path, damage: object, message: str) -> None:
    assert callable(damage)
    damage(sfz_kit)
    with pytest.raises(CorpusError, match=message):
        load_kit(sfz_kit)


def test_a_kit_at_another_rate_is_resampled(tmp_path: Path) -> None:
    write_click(tmp_path / "kick" / "one.wav", 4800, rate_hz=48000)
    assert abs(load_kit(tmp_path).alternatives(36, 100)[0].attack - 4410) <= 1


@pytest.mark.parametrize(
    ("name", "drum"),
    [
        ("KdrumL", "kick"),
        ("BD_01", "kick"),
        ("Snare1", "snare"),
        ("HihatClosed", "hihat_closed"),
        ("HihatOpen", "hihat_open"),
        ("hh pedal 3", "hihat_pedal"),
        ("OHH", "hihat_open"),
        ("CrashL", "crash"),
        ("RideRBell", "ride"),
        ("tom hi", "tom_high"),
        ("Floor Tom", "tom_low"),
    ],
)
def test_names_of_samples_say_which_drum_they_are(name: str, drum: str) -> None:
    notes = drum_notes(name)
    assert notes is not None
    assert {GENERAL_MIDI_DRUMS[note] for note in notes} == {drum}


def test_samples_that_are_no_strokes_are_left_out() -> None:
    assert drum_notes("SnareRest1") == ()
    assert drum_notes("melody") is None


@pytest.mark.skipif(not MULDJORD.is_dir(), reason="../shared/data/kits/muldjord is not there")
def test_a_recorded_kit_has_its_drums_and_early_attacks() -> None:
    kit = load_kit(MULDJORD)
    classes = {GENERAL_MIDI_DRUMS[note] for note in kit.notes()}
    assert classes == set(DRUMS) - {"hihat_pedal"}
    quiet, loud = (np.abs(kit.alternatives(38, velocity)[0].samples).max() for velocity in (15, 127))
    assert loud > 3 * quiet
    attacks = [hit.attack for layers in kit.drums.values() for layer in layers for hit in layer.hits]
    assert max(attacks) < 0.03 * SYNTHESIS_RATE_HZ
