from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream.overlay.header import MAX_NAME, bar_rgba, bar_width, header_height, left_bar, right_bar
from stream.overlay.ink import text_mask
from stream.overlay.palette import LOOKS, REASONS, STALE, OverlayStyle
from stream.overlay.panel import Detail, LabelBook, label_of, panel_rgba, panel_size
from stream.types import QualityReason, Scene, StreamName, StreamState, Verdict
from tests.stream.overlay.scenes import NOW_NS, SECOND, face_of, scene_of

STYLE = OverlayStyle()
PTS_NS = 40 * SECOND


def test_real_and_fake_show_what_their_number_means() -> None:
    assert label_of(face_of(probability=0.971), PTS_NS, 0.1, STYLE).value == "97% fake"
    assert label_of(face_of(verdict=Verdict.REAL, probability=0.04), PTS_NS, 0.1, STYLE).value == "4% fake"


@pytest.mark.parametrize("reason", [None, *QualityReason])
@pytest.mark.parametrize("verdict", [Verdict.UNSURE, Verdict.WARMING_UP])
def test_without_a_verdict_there_is_no_per_cent(verdict: Verdict, reason: QualityReason | None) -> None:
    label = label_of(face_of(verdict=verdict, probability=0.93, reason=reason), PTS_NS, 0.1, STYLE)
    assert "%" not in label.value
    assert "93" not in label.value


def test_an_unsure_face_says_why() -> None:
    face = face_of(verdict=Verdict.UNSURE, reason=QualityReason.TOO_SMALL)
    assert label_of(face, PTS_NS, 0.1, STYLE).value == "too small"


def test_a_warming_face_counts_its_samples() -> None:
    face = face_of(verdict=Verdict.WARMING_UP, probability=None)
    assert label_of(face, PTS_NS, 0.1, STYLE).value == "15 of 20"


def test_an_old_score_is_grey_and_tells_its_age_instead_of_its_number() -> None:
    label = label_of(face_of(), PTS_NS, STYLE.stale_after_s + 0.1, STYLE)
    assert label.value == "stale 1.6 s"
    assert label.rgb == STALE
    assert label_of(face_of(), PTS_NS, STYLE.stale_after_s, STYLE).rgb == LOOKS[Verdict.FAKE].rgb


def test_the_sparkline_shows_the_last_half_minute_only() -> None:
    chart = label_of(face_of(), PTS_NS + 20 * SECOND, 0.1, STYLE).chart
    assert len(chart) == 11
    assert all(0 <= step <= 120 for step, _ in chart)


@pytest.mark.parametrize("scale", [0.75, 1.0, 1.375, 3.0])
@pytest.mark.parametrize("detail", Detail)
@pytest.mark.parametrize("verdict", Verdict)
def test_a_panel_has_the_size_it_promises(verdict: Verdict, detail: Detail, scale: float) -> None:
    label = label_of(face_of(verdict=verdict), PTS_NS, 0.1, STYLE)
    picture = panel_rgba(label, detail, scale, STYLE)
    assert (picture.shape[1], picture.shape[0]) == panel_size(label, detail, scale)


def test_a_missing_sample_looks_different_from_a_taken_one() -> None:
    pictures = []
    for slots in ((True,) * 20, (True,) * 10 + (False,) + (True,) * 9):
        pictures.append(panel_rgba(label_of(face_of(slots=slots), PTS_NS, 0.1, STYLE), Detail.FULL, 1.0, STYLE))
    changed = np.argwhere((pictures[0] != pictures[1]).any(axis=2))
    assert len(changed) > 10
    assert changed[:, 0].min() > 32  # below the words
    assert np.ptp(changed[:, 1]) < 12  # one cell


def test_the_name_and_state_are_words() -> None:
    name, state = left_bar(scene_of(state=StreamState.RECONNECTING))
    assert (name.text, state.text) == ("lobby", "reconnecting")


def test_a_long_name_is_cut() -> None:
    assert len(left_bar(Scene(StreamName("n" * 100)))[0].text) == MAX_NAME


