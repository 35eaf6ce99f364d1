"""``reconad init``."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import typer
from pydantic import ValidationError

from flows.commands.options import InitOptions
from flows.jobs.proposal import (
    MOST_NAMES,
    OtherFolder,
    ProposedProduct,
    other_folders,
    propose_product,
    propose_products,
)
from reconad_plugin.config.base import one_line
from reconad_plugin.config.names import check_product_name
from reconad_plugin.config.product import ProductSettings
from reconad_plugin.config.settings import DeploySettings, StorageSettings, load_settings
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.names import printable
from reconad_plugin.images.size import settle_size
from reconad_plugin.store.objects import ObjectStore

HEAD: Final = """\
# Settings of reconad, proposed by `reconad init`. All others, with their defaults, are in
# docs/operate.md and reconad.example.toml. Credentials never stand here.

"""
NOTIFY: Final = """
# Who gets messages: to = "webhook", "slack", "teams" or "mail". The address is a secret: it is in
# the variable that is named here when `reconad deploy` runs.
# [notify.shift]
# to = "slack"
# address_from = "RECONAD_SHIFT_URL"
"""
SIZE_PX: Final = 128


def run(options: InitOptions) -> None:
    """Look at the bucket, ask, and write the settings file; no file is ever overwritten.

    Raises:
        ConfigError: the file is there, an answer breaks a rule, or there is no product.
    """
    if options.out.exists():
        raise ConfigError(
            f"no file is overwritten; {options.out} is there: edit it, or name another with --out"
        )
    try:
        storage = _ask_storage(options)
        store = ObjectStore(storage)
        products = _choose_products(store, options)
        zone = options.timezone or _ask(options, "Time zone of the factory", "UTC")
        text = _write_out(storage, products, zone, options)
    except typer.Abort:
        raise ConfigError("init asks for what is not given; nothing was written") from None
    _keep(text, options.out)
    for line in _next_steps(products, options.out):
        print(line)


def _ask_storage(options: InitOptions) -> StorageSettings:
    bucket = options.bucket or (None if options.yes else typer.prompt("Bucket"))
    if bucket is None:
        raise ConfigError("a bucket is needed; got --yes without one: give --bucket")
    known = options.endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3", "")
    asked = "Address of the S3 service (empty: AWS)"
    endpoint = options.endpoint_url or _ask(options, asked, known)
    try:
        return StorageSettings(bucket=bucket, endpoint_url=endpoint or None, region=options.region)
    except ValidationError as error:
        raise ConfigError(f"this can be no bucket: {one_line(error)}") from None


def _choose_products(store: ObjectStore, options: InitOptions) -> list[ProposedProduct]:
    """Find the products, or take those that were named, with pictures or without."""
    if options.product:
        names = [check_product_name(name) for name in options.product]
        return [
            propose_product(store, name) or ProposedProduct(name, (), 0, (), {}, None)
            for name in names
        ]
    found = propose_products(store)
    others, more = other_folders(store, [each.name for each in found])
    for other in others:
        print(_describe_other(other))
    if more:
        print(f"{more} more folders are no products either, and were not looked at")
    for each in found:
        print(_describe(each))
    chosen = [each for each in found if _confirm(options, f"Take {each.name} as a product?", True)]
    if not chosen:
        raise ConfigError(
            f"pictures lie in <product>/incoming/YYYY-MM-DD/; {store.uri('')} has no product: copy "
            "them there, or name one with --product"
        )
    return chosen


def _describe(product: ProposedProduct) -> str:
    nights = product.nights
    said = f"{product.name}: {len(nights)} nights, {nights[0]} to {nights[-1]}, "
    said += f"{product.images} pictures in the newest"
    if product.sizes:
        said += f", {_sizes(product)}"
    if product.folders:
        said += f"; positions by folder: {', '.join(map(printable, product.folders))}"
    return said


def _sizes(product: ProposedProduct) -> str:
    shapes = [f"{width} x {height} px" for width, height in dict.fromkeys(product.sizes)]
    return " or ".join(shapes)


def _describe_other(other: OtherFolder) -> str:
    more = " or more" if other.images == MOST_NAMES else ""
    said = f"{printable(other.folder)} has {other.images} pictures{more} and is no product: "
    said += "reconad reads <product>/incoming/YYYY-MM-DD/"
    return said if other.copying is None else f"{said}; a night gets there by\n  {other.copying}"


def _write_out(
    storage: StorageSettings, products: Sequence[ProposedProduct], zone: str, options: InitOptions
) -> str:
    lines = [HEAD + "[storage]", f"bucket = {json.dumps(storage.bucket)}"]
    if storage.endpoint_url:
        lines.append(f"endpoint_url = {json.dumps(storage.endpoint_url)}")
    if storage.region != StorageSettings.model_fields["region"].default:
        lines.append(f"region = {json.dumps(storage.region)}")
    lines.append(NOTIFY)
    for product in products:
        lines += [*_section(product, options), f"timezone = {json.dumps(zone)}"]
        lines += [f'nightly_at = "{options.at}"  # the night of the day before', ""]
    return "\n".join(lines)


def _section(product: ProposedProduct, options: InitOptions) -> list[str]:
    lines = [f"[products.{product.name}]"]
    if product.sizes:
        lines += [_seen_size(product), *_limits(product.sizes)]
    if product.folders:
        lines.append("# positions: the folder below the night")
    elif product.positions is not None:
        positions = product.positions
        named = ", ".join(f"{name} ({count})" for name, count in positions.images.items())
        question = f"{product.name}: are these camera positions? {printable(named)}"
        is_taken = _confirm(options, question, positions.are_words)
        line = f"position_pattern = {_quoted(positions.pattern)}  # {printable(named)}"
        lines.append(line if is_taken else f"# {line}")
    return lines


def _seen_size(product: ProposedProduct) -> str:
    """Write at which size the network sees the pictures, or why a person has to say it."""
    try:
        seen = settle_size(SIZE_PX, product.sizes)
    except ConfigError as error:  # strips
        return f"# {error}"
    return (
        f"image_size_px = {SIZE_PX}  # pictures of {_sizes(product)} are seen at "
        f"{seen.width_px} x {seen.height_px}; twice the side takes four times as long"
    )


def _quoted(pattern: str) -> str:
    """Write a pattern as TOML, as people read it where that can be."""
    return json.dumps(pattern) if "'" in pattern else f"'{pattern}'"


def _limits(sizes: Sequence[tuple[int, int]]) -> list[str]:
    """Widen the limits where pictures would be quarantined."""
    known = ProductSettings().limits
    pixels = max(width * height for width, height in sizes)
    side = min(min(size) for size in sizes)
    lines = [f"max_image_pixels = {2 * pixels}"] if pixels > known.max_pixels else []
    return lines + ([f"min_image_side_px = {max(3, side)}"] if side < known.min_side_px else [])


def _keep(text: str, file: Path) -> None:
    """Write the file, where none is, and read it as every command will.

    Raises:
        ConfigError: it is there by now, or an answer breaks a rule; no file is left then.
    """
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise ConfigError(f"no file is overwritten; {file} is there by now") from None
    try:
        load_settings(file)
    except ConfigError:
        file.unlink()
        raise


def _next_steps(products: Sequence[ProposedProduct], file: Path) -> list[str]:
    pool = DeploySettings().work_pool
    lines = [f"{file} is written. Read it, then:", "", "  reconad deploy"]
    lines += [f"  prefect worker start --pool {pool} &", "  reconad doctor"]
    waiting = [each for each in products if each.nights]
    if waiting:
        night = f"{waiting[0].name} {waiting[0].nights[0]}"
        lines += ["", f"Nights that are there already are run by hand: reconad nightly {night}"]
    return lines


def _ask(options: InitOptions, question: str, default: str) -> str:
    return default if options.yes else str(typer.prompt(question, default=default))


def _confirm(options: InitOptions, question: str, default: bool) -> bool:
    return default if options.yes else typer.confirm(question, default=default)
