"""What `otb` says when the broker, the profile or one's proofs are not as they should be."""

import contextlib
import os
import socket
import ssl
import threading
import time

import pytest

from broker.adapters.development_ca import create_authority, issue_client
from broker.adapters.development_tokens import create_token_issuer, mint_token
from broker.cli.people.access import profile_file

ISSUER = "https://issuer.acme.example"


def given(plant, persona="vendor-ana", **changed):
    files = {"--ca": plant.folder / "ca.pem", "--api": plant.facts["api"]}
    files |= {
        f"--{option}": plant.file(persona, what)
        for option, what in (("cert", "certificate"), ("key", "key"), ("token", "token"))
    }
    files |= {f"--{name}": value for name, value in changed.items()}
    return [part for name, value in files.items() if value is not None for part in (name, value)]


def test_options_alone_are_enough(otb, plant):
    assert otb("me", *given(plant)).status == 0


def test_without_a_profile_it_says_how_to_get_one(otb):
    said = otb("ls")
    assert said.status == 1
    assert "no profile" in said.err
    for way in ("otb enrol", "otb login", "otb profile import"):
        assert way in said.err
    assert otb("ls", "--format", "json").document["code"] == "profile_missing"


def test_an_imported_profile_is_used_and_shown(otb, plant, tmp_path):
    assert otb("profile", "import", plant.folder, "--persona", "bms-sync").status == 0
    said = otb("me", "--format", "json")
    assert said.document["kind"] == "service"
    shown = otb("profile", "show")
    assert "bms-sync" in shown.out
    assert plant.file("bms-sync", "token").read_text().strip() not in shown.out
    assert otb("profile", "import", plant.folder).status == 1
    assert otb("profile", "import", plant.folder, "--force").status == 0
    assert (tmp_path / "config" / "otb" / "profile.toml").stat().st_mode & 0o077 == 0


def test_a_profile_with_paths_of_its_own_is_relative_to_itself(otb, plant):
    path = plant.folder / "profile.toml"
    path.write_text(
        f'api = "{plant.facts["api"]}"\nca = "ca.pem"\ncertificate = "personas/vendor-ana.pem"\n'
        'key = "personas/vendor-ana.key"\ntoken = "personas/vendor-ana.token"\n'
    )
    assert otb("--profile", path, "me").status == 0
    path.write_text('api = 5\ncolour = "red"\n')
    said = otb("--profile", path, "me")
    assert said.status == 1
    assert "api" in said.err
    assert "colour" in said.err


def test_the_profile_is_where_each_operating_system_keeps_settings(monkeypatch):
    assert profile_file({"OTB_PROFILE": "/a/b"}).as_posix() == "/a/b"
    assert profile_file({"OTB_PROFILE": "/a/b"}, "/c").as_posix() == "/c"
    monkeypatch.setattr("sys.platform", "win32")
    assert profile_file({"APPDATA": "/roaming"}).as_posix() == "/roaming/otb/profile.toml"


def test_an_unknown_persona_is_answered_with_those_there_are(otb, plant):
    said = otb("--dev", plant.folder, "--as", "nobody", "ls")
    assert said.status == 2
    assert "secops-bo" in said.err
    assert otb("--dev", plant.folder, "ls").status == 2
    assert otb("--dev", plant.folder / "nowhere", "--as", "x", "ls").status == 1


def test_another_authority_than_the_brokers_is_not_believed(otb, plant, tmp_path):
    other = create_authority(tmp_path / "other", "other", time.time())
    said = otb("me", *given(plant, ca=other.anchor))
    assert said.status == 1
    assert "could not prove who it is" in said.err
    assert "--ca" in said.err


def test_without_an_authority_nothing_is_sent(otb, plant):
    said = otb("me", *given(plant, ca=None))
    assert said.status == 1
    assert "--ca" in said.err


def test_a_broker_that_is_not_there_is_named(otb, plant):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        said = otb("me", *given(plant, api=f"https://127.0.0.1:{closed.getsockname()[1]}"))
    assert said.status == 1
    assert "cannot be reached" in said.err


@pytest.mark.parametrize("api", ["http://127.0.0.1:1", "https://u:p@h", "https://h/path", "ftp://h", "h", "https://"])
def test_an_address_that_is_no_api_is_a_usage_error(otb, plant, api):
    assert otb("me", *given(plant, api=api)).status == 2


def test_a_missing_proof_is_not_authenticated(otb, plant):
    assert otb("me", *given(plant, token=None)).status == 4
    assert otb("me", *given(plant, cert=None, key=None)).status == 4


def test_two_subjects_are_not_authenticated(otb, plant):
    said = otb("me", *given(plant, token=plant.file("secops-bo", "token")))
    assert said.status == 4
    assert "token" in said.err


def test_an_expired_token_is_told_with_its_end(otb, plant, tmp_path):
    issuer = create_token_issuer(plant.folder / "issuers" / "acme", ISSUER)
    token = tmp_path / "old.token"
    token.write_text(mint_token(issuer, "ana@acme.example", time.time() - 1000, lifetime_seconds=60))
    token.chmod(0o600)
    said = otb("me", *given(plant, token=token))
    assert said.status == 4
    assert "expired" in said.err
    assert token.read_text() not in said.err + said.out


