"""Names that people type: nights, products, and where a file's name tells a position."""

from datetime import date

import pytest
from pydantic import ValidationError

from reconad_plugin.config.names import check_product_name, parse_night
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.config.settings import Settings
from reconad_plugin.errors import ConfigError, ReconadError


def test_errors_are_ours():
    """A wrong night, like every wrong setting, is an error that people can act on."""
    with pytest.raises(ReconadError, match="YYYY-MM-DD"):
        parse_night("tonight")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("2024-05-01", id="as text"),
        pytest.param(date(2024, 5, 1), id="as a date"),
    ],
)
def test_night_is_a_date(text):
    """A night can be given as text or as a date."""
    assert parse_night(text) == date(2024, 5, 1)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("2024-5-1", id="without zeros"),
        pytest.param("01.05.2024", id="as it is written elsewhere"),
        pytest.param("2024-02-30", id="no such day"),
        pytest.param("20240501", id="without dashes"),
        pytest.param("2024-05-01T03:00", id="with a time"),
        pytest.param("", id="empty"),
    ],
)
def test_night_that_is_no_date_is_refused(text):
    """Anything but YYYY-MM-DD is refused with what came."""
    with pytest.raises(ConfigError, match=f"a night is a date as YYYY-MM-DD; got {text!r}"):
        parse_night(text)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("Bolt", id="capital"),
        pytest.param("a/b", id="slash"),
        pytest.param("-a", id="begins with a dash"),
        pytest.param("a" * 64, id="too long"),
        pytest.param("a\n", id="line end"),
    ],
)
def test_name_that_can_be_no_products_is_refused(name):
    """A product's name becomes a prefix in a bucket and a name in the registry."""
    with pytest.raises(ConfigError, match="a product's name has 1 to 63 lower-case letters"):
        check_product_name(name)

    assert check_product_name("bolt_m8-2") == "bolt_m8-2"


def test_product_is_not_called_as_an_autoencoder():
    """Its versions would stand among those of ``reconad-vq-metal``."""
    said = "a name must not begin with vq-, .*; got 'vq-metal': choose another"

    with pytest.raises(ConfigError, match=said) as raised:
        check_product_name("vq-metal")
    assert "\n" not in str(raised.value)
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate({"storage": {"bucket": "abc"}, "products": {"vq-metal": {}}})
    assert check_product_name("vq_metal") == "vq_metal"


@pytest.mark.parametrize(
    ("seed", "said"),
    [
        pytest.param(-1, "greater than or equal to 0", id="negative"),
        pytest.param(2**63, "less than 9223372036854775808", id="too large for torch"),
    ],
)
def test_seed_is_one_that_every_generator_takes(seed, said):
    """It is refused before a training, not after it."""
    with pytest.raises(ValidationError, match=said):
        ProductSettings(seed=seed)

    assert ProductSettings(seed=2**63 - 1).seed == 2**63 - 1


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(None, id="none: the folder"),
        pytest.param("_(left|right)_", id="words"),
        pytest.param(r"(?:cam|camera)(\d+)", id="a group that is no position besides"),
    ],
)
def test_pattern_of_a_position_has_one_group(pattern):
    """The group is the position; without a pattern the folder is."""
    assert ProductSettings(position_pattern=pattern).position_pattern == pattern


def test_pattern_of_a_part_is_read_alike():
    """The message names the setting that is wrong."""
    assert ProductSettings(part_pattern=r"part(\d+)_").part_pattern == r"part(\d+)_"
    with pytest.raises(ValueError, match=r"part_pattern must have one group, which is the part"):
        ProductSettings(part_pattern="part")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        pytest.param("_(left", r"regular expression; got '_\(left'", id="no pattern"),
        pytest.param("left|right", r"one group, .*; got 0 in 'left\|right'", id="no position"),
        pytest.param("(left)_(top)", "one group, .*; got 2 in", id="two positions"),
    ],
)
def test_pattern_that_tells_no_position_is_refused(pattern, said):
    """The rule, what came, and how a pattern looks."""
    with pytest.raises(ValueError, match=f"position_pattern must .*{said}"):
        ProductSettings(position_pattern=pattern)
