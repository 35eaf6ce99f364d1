"""Where the prediction log of a server goes."""

from pathlib import Path

import pytest

from mlflow_models.serving.log_settings import LogSettings
from reconad_plugin.errors import ConfigError
from reconad_plugin.ledger.served import NightBorder

LOG = "RECONAD_PREDICTION_LOG"


@pytest.mark.parametrize("environment", [{}, {LOG: ""}])
def test_no_log_unless_it_is_asked_for(environment):
    """Whatever else is set."""
    assert LogSettings.from_environment({**environment, f"{LOG}_NIGHT": "06:00"}) is None


def test_the_bucket_and_the_product_are_enough():
    """All else has a default."""
    found = LogSettings.from_environment({LOG: "s3://factory/bolt/"})

    assert found == LogSettings("factory", "bolt", NightBorder(), Path(".reconad/served"))


def test_all_that_can_be_said():
    """One variable each."""
    found = LogSettings.from_environment(
        {
            LOG: "s3://factory/bolt",
            f"{LOG}_NIGHT": "06:00 Europe/Berlin",
            f"{LOG}_SPOOL": "/var/spool/reconad",
            f"{LOG}_PICTURES": "anomalous",
        }
    )

    border = NightBorder.parse("06:00 Europe/Berlin")
    assert found == LogSettings("factory", "bolt", border, Path("/var/spool/reconad"), True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"": "factory/bolt"}, "must be s3://bucket/product; got", id="no address"),
        pytest.param({"": "s3://factory"}, "must be s3://bucket/product; got", id="no product"),
        pytest.param({"": "s3:///bolt"}, "must be s3://bucket/product; got", id="no bucket"),
        pytest.param({"": "s3://factory/a/b"}, "a product's name has", id="a folder"),
        pytest.param({"_NIGHT": "6 o'clock"}, "LOG_NIGHT: a night starts at HH:MM", id="no time"),
        pytest.param({"_PICTURES": "yes"}, "must be none or anomalous; got 'yes'", id="pictures"),
    ],
)
def test_wrong_variable_is_refused(changes, said):
    """When the server starts, and not when the first request comes."""
    given = {f"{LOG}{name}": value for name, value in changes.items()}

    with pytest.raises(ConfigError, match=said):
        LogSettings.from_environment({LOG: "s3://factory/bolt", **given})
