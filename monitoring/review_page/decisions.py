"""What a person does on the page: decide on images, and choose golden ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Final
from urllib.parse import parse_qs

import pandas as pd

from monitoring.review_page.night import REF_CHARACTERS, ReviewedImage, ReviewedNight
from monitoring.review_page.product import ReviewedProduct
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.names import printable
from reconad_plugin.ledger.deciding import (
    Decision,
    check_defect,
    check_person,
    decide,
    describe_decision,
    left,
)
from reconad_plugin.ledger.golden_defects import UNNAMED, write_decision
from reconad_plugin.ledger.night_record import DECISIONS, DEFECT
from reconad_plugin.store.golden_notes import GoldenNote, note_golden, put_golden

_MOST_FIELDS: Final = 20_000


@dataclass(frozen=True)
class Form:
    """What the page sends."""

    fields: Mapping[str, str]
    marks: Mapping[str, str]  # name of each image -> mark of what the person saw

    @classmethod
    def parse(cls, body: bytes) -> "Form":
        """Read a form as browsers send it.

        Raises:
            ConfigError: it is none, or names no image.
        """
        try:
            content = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError as error:
            raise ConfigError(f"a decision must be a form: {error}: reload the page") from None
        marks = dict(each.partition(".")[::2] for each in content.pop("image", []))
        if not marks:
            raise ConfigError("a decision needs an image; none was chosen: choose one first")
        return cls({name: values[0] for name, values in content.items()}, marks)

    def chosen(self, night: ReviewedNight) -> list[ReviewedImage]:
        """Return the images of a night that are named.

        Raises:
            ConfigError: one is none of the night's review.
        """
        by_ref = {image.ref: image for image in night.images}
        if unknown := sorted(set(self.marks) - set(by_ref)):
            raise ConfigError(
                f"only images of the night's review can be decided on; {unknown[0]!r} is none: "
                "reload the page"
            )
        return [by_ref[ref] for ref in self.marks]


def take_decision(
    product: ReviewedProduct, night: ReviewedNight, form: Form, at: str
) -> dict[str, str]:
    """Write what a person said of some images. Golden images follow: one that is no defect any more
    leaves the golden set.

    Returns:
        Name of each image that was left, since somebody was faster -> that it stays, in words.

    Raises:
        ConfigError: the form breaks a rule.
        StorageError: nothing was written; or the decision was, and the golden set does not follow
            until it is given again.
    """
    decision = _decision(form.fields, at)
    chosen = form.chosen(night)
    seen = {image.sha256: form.marks[image.ref] for image in chosen}
    change = partial(decide, decision=decision, seen=seen)
    review = write_decision(product.store, product.layout, night.night, decision, change)
    return _describe_left(left(review, decision, seen), night.night, product)


def choose_golden(product: ReviewedProduct, night: ReviewedNight, form: Form, at: str) -> int:
    """Put confirmed defects into the golden set, or take them out; return how many.

    Raises:
        ConfigError: an image is no confirmed defect, or somebody changed it meanwhile.
        StorageError: the bucket gives or takes nothing.
    """
    decision = Decision(DEFECT, check_person(form.fields.get("by", "")), at)
    chosen = form.chosen(night)
    if form.fields.get("golden") != "put":
        taken = [image for image in chosen if image.is_golden]
        _note(product, taken, is_golden=False, decision=decision)
        return len(taken)
    for image in chosen:
        if not image.is_defect or not _is_as_seen(image, form):
            raise ConfigError(
                f"only a confirmed defect can judge versions; {image.name} is {image.said}: call "
                "it a defect first"
            )
    put = [image for image in chosen if not image.is_golden]
    _note(product, put, is_golden=True, decision=decision)
    return len(put)


def _is_as_seen(image: ReviewedImage, form: Form) -> bool:
    return image.mark == form.marks[image.ref]


def _decision(fields: Mapping[str, str], at: str) -> Decision:
    said = fields.get("decision", "")
    if said not in DECISIONS:
        raise ConfigError(f"a decision is one of {', '.join(DECISIONS)}; got {said!r}")
    person, defect = check_person(fields.get("by", "")), check_defect(fields.get("defect", ""))
    return Decision(said, person, at, defect)


def _note(
    product: ReviewedProduct, images: Sequence[ReviewedImage], is_golden: bool, decision: Decision
) -> None:
    notes = [
        GoldenNote(
            image.sha256,
            image.pixels_sha256,
            image.key,
            image.defect or UNNAMED,
            is_golden,
            decision.by,
            decision.at,
        )
        for image in images
    ]
    if not notes:
        return
    if is_golden:
        contents = [product.read_image(image.sha256, image.key) for image in images]
        put_golden(product.store, product.layout, notes, contents)
    else:
        note_golden(product.store, product.layout, notes)


def _describe_left(rows: pd.DataFrame, night: date, product: ReviewedProduct) -> dict[str, str]:
    prefix = product.layout.incoming(night)
    return {
        str(row["sha256"])[:REF_CHARACTERS]: (
            f"{printable(row['key'].removeprefix(prefix))} stays as it is "
            f"({describe_decision(row)})"
        )
        for row in rows.to_dict("records")
    }
