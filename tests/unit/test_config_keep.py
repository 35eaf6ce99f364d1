"""``[keep]``: by default all stays; each setting has its rule."""

import tomllib
from pathlib import Path

import pytest

from reconad_plugin.config.keep import KeepSettings
from reconad_plugin.config.settings import Settings, load_settings
from reconad_plugin.errors import ConfigError
from tests.unit.conftest import MINIMAL_SETTINGS as MINIMAL

CHECKOUT = Path(__file__).parents[2]


def test_by_default_all_stays(write_settings):
    """No setting has a value, also in the example file, which names each."""
    assert load_settings(write_settings(MINIMAL)).keep == KeepSettings()
    assert set(KeepSettings().model_dump().values()) == {None}
    example = (CHECKOUT / "reconad.example.toml").read_text(encoding="utf-8")
    assert Settings.model_validate(tomllib.loads(example)).keep == KeepSettings()
    assert [name for name in KeepSettings.model_fields if f"# {name} = " not in example] == []


def test_the_page_has_every_setting():
    """And its example is valid."""
    page = (CHECKOUT / "docs" / "operate.md").read_text(encoding="utf-8")
    block = page.split("## Tidy up")[1].split("```toml")[1].split("```")[0]

    keep = KeepSettings(**tomllib.loads(block)["keep"])

    assert None not in keep.model_dump().values()
    assert [name for name in KeepSettings.model_fields if f"| `keep.{name}` |" not in page] == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("nights = 0", "keep.nights: .*greater than or equal to 1", id="no night"),
        pytest.param("rejected = -1", "keep.rejected: .*equal to 0", id="fewer than none"),
        pytest.param("unfinished_days = 0", "keep.unfinished_days: .*equal to 1", id="at once"),
        pytest.param("cache_gb = 0", "keep.cache_gb: .*greater than 0", id="no room"),
        pytest.param("cache_gb = inf", "keep.cache_gb: .*finite", id="endless room"),
        pytest.param("records = 5", "keep.records: Extra inputs", id="records always stay"),
    ],
)
def test_a_broken_rule_is_said(write_settings, line, said):
    """With the name of the setting."""
    with pytest.raises(ConfigError, match=said):
        load_settings(write_settings(f"{MINIMAL}[keep]\n{line}\n"))
