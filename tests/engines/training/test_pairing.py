"""Batches of pairs: balanced, of one source where there is one, and the same after a restart."""

from __future__ import annotations

from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from engines.training.faces import Face
from engines.training.pairing import Pairing
from engines.training.recipe import Sampling

FACES = [
    face
    for source in range(30)
    for face in (
        Face(f"{source}", f"{source}", is_fake=False, split="train"),
        Face(f"{source}-fake", f"{source}", is_fake=True, split="train"),
    )
]


def pairing_of(seed: int = 0, **sampling: float) -> Pairing:
    return Pairing(FACES, Sampling(**{"pairs": 5, **sampling}), seed)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 40), st.integers(0, 5))
def test_a_batch_is_a_function_of_seed_and_step(step: int, seed: int) -> None:
    walked = pairing_of(seed)
    for earlier in range(step):
        walked.batch(earlier)
    assert walked.batch(step) == pairing_of(seed).batch(step)


def test_every_real_comes_once_an_epoch() -> None:
    pairing = pairing_of()
    epoch = list(chain.from_iterable(pairing.pairs(0, pairing.steps_per_epoch)))
    assert sorted(pair.real for pair in epoch) == list(range(0, 60, 2))


def test_epochs_differ_in_order() -> None:
    pairing = pairing_of()
    first, second = (pairing.batch(step) for step in (0, pairing.steps_per_epoch))
    assert [pair.real for pair in first] != [pair.real for pair in second]


def test_reals_are_real_and_fakes_are_fake() -> None:
    pairs = list(chain.from_iterable(pairing_of().pairs(0, 12)))
    assert all(not FACES[pair.real].is_fake for pair in pairs)
    assert all(pair.fake is None or FACES[pair.fake].is_fake for pair in pairs)


def test_own_fakes_are_of_the_same_source() -> None:
    pairs = list(chain.from_iterable(pairing_of(self_blended=0, own_fake=1).pairs(0, 12)))
    assert all(pair.fake is not None and FACES[pair.fake].source == FACES[pair.real].source for pair in pairs)


def test_the_fractions_are_those_of_the_recipe() -> None:
    pairs = list(chain.from_iterable(pairing_of(self_blended=0.35, own_fake=0.8).pairs(0, 400)))
    blended = sum(pair.fake is None for pair in pairs) / len(pairs)
    assert 0.3 < blended < 0.4


def test_without_any_fake_all_are_self_blended() -> None:
    reals = [face for face in FACES if not face.is_fake]
    assert all(pair.fake is None for pair in Pairing(reals, Sampling(pairs=5, self_blended=0), 0).batch(0))
