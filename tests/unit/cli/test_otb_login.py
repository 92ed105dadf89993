"""Logging in: what comes back to the loopback port, what an ID token says, how codes are asked about, what is kept."""

import asyncio
import base64
import hashlib
import json
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest

from broker.cli.people import login, own_files
from broker.cli.people.access import Access, LoginSettings, find_access, read_profile
from broker.cli.people.arguments import parser
from broker.cli.people.exits import CommandError
from broker.cli.people.login import with_values
from broker.cli.people.openid import browser_flow, device_flow
from broker.cli.people.openid.browser_flow import Awaited, has_browser
from broker.cli.people.openid.device_flow import by_device
from broker.cli.people.openid.id_token import Wish, verified
from broker.cli.people.openid.kept_login import KeptLogin, kept_login, refresh
from broker.cli.people.openid.provider import Provider, RefusedGrantError, Tokens, is_protected
from broker.identity.keys import parse_key_set
from tests.unit.identity.forgery import compact, es256, key
from tests.unit.identity.test_identity_token import DROP, changed, member

ISSUER = "https://id.example"
SETTINGS = LoginSettings(ISSUER, "otb", Path("profile.login.json"))
KEYS = parse_key_set(json.dumps({"keys": [member(key("one"), "one")]}).encode())
ACCESS = "an-access-token"
HASH = base64.urlsafe_b64encode(hashlib.sha256(ACCESS.encode()).digest()[:16]).rstrip(b"=").decode()


class ProviderDouble:
    """A provider that answers from a list."""

    def __init__(self, *answers, device=None):
        self.settings = SETTINGS
        self.answers = list(answers)
        self.device = device
        self.forms = []

    def endpoint(self, name, what):
        return f"{ISSUER}/{name}"

    async def keys(self):
        return KEYS

    async def post(self, address, form):
        self.forms.append(form)
        return 200, self.device

    async def tokens(self, form):
        self.forms.append(form)
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise RefusedGrantError(answer, "")
        return answer


def id_token(header=None, **claims):
    now = int(time.time())
    usual = {"iss": ISSUER, "aud": "otb", "sub": "u-1", "iat": now, "exp": now + 300, "nonce": "n", "at_hash": HASH}
    return compact(changed({"alg": "ES256", "kid": "one"}, header or {}), changed(usual, claims), es256(key("one")))


ANYHOW = Wish()


def verify(raw_token, wish=ANYHOW, nonce="n"):
    tokens = Tokens(ACCESS, 60, identity=raw_token)
    return asyncio.run(verified(ProviderDouble(), tokens, wish, time.time(), nonce))


def test_an_id_token_says_who_logged_in():
    now = int(time.time())
    who = verify(id_token(auth_time=now, acr="phr"), Wish(True, None, ("phr",)))
    assert (who.account, who.authenticated_at, who.acr) == ("u-1", now, "phr")
    assert verify(id_token(at_hash=DROP, nonce=DROP), nonce="").account == "u-1"


@pytest.mark.parametrize(
    ("claims", "header"),
    [
        ({"iss": "https://evil.example"}, {}),
        ({"aud": "payroll"}, {}),
        ({"aud": ["otb", "payroll"]}, {}),
        ({"azp": "payroll"}, {}),
        ({"nonce": "other"}, {}),
        ({"nonce": DROP}, {}),
        ({"exp": int(time.time()) - 100}, {}),
        ({"iat": int(time.time()) + 10_000}, {}),
        ({"at_hash": "AAAA"}, {}),
        ({"sub": DROP}, {}),
        ({}, {"kid": "two"}),
        ({}, {"typ": "at+jwt"}),
        ({}, {"alg": "HS256"}),
    ],
)
def test_an_id_token_that_is_not_of_this_login_counts_for_nothing(claims, header):
    with pytest.raises(CommandError) as raised:
        verify(id_token(header, **claims))
    assert raised.value.code == "login_refused"
    assert verify(id_token()).account == "u-1"


@pytest.mark.parametrize(
    ("wish", "claims"),
    [
        (Wish(fresh=True), {"auth_time": int(time.time()) - 30}),
        (Wish(fresh=True), {}),
        (Wish(max_age_seconds=300), {"auth_time": int(time.time()) - 400}),
        (Wish(acr=("phr",)), {"acr": "pwd"}),
        (Wish(acr=("phr",)), {}),
    ],
)
def test_a_login_that_was_not_as_wished_is_refused(wish, claims):
    with pytest.raises(CommandError):
        verify(id_token(**claims), wish)


