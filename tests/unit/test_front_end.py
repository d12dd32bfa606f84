"""One front end for training and serving: the same numbers, whoever asks."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch

from backbeat.errors import ConfigError
from backbeat.features import LOG_GAIN, FeatureParams, LogMel, log_mel


@pytest.fixture(scope="module")
def front_end() -> LogMel:
    return LogMel(FeatureParams())


def test_agrees_with_an_independent_implementation(front_end: LogMel) -> None:
    params = front_end.params
    samples = np.random.default_rng(0).standard_normal(24000).astype(np.float32) * 0.1
    window = np.hanning(params.window_samples + 1)[:-1]
    spectrum = np.abs(
        librosa.stft(samples, n_fft=1024, hop_length=240, window=window, center=True, pad_mode="constant")
    ) / np.sqrt(params.window_samples)
    bank = librosa.filters.mel(
        sr=params.sample_rate_hz, n_fft=1024, n_mels=96, fmin=params.low_hz, fmax=params.high_hz, norm=None
    )
    np.testing.assert_allclose(log_mel(samples, front_end), np.log1p(LOG_GAIN * bank @ spectrum).T, atol=2e-3)


def test_frame_is_centred_on_its_sample(front_end: LogMel) -> None:
    samples = np.zeros(24000, dtype=np.float32)
    samples[12000] = 1.0
    energy = log_mel(samples, front_end).sum(axis=1)
    assert energy.size == 101
    heard = np.flatnonzero(energy > 1e-3)
    assert (heard[0] + heard[-1]) / 2 == 50


def test_long_audio_in_pieces_is_the_same_as_whole(front_end: LogMel) -> None:
    samples = np.random.default_rng(1).standard_normal(24000 * 130 + 17).astype(np.float32) * 0.1
    with torch.inference_mode():
        whole = front_end(torch.from_numpy(samples)).numpy()
    np.testing.assert_allclose(log_mel(samples, front_end), whole, atol=1e-5)


def test_training_and_analysis_see_the_same_spectrogram(
    front_end: LogMel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file at another rate and in stereo, by the features stage's way and by the analyser's."""
    from tiny_models import save_tiny_models

    from backbeat.analysis import Analyzer
    from backbeat.onset.detector import OnsetDetector
    from pipelines.features import spectrograms

    rng = np.random.default_rng(2)
    soundfile.write(tmp_path / "a.flac", 0.2 * rng.standard_normal((44100 * 3, 2)).clip(-1, 1), 44100)
    lines = [{"id": "a", "path": "a.flac", "sha256": ""}]
    ((_, trained),) = spectrograms(tmp_path, lines, front_end.params)
    analyzer = Analyzer.load(save_tiny_models(tmp_path / "models", front_end.params))
    heard: list[np.ndarray] = []
    activations = OnsetDetector.activations

    def listen(self: OnsetDetector, spectrogram: np.ndarray) -> np.ndarray:
        heard.append(np.array(spectrogram))
        return activations(self, spectrogram)

    monkeypatch.setattr(OnsetDetector, "activations", listen)
    analyzer.analyze(tmp_path / "a.flac")
    assert len(heard) == 1
    np.testing.assert_array_equal(heard[0], trained)


@pytest.mark.parametrize(
    "wrong", [{"hop_samples": 0}, {"hop_samples": 2000}, {"high_hz": 13000.0}, {"low_hz": 500.0, "high_hz": 400.0}]
)
def test_numbers_that_make_no_spectrogram_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"does not fit|do not fit"):
        FeatureParams(**wrong)  # type: ignore[arg-type]