def test_an_expired_certificate_is_told_with_its_end(otb, plant, tmp_path):
    authority = create_authority(plant.folder / "ca" / "acme", "acme", time.time())
    old = issue_client(authority, "ana@acme.example", tmp_path / "old", time.time() - 400 * 86_400)
    said = otb("me", *given(plant, cert=old.certificate, key=old.key))
    assert said.status == 4
    assert "expired" in said.err


def test_files_that_are_not_what_they_should_be_are_named(otb, plant, tmp_path):
    odd = tmp_path / "odd"
    odd.write_text("\x1b[31m secret words")
    odd.chmod(0o600)
    for option in ("ca", "cert", "key", "token"):
        said = otb("me", *given(plant, **{option: odd}))
        assert said.status in {1, 4}
        assert str(odd) in said.err or option == "key"
        assert "secret words" not in said.err
        assert otb("me", *given(plant, **{option: tmp_path / "missing"})).status == 1


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_key_that_others_can_read_is_warned_about(otb, plant, tmp_path):
    key = tmp_path / "open.key"
    key.write_bytes(plant.file("vendor-ana", "key").read_bytes())
    key.chmod(0o644)
    said = otb("me", *given(plant, key=key))
    assert said.status == 0
    assert f"{key} can be read by others" in said.err


class FakeBroker:
    """Answers every request with the same octets over TLS, as hostile or broken as they may be."""

    def __init__(self, plant, answer):
        self._answer = answer
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(plant.folder / "server.pem", plant.folder / "server.key")
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.requests = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listening.accept()
                with contextlib.suppress(OSError), self._context.wrap_socket(plain, server_side=True) as stream:
                    stream.settimeout(10)
                    self.requests.append(stream.recv(65_536))
                    stream.sendall(self._answer)

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)


@pytest.fixture
def fake(plant):
    with contextlib.ExitStack() as stack:

        def start(body=b"", head=b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"):
            answer = head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body if head else b""
            made = FakeBroker(plant, answer)
            stack.callback(made.close)
            return made

        yield start


def test_a_write_whose_answer_is_lost_has_an_unknown_outcome_and_is_not_repeated(otb, plant, fake):
    made = fake(head=b"")
    said = otb("write", "plant/ahu-1", "a=1", *given(plant, api=f"https://127.0.0.1:{made.port}"))
    assert said.status == 6
    assert "may have taken effect" in said.err
    assert "--idempotency-key" in said.err
    assert len(made.requests) == 1


def test_a_write_answered_with_nonsense_has_an_unknown_outcome(otb, plant, fake):
    made = fake(b"<html>")
    assert otb("write", "plant/ahu-1", "a=1", *given(plant, api=f"https://127.0.0.1:{made.port}")).status == 6


def test_an_answer_cannot_control_the_terminal(otb, plant, fake):
    made = fake(
        b'{"devices":[{"id":"a\\u001b[2Jb","protocol":"x\\u009b31m","description":"\\u202ez [red]","windows":{}}]}'
    )
    said = otb("ls", *given(plant, api=f"https://127.0.0.1:{made.port}"))
    assert said.status == 0
    assert all(c.isprintable() or c == "\n" for c in said.out)
    assert "[red]" in said.out


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"[" * 100_000, b'{"devices": 5}'])
def test_an_answer_that_makes_no_sense_is_an_error_and_not_a_crash(otb, plant, fake, body):
    made = fake(body)
    said = otb("ls", *given(plant, api=f"https://127.0.0.1:{made.port}"))
    assert said.status in {0, 1}
    assert "Traceback" not in said.err


def test_a_redirect_is_not_followed_with_the_token(otb, plant, fake):
    target = fake(b"{}")
    head = f"HTTP/1.1 307 Go\r\nLocation: https://127.0.0.1:{target.port}/\r\nConnection: close\r\n".encode()
    made = fake(b"{}", head)
    said = otb("me", *given(plant, api=f"https://127.0.0.1:{made.port}"))
    assert said.status == 1
    assert target.requests == []


def test_options_beat_a_profile_that_no_longer_leads_anywhere(otb, plant, tmp_path):
    path = tmp_path / "config" / "otb" / "profile.toml"
    path.parent.mkdir(parents=True)
    for broken in ('development = "gone"\npersona = "vendor-ana"\n', "no TOML at all"):
        path.write_text(broken)
        said = otb("status", *given(plant))
        assert said.status == 0, said.err
        assert str(path) not in said.out
        assert otb("status").status == 1
        assert otb("status", "--profile", path, *given(plant)).status == 1


def test_status_says_that_options_lie_over_a_profile(otb, plant, tmp_path):
    otb("profile", "import", plant.folder)
    assert otb("status", "--format", "json").document["source"] == str(tmp_path / "config" / "otb" / "profile.toml")
    said = otb("status", "--format", "json", "--token", plant.file("vendor-ana", "token"))
    assert said.document["source"].startswith("options, over ")


def test_a_profile_of_a_development_folder_takes_another_persona(otb, plant):
    assert otb("ls", "--as", "bms-sync").status == 2
    otb("profile", "import", plant.folder)
    assert otb("me", "--as", "bms-sync", "--format", "json").document["kind"] == "service"


def test_an_import_names_the_option_that_chooses_a_persona(otb, plant):
    said = otb("profile", "import", plant.folder, "--persona", "bogus")
    assert said.status == 2
    assert "Choose one with --persona: vendor-ana" in said.err
