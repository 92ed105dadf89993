"""What a development broker generates at every start: what somebody edited in between is kept."""

from pathlib import Path

from broker.cli.generated_files import GeneratedFiles

NAME = "inventory/devices.yaml"
FIRST = "devices:\n  - {host: 127.0.0.1, port: 1}\n    maximum: 22.0\n"
SECOND = FIRST.replace("port: 1}", "port: 2}")


def generated(folder: Path, text: str) -> GeneratedFiles:
    files = GeneratedFiles(folder)
    files.write(NAME, text)
    return files


def test_what_nobody_edited_is_generated_anew(tmp_path: Path) -> None:
    for text in (FIRST, SECOND, SECOND + "more: here\n"):
        files = generated(tmp_path, text)
        assert (tmp_path / NAME).read_text() == text
        assert (files.kept, files.set_aside) == ([], [])


def test_what_somebody_edited_stays_but_for_the_addresses_of_this_start(tmp_path: Path) -> None:
    generated(tmp_path, FIRST)
    (tmp_path / NAME).write_text("# mine\n" + FIRST.replace("22.0", "20.0"))
    for text in (SECOND, SECOND):
        assert generated(tmp_path, text).kept == [NAME]
        assert (tmp_path / NAME).read_text() == "# mine\n" + SECOND.replace("22.0", "20.0")


def test_an_address_that_somebody_edited_stays(tmp_path: Path) -> None:
    generated(tmp_path, FIRST)
    edited = FIRST.replace("port: 1}", "port: 502}")
    (tmp_path / NAME).write_text(edited)
    generated(tmp_path, SECOND)
    assert (tmp_path / NAME).read_text() == edited


def test_what_somebody_edited_stays_whole_when_another_version_generates_other_lines(tmp_path: Path) -> None:
    generated(tmp_path, FIRST)
    (tmp_path / NAME).write_bytes(b"# \xff\r\n" + FIRST.encode())
    assert generated(tmp_path, "# of a later version\n" + SECOND).kept == [NAME]
    assert (tmp_path / NAME).read_bytes() == b"# \xff\r\n" + FIRST.encode()


def test_what_was_deleted_is_generated_anew(tmp_path: Path) -> None:
    generated(tmp_path, FIRST)
    (tmp_path / NAME).unlink()
    assert generated(tmp_path, SECOND).kept == []
    assert (tmp_path / NAME).read_text() == SECOND


def test_what_may_have_been_edited_before_anything_was_remembered_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "inventory").mkdir()
    (tmp_path / NAME).write_text("# of an earlier version\n")
    assert generated(tmp_path, FIRST).set_aside == [f"{NAME}.before"]
    assert (tmp_path / f"{NAME}.before").read_text() == "# of an earlier version\n"
    assert (tmp_path / NAME).read_text() == FIRST


def test_what_is_replaced_at_every_start_is_set_aside_once_it_was_edited(tmp_path: Path) -> None:
    for text in (FIRST, SECOND):
        files = GeneratedFiles(tmp_path)
        files.replace("broker.yaml", text)
        assert files.set_aside == []
    (tmp_path / "broker.yaml").write_text("mine\n")
    files = GeneratedFiles(tmp_path)
    files.replace("broker.yaml", FIRST)
    assert files.set_aside == ["broker.yaml.before"]
    assert (tmp_path / "broker.yaml.before").read_text() == "mine\n"
    assert (tmp_path / "broker.yaml").read_text() == FIRST