def test_what_is_unknown_is_left_out_of_the_header() -> None:
    bar = right_bar(Scene(StreamName("lobby")), NOW_NS, STYLE)
    assert [cell.text for cell in bar] == ["no scores yet"]


def test_the_header_warns_of_old_scores() -> None:
    fresh, old = (right_bar(scene_of(), NOW_NS + late, STYLE)[2] for late in (SECOND // 5, 3 * SECOND))
    assert (fresh.text, fresh.warns) == ("scores 0.2 s old", False)
    assert (old.text, old.warns) == ("scores 3.0 s old", True)


def test_the_header_warns_of_thinned_sampling_for_as_long_as_it_lasts() -> None:
    whole, thinned = (right_bar(replace(scene_of(), thinned_to=n), NOW_NS, STYLE) for n in (1, 2))
    assert [cell.text for cell in thinned if cell not in whole] == ["sampling 1/2"]
    assert [cell.text for cell in thinned if cell.warns] == ["sampling 1/2"]


def test_the_header_warns_of_a_runtime_that_stands_in_for_a_failed_one() -> None:
    usual, fallen = (right_bar(replace(scene_of(), has_fallen_back=fell), NOW_NS, STYLE)[-1] for fell in (False, True))
    assert (usual.text, usual.warns) == ("lite0-gru · onnxruntime", False)
    assert (fallen.text, fallen.warns) == ("lite0-gru · onnxruntime (fallback)", True)


def test_the_header_warns_of_a_detector_that_has_fallen_back() -> None:
    scenes = (replace(scene_of(), detector_has_fallen_back=fell) for fell in (False, True))
    usual, fallen = (right_bar(scene, NOW_NS, STYLE) for scene in scenes)
    assert [cell.text for cell in fallen if cell not in usual] == ["detector on its fallback"]
    assert [cell.text for cell in fallen if cell.warns] == ["detector on its fallback"]


@pytest.mark.parametrize("scale", [0.75, 1.0, 3.0])
def test_a_bar_has_the_size_it_promises(scale: float) -> None:
    bar = right_bar(scene_of(), NOW_NS, STYLE)
    assert bar_rgba(bar, scale).shape == (header_height(scale), bar_width(bar, scale), 4)


def test_every_fixed_word_has_its_glyphs() -> None:
    missing = text_mask("￿", 40)
    words = [look.word for look in LOOKS.values()] + list(REASONS.values()) + [state.value for state in StreamState]
    words += ["0123456789 of % fake stale . s fps latency ms scores old no yet clear sign sampling 1/2", "a · b-_..."]
    for character in sorted(set("".join(words)) - {" "}):
        mask = text_mask(character, 40)
        assert mask.shape != missing.shape or not np.array_equal(mask, missing), f"no glyph for {character!r}"


def test_labels_are_made_once_while_scores_are_fresh() -> None:
    book, scene = LabelBook(STYLE), scene_of(face_of())
    first = book.of(scene, 0.0)
    assert all(book.of(scene, age) is first for age in (0.1, 0.5, 1.0, 1.4))


def test_a_stale_label_counts_tenths() -> None:
    book, scene = LabelBook(STYLE), scene_of(face_of())
    values = [book.of(scene, age)[0].value for age in (0.2, 1.62, 1.64, 1.72, 3.0)]
    assert values == ["97% fake", "stale 1.6 s", "stale 1.6 s", "stale 1.7 s", "stale 3.0 s"]


def test_each_face_of_a_scene_ages_on_its_own() -> None:
    scene = scene_of(face_of(scored_s=40.0), face_of(scored_s=38.0, track=2))
    values = [label.value for label in LabelBook(STYLE).of(scene, 0.5)]
    assert values == ["97% fake", "stale 2.5 s"]


def test_a_new_scene_has_new_labels() -> None:
    book = LabelBook(STYLE)
    book.of(scene_of(face_of()), 2.0)
    assert book.of(scene_of(face_of(probability=0.5, verdict=Verdict.REAL)), 2.0)[0].verdict is Verdict.REAL