def arrives(awaited, *, path=browser_flow.PATH, host=None, method="GET", query=None, **parameters):
    text = urlencode({"state": awaited.state, "iss": ISSUER, **parameters}) if query is None else query
    host = f"127.0.0.1:{awaited.port}" if host is None else host
    return awaited.take(f"{method} {path}?{text} HTTP/1.1\r\nHost: {host}\r\n\r\n")[0]


def awaiting(story, names_itself=True):
    async def run():
        awaited = Awaited(ISSUER, names_itself, 4711)
        story(awaited)
        return await awaited.code if awaited.code.done() else None

    return asyncio.run(run())


def test_the_answer_to_a_login_counts_once():
    def story(awaited):
        assert arrives(awaited, code="c-1") == 200
        assert arrives(awaited, code="c-2") == 400

    assert awaiting(story) == "c-1"


def test_what_is_not_the_answer_changes_nothing():
    def story(awaited):
        assert arrives(awaited, code="c", state="guessed") == 400
        assert arrives(awaited, query="code=c") == 400
        assert arrives(awaited, query=f"state={awaited.state}&state={awaited.state}&code=c") == 400
        assert arrives(awaited, code="c", host="localhost:4711") == 404
        assert arrives(awaited, code="c", host="evil.example") == 404
        assert arrives(awaited, code="c", path="/") == 404
        assert arrives(awaited, code="c", method="POST") == 405
        assert awaited.take("nonsense")[0] == 404

    assert awaiting(story) is None


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"code": "c", "iss": "https://evil.example"}, "another provider"),
        ({"error": "access_denied"}, "access_denied"),
        ({}, "no code"),
    ],
)
def test_an_answer_that_is_no_login_ends_the_waiting(parameters, told):
    with pytest.raises(CommandError) as raised:
        awaiting(lambda awaited: arrives(awaited, **parameters))
    assert told in raised.value.public


def test_a_provider_that_says_it_names_itself_must():
    with pytest.raises(CommandError):
        awaiting(lambda awaited: arrives(awaited, query=f"state={awaited.state}&code=c"))
    assert awaiting(lambda awaited: arrives(awaited, query=f"state={awaited.state}&code=c"), False) == "c"


def test_a_browser_is_only_there_where_it_can_show_itself(monkeypatch):
    monkeypatch.setattr(browser_flow.sys, "platform", "linux")
    assert not has_browser({})
    monkeypatch.setattr(browser_flow.webbrowser, "get", lambda: None)
    assert has_browser({"DISPLAY": ":0"})


class ScreenDouble:
    as_json = True

    def __init__(self):
        self.lines = []

    def line(self, document):
        self.lines.append(document)

    def say(self, *_):
        """Nothing."""


DEVICE = {"device_code": "d", "user_code": "ABCD-EFGH", "verification_uri": f"{ISSUER}/device", "interval": 2}


def by_code(monkeypatch, *answers, **device):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(device_flow, "asyncio", SimpleNamespace(sleep=sleep))
    provider, screen = ProviderDouble(*answers, device={**DEVICE, "expires_in": 600, **device}), ScreenDouble()
    tokens, who = asyncio.run(by_device(provider, Wish(acr=("phr",)), {"scope": "openid", "resource": "r"}, screen))
    return tokens, who, pauses, provider, screen


def test_a_code_is_asked_about_no_faster_than_the_provider_wants(monkeypatch):
    good = Tokens(ACCESS, 60, identity=id_token(acr="phr"))
    tokens, who, pauses, provider, screen = by_code(
        monkeypatch, "authorization_pending", "slow_down", "authorization_pending", good
    )
    assert (tokens.access, who.account, pauses) == (ACCESS, "u-1", [2, 2, 7, 7])
    assert screen.lines[0]["user_code"] == "ABCD-EFGH"
    assert provider.forms[0] == {"scope": "openid", "resource": "r", "acr_values": "phr"}
    assert provider.forms[1] == {"grant_type": device_flow.GRANT, "device_code": "d", "resource": "r"}


@pytest.mark.parametrize("answer", ["access_denied", "expired_token", "invalid_grant"])
def test_a_code_that_is_refused_is_asked_about_no_more(monkeypatch, answer):
    with pytest.raises(CommandError) as raised:
        by_code(monkeypatch, answer)
    assert raised.value.code == "login_refused"


def test_a_code_is_not_asked_about_after_its_end_nor_shown_with_an_odd_address(monkeypatch):
    with pytest.raises(CommandError) as raised:
        by_code(monkeypatch, expires_in=1)
    assert "too old" in raised.value.public
    with pytest.raises(CommandError) as raised:
        by_code(monkeypatch, verification_uri="http://evil.example")
    assert raised.value.code == "provider_odd"


