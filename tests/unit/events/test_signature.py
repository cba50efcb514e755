"""The signature is MLflow's, nothing unsigned is ever good, and whatever is signed is read, left or refused."""

import contextlib
import json
import secrets
import time
import uuid

from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.webhooks.delivery import _generate_hmac_signature as mlflows

from lakeline.events import MalformedEvent
from lakeline.events.alias import read
from lakeline.events.signature import DELIVERY, SIGNATURE, TIMESTAMP, judge, sign

SECRET, BEFORE = secrets.token_hex(20), secrets.token_hex(20)


def test_signature_is_mlflows():
    body, delivery, timestamp = b'{"entity": "model_version_alias"}', str(uuid.uuid4()), "1767225600"

    assert sign(SECRET, delivery, timestamp, body) == mlflows(SECRET, delivery, timestamp, body.decode())


HEADERS = st.fixed_dictionaries(
    {}, optional={name: st.text(max_size=60) | st.integers().map(str) for name in (DELIVERY, TIMESTAMP, SIGNATURE, "Content-Type")}
)


@settings(max_examples=300, deadline=None)
@given(headers=HEADERS, body=st.binary(max_size=300))
def test_nothing_unsigned_is_ever_good(headers: dict[str, str], body: bytes):
    assert judge(headers.items(), body, (SECRET, BEFORE), time.time()) == ("forged", "")


@settings(max_examples=50, deadline=None)
@given(name=st.sampled_from([DELIVERY, TIMESTAMP, SIGNATURE]), more=st.text(max_size=60), place=st.sampled_from([0, 3]), same=st.booleans())
def test_what_is_said_twice_is_forged(name: str, more: str, place: int, same: bool):
    """Who reads it next might take the other one."""
    delivery, timestamp = str(uuid.uuid4()), str(int(time.time()))
    headers = {DELIVERY: delivery, TIMESTAMP: timestamp, SIGNATURE: sign(SECRET, delivery, timestamp, b"x")}
    twice = list(headers.items())
    assert judge(twice, b"x", (SECRET,), time.time()) == ("signed", delivery)
    twice.insert(place, (name.upper(), headers[name] if same else more))

    assert judge(twice, b"x", (SECRET,), time.time()) == ("forged", "")


@settings(max_examples=200, deadline=None)
@given(
    body=st.binary(max_size=300)
    | st.recursive(
        st.none() | st.text(max_size=9),
        lambda inner: st.dictionaries(
            st.sampled_from(["entity", "action", "data", "alias", "name", "version", "production", "created"]), inner, max_size=5
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_is_signed_is_read_left_or_refused(body: bytes):
    with contextlib.suppress(MalformedEvent):
        event = read(str(uuid.uuid4()), body)
        assert event is None or (event.alias, event.version.isdecimal()) == ("production", True)
