"""What is known about one setting."""

from proxy.settings.setting import Group, Setting
from proxy.settings.values import boolean


def test_the_documented_name_comes_before_the_aliases() -> None:
    """Protects messages and documents, which show the first name."""
    setting = Setting(name="B", aliases=("A",), parse=boolean, default=False, text="", group=Group.SERVER)
    assert setting.names == ("B", "A")
