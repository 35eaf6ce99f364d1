"""``reconad platform``."""

from flows.commands.options import PlatformOptions
from flows.demo.replay import BUCKET, PRODUCT
from flows.platform.servers import SETTINGS_FILE, running_platform
from flows.platform.stay import stay_up
from reconad_plugin.errors import ConfigError


def run(options: PlatformOptions) -> None:
    """Bring an earlier demo's servers up again until Ctrl-C.

    Raises:
        ConfigError: there was no demo.
    """
    state = options.state
    if not (state / SETTINGS_FILE).exists():
        raise ConfigError(f"there must be a demo to bring up; {state} holds none: run `make demo`")
    with running_platform(state, BUCKET, is_fresh=False) as platform:
        platform.deploy()
        stay_up(platform, PRODUCT)
