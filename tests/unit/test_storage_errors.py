"""What a store says becomes an error of ours: by status and code, over a real connection."""

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import botocore.endpoint
import pytest

from flows.runtime.exit_codes import run_command
from flows.runtime.steps import STORAGE_RETRIES
from reconad_plugin.config.settings import StorageSettings
from reconad_plugin.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    ObjectUnreadableError,
    StorageError,
    StorageUnreachableError,
)
from reconad_plugin.store.objects import ObjectStore
from tests.fake_s3 import refusal, store_of

TRIES = 5  # of boto, the first one counted


def xml(code, said, more=""):
    """The body of a refusal."""
    return f"<Error><Code>{code}</Code><Message>{said}</Message>{more}</Error>".encode()


@contextmanager
def serving(answers):
    """A server that gives these answers, (status, headers, body), and the last one for ever; its
    address, and the requests that it got."""
    requests = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            status, headers, body = answers[min(len(requests), len(answers)) - 1]
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()


@pytest.fixture
def ask(monkeypatch):
    """Reads an object of a store with these answers; what came back, and how often it was asked."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-shown")
    monkeypatch.setattr(botocore.endpoint.time, "sleep", lambda seconds: None)

    def read(*answers, call=lambda store: store.read("gear/a.png")):
        with serving(answers) as (address, requests):
            store = ObjectStore(StorageSettings(bucket="factory", endpoint_url=address))
            try:
                return call(store), len(requests)
            except StorageError as error:
                return error, len(requests)

    return read


@pytest.mark.parametrize(
    ("status", "body", "of_type", "said"),
    [
        pytest.param(
            403,
            xml("InvalidObjectState", "The operation is not valid for the object's class.\n"),
            ObjectUnreadableError,
            "InvalidObjectState: The operation is not valid for the object's class: restore it",
            id="archived",
        ),
        pytest.param(
            404,
            xml("NoSuchKey", "The specified key does not exist."),
            ObjectUnreadableError,
            "NoSuchKey: The specified key does not exist: it was moved or deleted: bring it back",
            id="gone",
        ),
        pytest.param(
            400,
            xml("InvalidRequest", "The object was stored using Server Side Encryption."),
            ObjectUnreadableError,
            "InvalidRequest: The object was stored using Server Side Encryption: make it readable",
            id="a key of the customer",
        ),
        pytest.param(
            400,
            xml("KMS.DisabledException", "arn:aws:kms:1 is disabled."),
            ObjectUnreadableError,
            "KMS.DisabledException: arn:aws:kms:1 is disabled: make it readable",
            id="a disabled key",
        ),
        pytest.param(
            403,
            xml("AccessDenied", "User bob is not authorized to perform: s3:GetObject"),
            AccessDeniedError,
            "access denied (AccessDenied: User bob is not authorized to perform: s3:GetObject): "
            "check the access key",
            id="denied",
        ),
        pytest.param(403, b"", AccessDeniedError, "access denied (403: Forbidden)", id="no words"),
        pytest.param(
            404, xml("NoSuchBucket", "None."), BucketNotFoundError, "does not exist", id="no bucket"
        ),
        pytest.param(
            501,
            xml("NotImplemented", "A header"),
            StorageError,
            "NotImplemented: A header",
            id="501",
        ),
        pytest.param(
            403,
            xml(
                "RequestTimeTooSkewed",
                "The difference is too large.",
                "<RequestTime>20260301T090000Z</RequestTime>"
                "<ServerTime>2026-03-01T08:00:00Z</ServerTime>",
            ),
            StorageError,
            "RequestTimeTooSkewed: The difference is too large: it is 2026-03-01T08:00:00Z there, "
            "and 20260301T090000Z here: set the clock of this machine",
            id="another time",
        ),
        pytest.param(
            400,
            xml(
                "AuthorizationHeaderMalformed",
                "The region 'us-east-1' is wrong.",
                "<Region>eu-west-3</Region>",
            ),
            StorageError,
            "AuthorizationHeaderMalformed: The region 'us-east-1' is wrong: the bucket is in "
            "region 'eu-west-3': set storage.region, or AWS_REGION by hand, to it",
            id="another region",
        ),
        pytest.param(
            301,
            b"<html>Moved</html>",
            StorageError,
            "it redirects, and names no region: check storage.endpoint_url, also its http or https",
            id="another place",
        ),
    ],
)
def test_what_the_store_says_is_handed_on(ask, status, body, of_type, said):
    """Its code and its sentence, and what to do."""
    error, _ = ask((status, {}, body))

    assert type(error) is of_type
    assert said in str(error)
    assert str(error).startswith("cannot read gear/a.png")
    assert "\n" not in str(error)
    assert "not-to-be-shown" not in str(error)
    assert run_command(lambda: (_ for _ in ()).throw(error)) == 2


def test_region_of_a_header_is_named(ask):
    """Where an answer has no body, its header names the region."""
    error, _ = ask((301, {"x-amz-bucket-region": "ap-south-1"}, b""))

    assert "the bucket is in region 'ap-south-1'" in str(error)


def test_clock_of_the_store_comes_from_its_answer(ask):
    """Where the body does not tell the time there, the answer's date does."""
    more = "<RequestTime>20260301T090000Z</RequestTime>"
    error, _ = ask((403, {}, xml("RequestTimeTooSkewed", "Too large.", more)))

    assert "GMT there, and 20260301T090000Z here: set the clock" in str(error)


