"""An inventory's folder: every problem at once, with file, line and column, and what would be right."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from broker.cli.config_files import describe, load_inventory
from broker.cli.inventory_files import read_inventory
from broker.errors import ConfigError, Problem
from broker.model.place import Budget, EndpointBudget, Inventory, ModbusAddress, Organisation
from broker.model.vocabulary import Action
from broker.model.way import ModbusTcpWay, SerialWay
from tests.integration.config.conftest import Authority, example

SITE = """\
sites: [plant]
segments:
  - {id: hvac, site: plant}
"""
DEVICE = (
    "  - {id: %s, site: plant, segment: hvac, protocol: modbus, upstream: {modbus_tcp: {host: 10.0.0.1, port: %s}}%s}\n"
)


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def problems(folder: Path) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load_inventory(folder)
    return caught.value.problems


def told(folder: Path) -> list[str]:
    return [describe(problem).removeprefix(f"{folder}/") for problem in problems(folder)]


def warnings(folder: Path) -> list[str]:
    return [problem.message for problem in read_inventory(folder).problems if problem.warning]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield write(tmp_path, site=SITE)


def test_the_example_of_the_how_to_loads_without_a_warning(tmp_path: Path) -> None:
    reading = read_inventory(write(tmp_path, all=example()))
    assert reading.problems == ()
    inventory = reading.inventory
    assert isinstance(inventory, Inventory)
    ahu = inventory.device("plant", "ahu-1")
    assert ahu is not None
    assert (ahu.way, ahu.sni, ahu.labels) == (ModbusTcpWay("10.20.0.11", 502), "ahu-1.plant", (("system", "hvac"),))
    setpoint = next(point for point in ahu.points if point.id == "supply-temp-setpoint")
    assert isinstance(setpoint.address, ModbusAddress)
    assert (str(setpoint.address.scale), setpoint.minimum, setpoint.action) == ("0.1", Decimal("16.0"), Action.ADJUST)


def test_the_distribution_over_files_does_not_change_the_revision(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    rest = "devices:\n" + DEVICE % ("a", 1, "") + DEVICE % ("b", 2, "")
    write(one, all=SITE + rest)
    write(other, z=SITE, y="devices:\n" + DEVICE % ("b", 2, ""), a="devices:\n" + DEVICE % ("a", 1, ""))
    assert load_inventory(one) == load_inventory(other)


def test_all_problems_of_all_files_come_at_once(folder: Path) -> None:
    write(
        folder,
        a="devices:\n" + DEVICE % ("Ahu", 1, "") + DEVICE % ("b", "x", ", colour: red"),
        b="windows:\n  - {id: w, starts: tomorrow, zone: Europe/Berlin, duration: P1D}\n",
        c="devices: [\n",
        d="wndows: []\n",
    )
    expected = [
        "a.yaml:2:10: 'id' 'Ahu' must be lower-case letters, digits and hyphens, at most 63 (such as ahu-1)",
        "a.yaml:3:105: 'port' 'x' must be a whole number (Its TCP port)",
        "a.yaml:3:110: unknown key 'colour'",
        "b.yaml:2:21: 'starts' 'tomorrow': must be a local date and time, such as 2026-11-28T08:00:00",
        "b.yaml:2:62: 'duration' 'P1D': must be hours, minutes and seconds such as PT4H or PT1H30M (a day is PT24H)",
        "c.yaml:2:1: this is not YAML",
        "d.yaml:1:1: unknown key 'wndows' (did you mean 'windows'?)",
    ]
    found = told(folder)
    assert len(found) == len(expected)
    assert [text for text, start in zip(found, expected, strict=True) if not text.startswith(start)] == []


def test_an_id_in_two_files_names_both_places(folder: Path) -> None:
    write(folder, a="devices:\n" + DEVICE % ("x", 1, ""), b="# second\ndevices:\n" + DEVICE % ("x", 2, ""))
    (problem,) = problems(folder)
    assert (Path(problem.file).name, problem.line) == ("b.yaml", 3)
    assert f"'plant/x' is already defined at {folder}/a.yaml:2" in problem.message


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("segments: [{id: s, site: plnt}]", "there is no site 'plnt'", "did you mean 'plant'?"),
        ("devices:\n" + (DEVICE % ("a", 1, "")).replace("hvac", "hvc"), "no segment 'hvc'", "did you mean 'hvac'?"),
        (
            "devices:\n" + DEVICE % ("a", 1, "") + DEVICE % ("b", 2, ", sni: A.plant"),
            "the TLS name 'a.plant' already selects plant/a",
            "another sni",
        ),
        (
            "devices:\n"
            + DEVICE % ("a", 1, ", listen: '127.0.0.1:802'")
            + DEVICE % ("b", 2, ", listen: '0.0.0.0:802'"),
            "the listener 0.0.0.0:802 already belongs to plant/a",
            "own address or port",
        ),
        (
            "devices:\n  - {id: a, site: plant, segment: hvac, protocol: modbus, upstream: {}}",
            "exactly one way",
            "serial",
        ),
        (
            "devices:\n  - {id: a, site: plant, segment: hvac, protocol: modbus, upstream: {serial: {path: /dev/x}},"
            " unit_id: 0}",
            "unit id 0 addresses no single device",
            "1 to 247",
        ),
        (
            "devices:\n  - {id: a, site: plant, segment: hvac, protocol: modbus, upstream: {serial: {path: /dev/x}},"
            " budget: {connections: 2}}",
            "a serial line bears one connection",
            "connections: 1",
        ),
        (
            "devices:\n  - {id: a, site: plant, segment: hvac, protocol: modbus, upstream: {serial: {path: /dev/x}}}\n"
            "  - {id: b, site: plant, segment: hvac, protocol: modbus, upstream: {serial: {path: /dev/x, baud: 9600},"
            " unit_id: 2}}",
            "/dev/x has other settings in plant/a",
            "belong to the line",
        ),
        (
            "windows: [{id: w, starts: 2026-01-01T00:00:00, zone: UTC, duration: PT1H, scope: {devices: [plant/z]}}]",
            "there is no device 'plant/z'",
            "",
        ),
        ("windows: [{id: w, starts: 2026-01-01T00:00:00, zone: Utz, duration: PT1H}]", "not an IANA time zone", "UTC"),
        ("freezes: [{id: w, starts: 2026-01-01T00:00:00, zone: UTC}]", "exactly one of duration and until", "PT4H"),
        (
            "windows: [{id: w, starts: 2026-01-01T00:00:00, zone: UTC, duration: PT1H, recurrence: FREQ=MINUTELY}]",
            "too fine",
            "HOURLY",
        ),
        ("grants: [{id: g, actions: [view], scope: {sites: [plant]}}]", "the grant names nobody", "subjects"),
        ("grants: [{id: g, actions: [view], subjects: [a], scope: {}}]", "the grant names no device", "sites"),
        ("grants: [{id: g, actions: [], subjects: [a], scope: {sites: [plant]}}]", "too few entries", ""),
        ("grants: [{id: g, actions: [view], subjects: [a]}]", "'scope' is missing", "Which devices"),
        (
            "grants: [{id: g, actions: [view], organisations: [acm], scope: {sites: [plant]}}]",
            "there is no organisation 'acm'",
            "",
        ),
        (
            "grants: [{id: g, actions: [view], subjects: [a], scope: {sites: [plant]}, windows: [w]}]",
            "there is no window 'w'",
            "",
        ),
        (
            "grants: [{id: g, actions: [view], subjects: [a], scope: {sites: [plant]},"
            " not_before: 2026-02-01T00:00:00Z, not_after: 2026-01-01T00:00:00Z}]",
            "the grant ends before it begins",
            "",
        ),
        (
            "organisations: [{id: o, contract_from: 2026-02-01T00:00:00Z, contract_until: 2026-01-01T00:00:00Z}]",
            "the contract ends before it begins",
            "",
        ),
        ("organisations: [{id: o, namespaces: [acme.example]}]", "'acme.example' is no namespace", "*@mail.domain"),
        ("organisations: [{id: o, anchors: [none.pem]}]", "cannot be read", ""),
        (
            "organisations: [{id: o, namespaces: ['*.acme.example']}, {id: p, namespaces: ['*.x.acme.example']}]",
            "The namespaces of o and p overlap",
            "selects the organisation",
        ),
        (
            "devices:\n" + DEVICE % ("a", 502, "") + "endpoints: [{at: '10.0.0.1:503', budget: {}}]",
            "no device is reached at '10.0.0.1:503'",
            "did you mean '10.0.0.1:502'?",
        ),
        (
            "devices:\n  - {id: a, site: plant, segment: hvac, protocol: modbus, upstream: {serial: {path: /dev/x}}}\n"
            "endpoints: [{at: /dev/x, budget: {connections: 2}}]",
            "a serial line bears one connection",
            "connections: 1",
        ),
        (
            "devices:\n"
            + DEVICE % ("a", 502, "")
            + "endpoints: [{at: '10.0.0.1:502', budget: {}}, {at: '10.0.0.1:502', budget: {}}]",
            "'10.0.0.1:502' is already defined",
            "its own at",
        ),
        ("endpoints: [{at: gateway, budget: {}}]", "at", ""),
        (
            "devices:\n" + DEVICE % ("a", 502, "") + "endpoints: [{at: '10.0.0.1:502', network: 20, budget: {}}]",
            "no device is reached on the network 20 behind '10.0.0.1:502'",
            "",
        ),
        ("endpoints: [{at: '10.0.0.1:502', budget: {queue: 3}}]", "unknown key 'queue'", ""),
        ("- a", "the file must be a mapping of lists", "devices"),
        ("devices: {id: a}", "'devices' must be a list", ""),
    ],
)
def test_what_does_not_fit_together_is_found(folder: Path, text: str, message: str, hint: str) -> None:
    found = [problem for problem in problems(write(folder, x=text)) if not problem.warning]
    (problem,) = found
    assert message in problem.message
    assert hint in problem.hint
    assert (Path(problem.file).name, problem.line > 0, problem.column > 0) == ("x.yaml", True, True)


def test_the_budget_of_a_gateway_is_read_and_an_unknown_place_is_told_with_line_and_column(folder: Path) -> None:
    devices = "devices:\n" + DEVICE % ("a", 502, "") + DEVICE % ("b", 502, ", unit_id: 2")
    budget = "budget: {connections: 2, operations_per_second: 20, gap_milliseconds: 5}}\n"
    stated = load_inventory(write(folder, x=devices + "endpoints:\n  - {at: '10.0.0.1:502', " + budget)).endpoints
    assert stated == (EndpointBudget("10.0.0.1:502", Budget(2, operations_per_second=20.0, gap_seconds=0.005)),)
    write(folder, x=devices + "endpoints:\n  - {at: '10.0.0.2:502', " + budget)
    assert told(folder)[0].startswith("x.yaml:5:10: no device is reached at '10.0.0.2:502'")


def test_a_network_behind_a_router_has_a_budget_of_its_own_beside_that_of_the_router(folder: Path) -> None:
    way = "upstream: {bacnet_ip: {host: 10.0.0.9, instance: 7, network: 20, address: 12}}"
    hub = "upstream: {bacnet_sc: {hub: 'wss://Hub.example/', instance: 8, network: 30, address: 12}}"
    devices = "".join(
        f"  - {{id: {name}, site: plant, segment: hvac, protocol: bacnet, {up}}}\n"
        for name, up in (("a", way), ("b", hub))
    )
    budget = "budget: {connections: 2}}"
    text = (
        f"devices:\n{devices}endpoints:\n  - {{at: '10.0.0.9:47808', {budget}\n"
        f"  - {{at: '10.0.0.9:47808', network: 20, {budget}\n  - {{at: 'wss://Hub.example/', network: 30, {budget}\n"
    )
    stated = load_inventory(write(folder, x=text)).endpoints
    assert [(each.at, each.network, each.budget.connections) for each in stated] == [
        ("10.0.0.9:47808", None, 2),
        ("10.0.0.9:47808", 20, 2),
        ("wss://Hub.example/", 30, 2),
    ]


def test_a_place_in_brackets_or_of_other_case_is_the_devices(folder: Path) -> None:
    for host, at in (("'FE80::1'", "[fe80::1]:502"), ("GW.plant.example", "gw.Plant.example:502")):
        device = (DEVICE % ("a", 502, "")).replace("10.0.0.1", host)
        write(folder, x=f"devices:\n{device}endpoints: [{{at: '{at}', budget: {{}}}}]\n")
        assert [endpoint.at for endpoint in load_inventory(folder).endpoints] == [at.lower()]


def test_a_stated_gap_that_never_lets_the_rate_through_is_a_warning(folder: Path) -> None:
    budget = "{operations_per_second: 50, gap_milliseconds: 100}"
    text = "devices:\n" + DEVICE % ("a", 502, "") + f"endpoints: [{{at: '10.0.0.1:502', budget: {budget}}}]\n"
    assert warnings(write(folder, x=text)) == ["a gap of 100 ms never lets 50 operations a second through"]


def test_an_endpoint_of_a_broken_device_is_not_called_unknown(folder: Path) -> None:
    text = "devices:\n" + DEVICE % ("a", "x", "") + "endpoints: [{at: '10.0.0.1:502', budget: {}}]\n"
    assert len(problems(write(folder, x=text))) == 1


def test_a_broken_device_is_not_called_unknown_where_it_is_named(folder: Path) -> None:
    write(
        folder,
        x="devices:\n" + DEVICE % ("a", "x", ""),
        y="windows: [{id: w, starts: 2026-01-01T00:00:00, zone: UTC, duration: PT1H, scope: {devices: [plant/a]}}]\n"
        "grants: [{id: g, actions: [view], subjects: [s], scope: {devices: [plant/a]}, points: [p]}]\n",
    )
    assert [Path(problem.file).name for problem in problems(folder)] == ["x.yaml"]


def test_two_devices_may_share_a_gateway_and_the_same_controller_twice_is_a_warning(folder: Path) -> None:
    write(folder, x="devices:\n" + DEVICE % ("a", 1, ", unit_id: 1") + DEVICE % ("b", 1, ", unit_id: 2"))
    assert warnings(folder) == []
    write(folder, y="devices:\n" + DEVICE % ("c", 1, ", unit_id: 2"))
    assert warnings(folder) == ["the same controller is already plant/b"]


@pytest.mark.parametrize(
    ("grant", "message"),
    [
        ("scope: {labels: {system: x}}, actions: [view]", "no device lies in this scope"),
        ("scope: {sites: [plant]}, actions: [control]", "none of its points is written by 'control'"),
        ("scope: {sites: [plant]}, actions: [adjust], windows: [elsewhere]", "applies to none of its devices"),
        (
            "scope: {sites: [plant], organisations: [o]}, organisations: [p], actions: [view]",
            "organisations and scope.organisations exclude each other",
        ),
    ],
)
def test_a_grant_that_can_never_apply_is_a_warning_and_loads(folder: Path, grant: str, message: str) -> None:
    point = ", points: [{id: p, table: holding-register, address: 0, action: adjust}]"
    write(
        folder,
        x="devices:\n"
        + DEVICE % ("a", 1, point)
        + DEVICE % ("b", 2, "")
        + "organisations: [{id: o}, {id: p}]\n"
        + "windows: [{id: elsewhere, starts: 2026-01-01T00:00:00, zone: UTC, duration: PT1H,"
        + " scope: {labels: {floor: '3'}}}]\n"
        + f"grants: [{{id: g, subjects: [s], {grant}}}]\n",
    )
    load_inventory(folder)
    assert [text for text in warnings(folder) if message in text]


def test_a_point_unknown_to_every_device_of_a_grant_is_an_error(folder: Path) -> None:
    point = ", points: [{id: setpoint, table: holding-register, address: 0, action: adjust}]"
    grant = "grants: [{id: g, subjects: [s], scope: {sites: [plant]}, points: [setpont], actions: [adjust]}]\n"
    (text,) = told(write(folder, x="devices:\n" + DEVICE % ("a", 1, point) + grant))
    assert text.endswith("no device in its scope has a point 'setpont' (did you mean 'setpoint'?)")


def test_serial_ways_and_upstream_units_are_read(folder: Path) -> None:
    device = (
        "devices:\n  - {id: a, site: plant, segment: hvac, protocol: modbus, unit_id: 7,"
        " upstream: {serial: {path: /dev/ttyS1, baud: 9600, parity: E}, unit_id: 3}, budget: {gap_milliseconds: 50}}\n"
    )
    (found,) = load_inventory(write(folder, x=device)).devices
    assert (found.way, found.unit_id, found.upstream_unit_id) == (SerialWay("/dev/ttyS1", 9600, "E", 1), 7, 3)
    assert found.budget.gap_seconds == 0.05


def test_anchors_are_read_and_belong_to_one_organisation(folder: Path, acme: Authority, beta: Authority) -> None:
    (folder / "acme.pem").write_text(f"a comment\n{acme.pem}")
    (folder / "both.pem").write_text(acme.pem + beta.pem)
    one = "  - {id: acme, anchors: [acme.pem], namespaces: ['*@acme.example']}\n"
    other = "  - {id: beta, anchors: [both.pem], namespaces: ['*@beta.example']}\n"
    (organisation,) = load_inventory(write(folder, x=f"organisations:\n{one}")).organisations
    assert organisation.anchors == (acme.pem,)
    (text,) = told(write(folder, x=f"organisations:\n{one}{other}"))
    assert text.startswith("x.yaml:3:25: acme and beta share a trust anchor")


def test_a_private_key_in_an_inventory_is_an_error_that_does_not_show_it(folder: Path, acme: Authority) -> None:
    (folder / "acme.pem").write_text(acme.pem + acme.key_pem)
    (text,) = told(write(folder, x="organisations: [{id: a, anchors: [acme.pem], namespaces: ['*@a.example']}]\n"))
    assert "contains a private key" in text
    assert acme.key_pem.splitlines()[1] not in text


@pytest.mark.parametrize(
    "content", ["no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_an_anchor_that_is_no_certificate_is_an_error(folder: Path, content: str) -> None:
    (folder / "acme.pem").write_text(content)
    (text,) = told(write(folder, x="organisations: [{id: a, anchors: [acme.pem], namespaces: ['*@a.example']}]\n"))
    assert text.startswith("x.yaml:1:35:") or text.startswith("x.yaml:1:34:")


def test_a_revocation_list_that_cannot_be_read_is_an_error(folder: Path) -> None:
    (folder / "acme.crl").write_text("nothing")
    (text,) = told(write(folder, x="organisations: [{id: a, crl_files: [acme.crl]}]\n"))
    assert "A revocation list cannot be read" in text


def test_organisations_from_elsewhere_may_be_named_and_not_repeated(folder: Path) -> None:
    extra = (Organisation("dev", (), ("*@dev.example",)),)
    grant = "grants: [{id: g, organisations: [dev], actions: [view], scope: {sites: [plant]}}]\n"
    write(folder, x="devices:\n" + DEVICE % ("a", 1, "") + grant)
    assert [o.id for o in load_inventory(folder, extra).organisations] == ["dev"]
    write(folder, y="organisations: [{id: dev}]\n")
    with pytest.raises(ConfigError, match="1 problem"):
        load_inventory(folder, extra)


def test_a_role_may_be_given_at_a_site_that_is_there(folder: Path) -> None:
    write(folder, x="organisations: [{id: o, owner: true, roles: {bo@o.example: [operator@plant, security]}}]\n")
    (organisation,) = load_inventory(folder).organisations
    assert organisation.roles == (("bo@o.example", ("operator@plant", "security")),)
    write(folder, x="organisations: [{id: o, roles: {bo@o.example: [operator@plnt]}}]\n")
    (text,) = told(folder)
    assert "there is no site 'plnt' (did you mean 'plant'?)" in text
    for role in ("operator@", "@plant", "operator@plant@plant", "operator@*", "Operator"):
        write(folder, x=f"organisations: [{{id: o, roles: {{bo@o.example: ['{role}']}}}}]\n")
        assert len(told(folder)) == 1


def test_what_an_auditor_is_besides_is_warned_of(folder: Path) -> None:
    write(folder, x="organisations: [{id: o, owner: true, roles: {cy@o.example: [auditor@plant, operator]}}]\n")
    (warning,) = read_inventory(folder).problems
    assert warning.warning and "an auditor changes nothing" in warning.message
    assert load_inventory(folder).organisations


def test_a_folder_without_files_or_that_is_none_is_a_problem(tmp_path: Path) -> None:
    assert "no *.yaml file" in problems(tmp_path)[0].message
    assert "cannot be read" in problems(tmp_path / "missing")[0].message


def test_hidden_files_and_other_names_are_not_read(folder: Path) -> None:
    for name in (".x.yaml", "x.yaml~", "x.txt"):
        (folder / name).write_text("what: ever\n")
    assert load_inventory(folder).sites == ("plant",)


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        ("{sites: [plnt]}", "there is no site 'plnt'"),
        ("{}", "it names no device"),
        ("{sites: [plant], organisations: [acme]}", "an organisation's own reach names no organisations"),
    ],
)
def test_where_an_organisation_may_ask_is_checked(folder: Path, allowed: str, message: str) -> None:
    write(folder, more=f"organisations:\n  - {{id: acme, allowed: {allowed}}}\n")
    assert message in [problem.message for problem in problems(folder)]
