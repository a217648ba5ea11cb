"""The operator's rules for model names."""

import pytest

from proxy.model.aliases import AliasRules, split_think


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", AliasRules()),
        (" , ", AliasRules()),
        ("off", AliasRules(families=False)),
        ("OFF", AliasRules(families=False)),
        ("a=b", AliasRules(exact=(("a", "b"),))),
        (" a = b , gpt-*=sonnet", AliasRules(exact=(("a", "b"),), patterns=(("gpt-*", "sonnet"),))),
        ("off,a=b", AliasRules(exact=(("a", "b"),), families=False)),
    ],
)
def test_the_setting_is_read(text: str, rules: AliasRules) -> None:
    """Each form the setting may have."""
    assert AliasRules.parse(text) == rules


@pytest.mark.parametrize("text", ["nonsense", "=b", "a=", "a=b,c"])
def test_a_wrong_part_is_named(text: str) -> None:
    """The operator is told which part is wrong."""
    with pytest.raises(ValueError, match=r"old=new"):
        AliasRules.parse(text)


@pytest.mark.parametrize(
    ("setting", "model", "applied"),
    [
        ("", "x", ("x", False)),
        ("", "x-think", ("x", True)),
        ("x=y", "x", ("y", False)),
        ("x=y", "x-think", ("y", True)),
        ("x-think=y", "x-think", ("y", False)),
        ("x=y-think", "x", ("y", True)),
        ("gpt-*=sonnet", "gpt-5", ("sonnet", False)),
        ("gpt-*=sonnet", "gpt-5-think", ("sonnet", True)),
        ("gpt-*-think=opus", "gpt-5-think", ("opus", False)),
        ("gpt-*=a,gpt-5=b", "gpt-5", ("b", False)),
        ("gpt-4*=a,gpt-*=b", "gpt-4o", ("a", False)),
        ("gpt-*=a", "GPT-5", ("GPT-5", False)),
    ],
)
def test_pairs_are_applied(setting: str, model: str, applied: tuple[str, bool]) -> None:
    """Exact names before patterns, patterns in order, letters as written, the suffix kept unless spelled out."""
    assert AliasRules.parse(setting).applied(model) == applied


def test_the_suffix_is_split_once() -> None:
    """A name is what is left."""
    assert split_think("a-think") == ("a", True)
    assert split_think("a") == ("a", False)