BUSY = pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "SlowDown"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (400, "RequestTimeout"),
        (429, "TooManyRequestsException"),
        (502, None),
        (504, None),
    ],
)


@BUSY
def test_what_passes_is_tried_again(ask, status, code):
    """A busy or failing store is asked again, and the object is read in the end."""
    busy = (status, {}, xml(code, "Please wait.") if code else b"<html>Bad gateway</html>")

    found, tries = ask(busy, busy, (200, {}, b"the bytes"))

    assert found.content == b"the bytes"
    assert tries == 3


@BUSY
def test_what_does_not_pass_is_no_fault_of_the_user(ask, capsys, status, code):
    """After as many tries as are allowed: exit code 1, and a step that can be tried again."""
    error, tries = ask(
        (status, {}, xml(code, "Please wait.") if code else b"<html>Bad gateway</html>")
    )

    assert tries == TRIES
    assert type(error) is StorageUnreachableError
    assert str(error).endswith(
        f"{code}: Please wait: try again later" if code else "try again later"
    )
    assert run_command(lambda: (_ for _ in ()).throw(error)) == 1
    assert capsys.readouterr().err.startswith("reconad: cannot read gear/a.png")


def test_step_is_tried_again_after_what_may_pass_alone():
    """A busy store, and no store; no refusal."""
    is_worth_it = STORAGE_RETRIES["retry_condition_fn"]

    def after(error):
        class State:
            def result(self, raise_on_failure):
                return error

        return is_worth_it(None, None, State())

    assert after(StorageUnreachableError("busy"))
    assert not after(AccessDeniedError("denied"))
    assert not after(ObjectUnreadableError("archived"))


def test_body_that_is_cut_off_may_pass(ask):
    """A connection that breaks within an object is no refusal of it."""
    error, _ = ask((200, {"Content-Length": "100", "Connection": "close"}, b"half"))

    assert isinstance(error, StorageUnreachableError)


def test_damaged_object_is_told_by_its_checksum(ask):
    """What the store hands out must be what it has the checksum of."""
    error, _ = ask((200, {"x-amz-checksum-crc32": "AAAAAA=="}, b"other bytes"))

    assert isinstance(error, ObjectUnreadableError)
    assert "it is damaged, bring it anew" in str(error)


def test_listing_that_is_no_xml_is_a_failure_of_the_server(ask):
    """A login page in place of a listing is no traceback, and no empty bucket."""
    error, _ = ask((200, {}, b"<html><br>Log in"), call=lambda store: list(store.list_objects("a")))

    assert type(error) is StorageUnreachableError


def test_keys_that_xml_cannot_carry_are_listed(ask):
    """They come escaped: control characters, signs of XML and of URLs, other scripts."""
    entry = "<Contents><Key>{}</Key><ETag>&quot;1&quot;</ETag><Size>1</Size></Contents>"
    keys = ("a%01b", "a%0A", "%3Ca%26%3E", "a%252F", "%E9%9B%B6", "a+%2B")
    body = "".join(entry.format(key) for key in keys)
    listing = f"<ListBucketResult><EncodingType>url</EncodingType>{body}</ListBucketResult>"

    found, _ = ask((200, {}, listing.encode()), call=lambda store: list(store.list_objects("")))

    assert [info.key for info in found] == ["a\x01b", "a\n", "<a&>", "a%2F", "零", "a +"]


@pytest.mark.parametrize("region", ["no region", "eu west"])
def test_region_that_can_be_none_is_a_setting(region):
    """It is refused before anything is asked."""
    with pytest.raises(ValueError, match=r"region"):
        ObjectStore(StorageSettings(bucket="factory", region=region))


def test_refusal_of_a_write_is_no_object_that_cannot_be_read():
    """Its error is the bucket's."""

    class Full:
        def put_object(self, **_):
            raise refusal("QuotaExceeded", "The bucket is full.", 403, "PutObject")

    with pytest.raises(
        StorageError, match=r"write gear/_reconad/a .*: QuotaExceeded: The"
    ) as raised:
        store_of(Full()).write("gear/_reconad/a", b"", "text/plain")

    assert type(raised.value) is StorageError
