"""The forms that a message takes: our own JSON, Slack's, a card of Teams, a mail."""

import base64
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from typing import Final

from flows.jobs.message import Message

PICTURE_NAME: Final = "reconad.png"
_SLACK_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def webhook_form(message: Message) -> dict[str, object]:
    """Return all of a message as JSON, the picture in base64."""
    picture, page = message.page.picture, message.page
    return {
        "kinds": list(message.kinds),
        "product": message.product,
        "night": message.night,
        "cause": message.cause,
        "version": message.version,
        "title": message.title,
        "sentence": message.sentence,
        "link": page.link,
        "picture_link": page.picture_link,
        "picture_png": None if picture is None else base64.b64encode(picture).decode(),
    }


def slack_form(message: Message) -> dict[str, object]:
    """Return what an incoming webhook of Slack takes. It takes no picture, so there is a link."""
    title, sentence = (text.translate(_SLACK_ESCAPES) for text in (message.title, message.sentence))
    links = "  ".join(f"<{address}|{name}>" for name, address in _links(message).items())
    return {"text": "\n".join(filter(None, (f"*{title}*", sentence, links)))}


def teams_form(message: Message) -> dict[str, object]:
    """Return an adaptive card, as a workflow of Teams takes it. Its cards may have 28 kB, so there
    is a link to the picture."""
    lines = [{"text": message.title, "weight": "Bolder"}, {"text": message.sentence}]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "TextBlock", "wrap": True, **line} for line in lines],
        "actions": [
            {"type": "Action.OpenUrl", "title": name, "url": address}
            for name, address in _links(message).items()
        ],
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": card}]}


FORMS: Final[Mapping[str, Callable[[Message], dict[str, object]]]] = {
    "webhook": webhook_form,
    "slack": slack_form,
    "teams": teams_form,
}


def mail_text(message: Message) -> str:
    """Return the body of a mail."""
    links = [f"{name}: {address}" for name, address in _links(message).items()]
    return "\n\n".join(filter(None, (message.sentence, "\n".join(links))))


def mail_form(message: Message, sender: str, receivers: tuple[str, ...]) -> EmailMessage:
    """Return a mail with the picture attached."""
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = message.title, sender, ", ".join(receivers)
    mail.set_content(mail_text(message))
    if message.page.picture is not None:
        mail.add_attachment(
            message.page.picture, maintype="image", subtype="png", filename=PICTURE_NAME
        )
    return mail


def _links(message: Message) -> dict[str, str]:
    """Return name -> address of what can be looked at."""
    named = {"Look": message.page.link, "Picture": message.page.picture_link}
    return {name: address for name, address in named.items() if address is not None}
