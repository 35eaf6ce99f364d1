"""``reconad doctor``."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from flows.commands.json_file import check_writable, write_json
from flows.commands.options import DoctorOptions
from flows.doctor.checks import first_checks, refused_import
from flows.doctor.findings import Check, run_checks
from reconad_plugin.config.settings import Settings, load_settings
from reconad_plugin.errors import ConfigError, PlatformError
from reconad_plugin.images.names import printable


def run(options: DoctorOptions) -> None:
    """Look at all that a night needs, and say what to do where something is wrong.

    Raises:
        PlatformError: something is wrong; each line says what.
    """
    check_writable(options.json)
    findings = []
    checks = list(list_checks(datetime.now(UTC)))
    width = max(len(check.about) for check in checks)
    for found in run_checks(checks, options.limit):
        findings.append(found)
        mark = "good " if found.is_good else "WRONG"
        print(f"{mark}  {found.about:{width}}  {printable(found.said)}", flush=True)
    write_json({"findings": [each.to_dict() for each in findings]}, options.json)
    wrong = [found.about for found in findings if not found.is_good]
    if wrong:
        raise PlatformError(f"{len(wrong)} of {len(findings)} are wrong: {', '.join(wrong)}")


def list_checks(now: datetime) -> Iterator[Check]:
    """List all checks, the settings first; without settings, those that need none, and without
    packages that import, those of this machine's packages alone."""
    settings: Settings | None = None
    with suppress(ConfigError):
        settings = load_settings()
    yield from first_checks()
    try:
        from flows.doctor.platform_checks import list_platform_checks
    except Exception as error:  # a package that does not fit raises whatever it likes
        yield refused_import(error)
    else:
        yield from list_platform_checks(settings, now)
