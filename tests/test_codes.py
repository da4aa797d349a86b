"""Codes survive being read aloud and typed; a mistyped one is known to be mistyped."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import codes

UNHURRIED = settings(deadline=None)  # the machine may be busy
LENGTHS = st.sampled_from([8, 12])  # referral codes and coupon codes


@st.composite
def well_formed(draw: st.DrawFn) -> str:
    length = draw(LENGTHS)
    body = draw(st.text(codes.ALPHABET, min_size=length - 1, max_size=length - 1))
    return next(
        body + check for check in codes.ALPHABET if codes.is_well_formed(body + check, length)
    )


def test_the_alphabet_has_no_two_characters_that_look_alike() -> None:
    assert len(set(codes.ALPHABET)) == 31
    assert not set(codes.ALPHABET) & set("01OIL")


@pytest.mark.parametrize("length", [8, 12])
def test_a_generated_code_is_well_formed(length: int) -> None:
    generated = {codes.generate(length) for _ in range(200)}

    assert len(generated) == 200
    assert all(codes.is_well_formed(code, length) for code in generated)


@pytest.mark.parametrize("length", [-1, 0, 1, 31])
def test_a_length_the_check_cannot_protect_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="characters"):
        codes.generate(length)


@UNHURRIED
@given(well_formed())
def test_every_single_typo_is_detected(code: str) -> None:
    for position, typed in enumerate(code):
        for other in codes.ALPHABET:
            mistyped = code[:position] + other + code[position + 1 :]
            assert codes.is_well_formed(mistyped, len(code)) is (other == typed)


@UNHURRIED
@given(well_formed())
def test_every_swap_of_two_characters_is_detected(code: str) -> None:
    for first in range(len(code)):
        for second in range(first + 1, len(code)):
            swapped = list(code)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            same = code[first] == code[second]
            assert codes.is_well_formed("".join(swapped), len(code)) is same


@UNHURRIED
@given(well_formed(), LENGTHS)
def test_a_code_of_another_length_is_not_well_formed(code: str, length: int) -> None:
    assume(length != len(code))

    assert not codes.is_well_formed(code, length)


@UNHURRIED
@given(well_formed())
def test_what_people_add_or_change_when_typing_does_not_matter(code: str) -> None:
    full_width = "".join(chr(ord(character) + 0xFEE0) for character in code)
    typed = [code.lower(), f" {code[:4]}-{code[4:]} ", "\u2013".join(code), full_width]

    assert {codes.normalize(text) for text in typed} == {code}


@UNHURRIED
@given(st.text())
def test_any_text_can_be_normalized_and_judged(text: str) -> None:
    normalized = codes.normalize(text)

    assert codes.is_well_formed(normalized, 8) in {True, False}
