"""What a report must not have is taken out of any text, however it is written, and found where it is not."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from datetime import datetime, timezone
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_sagemaker_openai.aws.token import sign_token
from tests.conftest import CREDENTIALS, REGION
from tools.live_redaction import WITHHELD, Redactor

each = pytest.mark.parametrize

TOKEN = sign_token(CREDENTIALS, REGION, 300, datetime(2026, 11, 26, tzinfo=timezone.utc))
SIGNATURE = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
NAMES = {"acme-prod-7": "<endpoint>", "coder": "<component>", "mmustermann": "<user>", "gw.acme.example": "<host>"}
SECRETS = [TOKEN, SIGNATURE, CREDENTIALS.access_key, CREDENTIALS.secret_key, CREDENTIALS.session_token or ""]
REDACT = Redactor(
    NAMES, SECRETS, own="choices.message.content error invalid_request_error Endpoint of account not found"
)

ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in capitals": str.upper,
    "percent-encoded": lambda text: quote(text, safe=""),
    "each character percent-encoded": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent-encoded twice": lambda text: quote("".join(f"%{byte:02x}" for byte in text.encode()), safe=""),
    "in JSON": json.dumps,
    "in JSON in JSON": lambda text: json.dumps(json.dumps({"a": text})),
    "in JSON, escaped": lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
    "in HTML": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "in base64 after one more": lambda text: base64.b64encode(f"xy{text}z".encode()).decode(),
    "in base64 after two more": lambda text: base64.b64encode(f"token={text}&more".encode()).decode(),
    "in base64 behind v": lambda text: "v" + base64.b64encode(text.encode()).decode(),
    "in base64 behind v1": lambda text: "v1" + base64.b64encode(text.encode()).decode(),
    "in base64 behind v1/": lambda text: "v1/" + base64.b64encode(text.encode()).decode(),
    "in base64 behind /v1/": lambda text: "/v1/" + base64.b64encode(text.encode()).decode(),
    "in a URL": lambda text: f"https://console.example/x?token={quote(text, safe='')}#a",
    "in words": lambda text: f"the-{text}-of",
}
PRIVATE = {
    "the endpoint's name": "acme-prod-7",
    "the host": "gw.acme.example",
    "an account id": "210987654321",
    "an ARN": "arn:aws:iam::210987654321:role/acme",
    "another access key id": "ASIAQWERTYUIOPASDFGH",
    "the token": TOKEN,
    "a piece of the token": TOKEN[57:90],
    "the token's end": TOKEN[-14:],
    "the secret key": CREDENTIALS.secret_key,
    "a piece of the secret key": CREDENTIALS.secret_key[3:16],
    "the access key id": CREDENTIALS.access_key,
    "the signature": SIGNATURE,
    "a piece of the signature": SIGNATURE[20:34],
}


def is_in(private: str, text: str) -> bool:
    """Whether a text has it, written in one of the ways; said without any of the code under test."""
    ways = [private, quote(private, safe=""), json.dumps(private)[1:-1], html.escape(private)]
    for before in ("", "x", "xy"):
        encoded = base64.b64encode((before + private).encode()).decode().rstrip("=")
        ways.append(encoded[4 if before else 0 : -1])
    return any(way.lower() in text.lower() for way in ways)


@each("encoding", ENCODINGS)
@each("private", PRIVATE)
def test_what_is_private_is_taken_out_however_it_is_written(private: str, encoding: str) -> None:
    written = ENCODINGS[encoding](PRIVATE[private])
    text = f'Endpoint is "{written}" (see above).'
    assert REDACT.leaks(text)
    redacted = REDACT(text)
    assert not is_in(PRIVATE[private], redacted)
    assert written.lower() not in redacted.lower()
    assert REDACT.leaks(redacted) == []


@each(
    ("text", "redacted"),
    [
        ("Endpoint acme-prod-7 of account 123456789012 not found.",
         "Endpoint <endpoint> of account <account> not found."),
        ("ACME-PROD-7", "<endpoint>"),
        ("acme-prod-7-config and acme-prod-70", "<endpoint>-config and <endpoint>0"),
        ("Xacme-prod-7y", "X<endpoint>y"),
        ("coder, coder2 and a decoder of codersets", "<component>, <component>2 and a decoder of codersets"),
        ("/aws/sagemaker/Endpoints/acme-prod-7 acct123456789012x",
         "/aws/sagemaker/Endpoints/<endpoint> acct<account>x"),
        ("mmustermannlab of XMmustermann", "<user>lab of X<user>"),
        ("name Y29kZXI= alone", "<left out>"),
        ("account 1234-5678-9012, 1234 5678 9012", "account <account>, <account>"),
        ("user mmustermann in /home/mmustermann/project/x.py", "user <user> in <path>"),
        (r"C:\Users\mmustermann\x.py", "<path>"),
        ('File "/usr/local/lib/python3.12/dist-packages/vllm/x.py", line 3', 'File "<path>", line 3'),
        ("https://gw.acme.example:8443/v1?x=1 refused", "<url> refused"),
        ("host gw.acme.example:8443", "host <host>:8443"),
        ("vpce-0abc-x1y2.runtime.sagemaker.us-west-2.vpce.amazonaws.com", "<host>"),
        ("ip-10-0-12-7.us-west-2.compute.internal at 10.0.12.7:8080", "<host> at <ip>"),
        ("fe80:0:0:0:1:2:3:4", "<ip>"),
        ("fd00:ec2::254 and [fe80::1]:8080, ::ffff:a:b", "<ip> and [<ip>]:8080, <ip>"),
        ("std::string at 12:30:45", "std::string at 12:30:45"),
        ("s3://acme-models/qwen/ by jane.doe@acme.example", "<s3> by <address>"),
        ("HF_TOKEN=hf_abcdefghij, DB_PASSWORD: 'hunter22'", "HF_TOKEN=<secret>, DB_PASSWORD: '<secret>'"),
        ('"AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI"', '"AWS_SECRET_ACCESS_KEY": "<secret>"'),
        ("id 0d9e5c1a-1111-4222-8333-abcdefabcdef", "id <id>"),
        ("trace 0123456789abcdef01", "trace <id>"),
        ("at 20261126T120000Z and 2026-11-26T12:00:00.123Z", "at <time> and <time>"),
        (
            'Received client error (400) from Kl6NPmsGIHdsibbMO7hO with message "no". See https://us-west-2.console.aws.'
            "amazon.com/cloudwatch/home?region=us-west-2#logEventViewer:group=/aws/sagemaker/Endpoints/acme-prod-7 in "
            "account 123456789012 for more information.",
            'Received client error (400) from <container> with message "no". See https://us-west-2.console.aws.amazon.'
            "com/cloudwatch/home?region=us-west-2#logEventViewer:group=/aws/sagemaker/Endpoints/<endpoint> in account "
            "<account> for more information.",
        ),
        ("max_tokens=10000000 cannot be greater than 40960", "max_tokens=10000000 cannot be greater than 40960"),
        ("The bearer token's prefix must be sagemaker-api-key-.",
         "The bearer token's prefix must be sagemaker-api-key-."),
    ],
)  # fmt: skip
def test_what_stands_in_its_place(text: str, redacted: str) -> None:
    assert REDACT(text) == redacted


def test_a_token_that_is_broken_into_lines() -> None:
    lines = "\n".join(TOKEN[at : at + 60] for at in range(0, len(TOKEN), 60))
    redacted = REDACT(f"Bearer {lines}")
    assert not any(TOKEN[at : at + 11] in redacted for at in range(len("sagemaker-api-key-"), len(TOKEN) - 11))


def test_a_name_that_is_a_common_word_is_not_found_out_from_what_is_left_out() -> None:
    """With `chat` taken out of `/chat/completions`, anybody could say what stood there."""
    redact = Redactor({"chat": "<endpoint>", "error": "<component>"}, [], own="POST /v1/chat/completions error message")
    assert redact("Unknown operation POST /endpoints/chat/openai/v1/chat/completions.") == WITHHELD
    assert redact("no such endpoint: %63%68%61%74") == WITHHELD
    assert redact("Rate exceeded") == "Rate exceeded"
    assert [redact.word(word) for word in ("error", "chat", "message")] == ["error", "chat", "message"]
    assert redact.leaks("| error | /v1/chat/completions |") == []


def test_words_of_a_protocol() -> None:
    assert [REDACT.word(word) for word in ("content", "invalid_request_error", "x-new-header", "application/json")] == [
        *("content", "invalid_request_error", "x-new-header", "application/json")
    ]
    assert REDACT.word("x-acme-prod-7-id") == "x-<endpoint>-id"
    assert REDACT.word("210987654321") == "<account>"
    assert REDACT.word("| <script>alert('a key of a model's own')</script> |") == "<other>"
    assert len(REDACT.word("a" * 10_000)) <= 80
    for length in range(180, 200):  # nothing of a name is left where it is cut
        assert REDACT.word(f"{'A1b' * 100}"[:length] + " acme-prod-7 210987654321") == "<other>"


def test_it_shows_no_secret() -> None:
    assert repr(REDACT) == "Redactor()"


TEXTS = st.text(st.sampled_from("ab/%\\u0043-_=+ \"'.:{}7") | st.characters(codec="utf-8"), max_size=40)


@given(before=TEXTS, after=TEXTS, private=st.sampled_from(sorted(PRIVATE.values())))
def test_whatever_stands_around_it(before: str, after: str, private: str) -> None:
    redacted = REDACT(f"{before}{private}{after}")
    assert private.lower() not in redacted.lower()
    assert REDACT.leaks(redacted) == []