@pytest.mark.parametrize(
    ("address", "protected"),
    [
        ("https://id.example/token", True),
        ("http://127.0.0.1:8080/token", True),
        ("http://[::1]/token", True),
        ("http://localhost/token", True),
        ("http://id.example/token", False),
        ("http://127.0.0.1.evil.example/", False),
        ("https://user@id.example/", False),
        ("https://id.example/#f", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("https://[", False),
    ],
)
def test_addresses_are_protected_or_of_this_machine(address, protected):
    assert is_protected(address) is protected
    provider = Provider(None, SETTINGS, {"token_endpoint": address})
    if not protected:
        with pytest.raises(CommandError):
            provider.endpoint("token_endpoint", "tokens")


def profile(folder, **values):
    path = folder / "profile.toml"
    path.write_text("# mine\napi = 'https://broker.example'\n" + "".join(f"{k} = {v!r}\n" for k, v in values.items()))
    return path


def test_a_profile_with_a_login_has_its_token_beside_it(tmp_path):
    path = profile(tmp_path, issuer=ISSUER, client_id="otb", client_secret="secret", issuer_ca="ca.pem")
    access = read_profile(path)
    assert access.token == tmp_path / "profile.token"
    assert access.login == LoginSettings(
        ISSUER, "otb", tmp_path / "profile.login.json", ca=tmp_path / "ca.pem", secret=tmp_path / "secret"
    )
    assert kept_login(access) == KeptLogin(access.login, access.token)
    own = find_access(parser().parse_args(["me", "--profile", str(path), "--token", "x"]), {})
    assert (own.login, kept_login(own)) == (None, None)
    assert kept_login(Access("https://broker.example")) is None


@pytest.mark.parametrize("values", [{"issuer": ISSUER}, {"client_id": "otb"}, {"development": "dev", "issuer": ISSUER}])
def test_half_a_login_in_a_profile_is_refused(tmp_path, values):
    with pytest.raises(CommandError) as raised:
        read_profile(profile(tmp_path, **values))
    assert raised.value.code == "profile_invalid"


def test_settings_go_into_a_profile_and_leave_the_rest_alone():
    text = "# mine\napi = 'https://a'\nissuer = 'https://old'  # old\n"
    assert with_values(text, {"issuer": ISSUER, "client_id": 'o"tb'}) == (
        f'# mine\napi = \'https://a\'\nissuer = "{ISSUER}"\nclient_id = "o\\"tb"\n'
    )


def test_what_is_kept_is_for_this_client_of_this_issuer_and_for_its_owner_alone(tmp_path):
    kept = KeptLogin(LoginSettings(ISSUER, "otb", tmp_path / "p.login.json"), tmp_path / "p.token")
    kept.keep(Tokens("a.b.c", 60, "refresh", "identity"), {})
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    kept.keep(Tokens("d.e.f", None), kept.read())
    assert (kept.read()["refresh_token"], kept.token.read_text()) == ("refresh", "d.e.f\n")
    assert KeptLogin(LoginSettings(ISSUER, "other", kept.settings.kept), kept.token).read() == {}
    kept.forget()
    assert list(tmp_path.iterdir()) == []
    kept.forget()


def test_a_token_without_a_way_to_fresh_ones_is_left_alone(tmp_path):
    kept = KeptLogin(LoginSettings(ISSUER, "otb", tmp_path / "p.login.json"), tmp_path / "p.token")
    assert kept.due_at() == 0.0
    assert asyncio.run(refresh(kept)) is False


def test_of_two_who_renew_one_waits_and_a_lock_left_behind_goes(tmp_path, monkeypatch):
    path = tmp_path / "p.lock"
    assert own_files.lock(path, 30)
    assert not own_files.lock(path, 30)
    own_files.unlock(path)
    assert own_files.lock(path, 30)
    monkeypatch.setattr(own_files.time, "time", lambda: path.stat().st_mtime + 31)
    assert not own_files.lock(path, 30)
    assert own_files.lock(path, 30)


@pytest.mark.parametrize("command", ["login", "logout"])
def test_a_persona_of_a_development_folder_does_not_log_in(command):
    arguments = parser().parse_args([command, "--dev", "dev", "--as", "vendor-ana"])
    with pytest.raises(CommandError) as raised:
        getattr(login, {"login": "log_in", "logout": "log_out"}[command])(arguments, {}, ScreenDouble())
    assert raised.value.code == "usage"
