"""ONE table of what the API serves: method, path, permission, models, record. Everything else is generated from it."""

from broker.api import agenda, models, operations, views
from broker.api.approval_routes import APPROVAL_ROUTES
from broker.api.break_glass_routes import BREAK_GLASS_ROUTES
from broker.api.evidence_routes import EVIDENCE_ROUTES
from broker.api.leave_routes import LEAVE_ROUTES
from broker.api.lock_routes import LOCK_ROUTES
from broker.api.people_routes import PEOPLE_ROUTES
from broker.api.proposal_routes import POLICY_ROUTES, PROPOSAL_ROUTES
from broker.api.request_routes import REQUEST_ROUTES
from broker.api.route import CertificateAlone, DecidedBy, Effect, Route
from broker.api.session_routes import SESSION_ROUTES
from broker.api.tickets import TICKET_ROUTES

_DEVICE_PROBLEMS = ("denied", "device_unknown", "ledger_closed", "ledger_paused", "state_unavailable")

ROUTES: tuple[Route, ...] = (
    Route(
        name="me",
        method="GET",
        path="/v1/me",
        permission="me.read",
        decided_by=DecidedBy.ADMIN,
        effect=Effect.PLAIN,
        summary="Who you are to the broker, and what proved it",
        handler=views.me,
        answer=models.Me,
        resource="me",
    ),
    Route(
        name="devices",
        method="GET",
        path="/v1/devices",
        permission="devices.read",
        decided_by=DecidedBy.ADMIN,
        effect=Effect.PLAIN,
        summary="The devices you may see, with what is open now and next",
        handler=views.devices,
        answer=models.Devices,
        resource="devices",
    ),
    Route(
        name="points",
        method="GET",
        path="/v1/devices/{site}/{device}/points",
        permission="devices.read",
        decided_by=DecidedBy.ADMIN_ON_RESOURCE,
        effect=Effect.PLAIN,
        summary="The points of a device",
        handler=views.points,
        answer=models.Points,
        problems=("device_unknown",),
        certificate_alone=CertificateAlone.IN_EMERGENCY,
    ),
    Route(
        name="read",
        method="POST",
        path="/v1/devices/{site}/{device}/read",
        permission="device.read",
        decided_by=DecidedBy.OPERATION,
        effect=Effect.OPERATES,
        summary="Read points by name, or ranges of raw Modbus addresses",
        handler=operations.read,
        answer=models.ReadAnswer,
        body=models.ReadCall,
        problems=(
            *_DEVICE_PROBLEMS,
            "point_unknown",
            "value_invalid",
            "device_refused",
            "bad_reply",
            "device_down",
            "budget_exhausted",
            "not_sent",
            "no_reply",
            "deadline_passed",
        ),
        description=(
            "Neighbouring points are read together. The answer is 200 if anything could be read; a point that could "
            "not says why in `error`. If nothing could be read the answer is a problem: 403 if anything was denied."
        ),
        certificate_alone=CertificateAlone.IN_EMERGENCY,
    ),
    Route(
        name="write",
        method="POST",
        path="/v1/devices/{site}/{device}/write",
        permission="device.write",
        decided_by=DecidedBy.OPERATION,
        effect=Effect.OPERATES,
        summary="Write points by name, or ranges of raw Modbus addresses",
        handler=operations.write,
        answer=models.WriteAnswer,
        body=models.WriteCall,
        problems=(
            *_DEVICE_PROBLEMS,
            "point_unknown",
            "value_invalid",
            "idempotency_in_flight",
            "idempotency_key_invalid",
            "idempotency_key_reused",
            "device_refused",
            "device_down",
            "budget_exhausted",
            "not_sent",
            "outcome_unknown",
            "partly_denied",
        ),
        description=(
            "The call is decided whole before anything is relayed: one denial and nothing is written (403). Then the "
            "writes are carried out in the order given, each relayed at most once; the first that is not done leaves "
            "those after it `unattempted`. 200 means that all are done; anything else is a problem with an `outcome` "
            "for each; what a person armed may be armed no more when its turn comes (`partly_denied`). After "
            "`outcome: unknown` (504) a write may have taken effect: read before you repeat it.\n\n"
            "With an `Idempotency-Key` a repeated call gets the first one's answer, with `Idempotency-Replayed: true`, "
            "and writes nothing again. Answers are kept in memory for 24 hours, the newest 1,000 of a subject and "
            "10,000 of all, 32 MiB together. A key whose answer is no longer kept is a new key: its call is decided "
            "and written again; a restart of the broker makes every key new. Before you repeat a call from before a "
            "restart, read the point or ask the ledger. A call that sent nothing to the device leaves its key unused."
            "\n\nIf the policy obliges a person (`step_up_needed`, `approval_needed`), the problem has `approvals`. "
            "With `wait_seconds` the call waits until they are armed or refused, then is decided again and goes on."
        ),
        certificate_alone=CertificateAlone.IN_EMERGENCY,
    ),
    Route(
        name="tunnel",
        method="GET",
        path="/v1/devices/{site}/{device}/tunnel",
        permission="device.tunnel",
        decided_by=DecidedBy.OPERATION,
        effect=Effect.OPERATES,
        summary="A WebSocket that carries Modbus/TCP",
        handler=operations.tunnel,
        subprotocol=operations.MODBUS_SUBPROTOCOL,
        problems=(*_DEVICE_PROBLEMS, "handshake_invalid", "tunnel_needs_modbus", "origin_refused", "upgrade_required"),
        description=(
            "Subprotocol `otb.modbus.v1`. Binary frames are a Modbus/TCP octet stream, cut anywhere; every request in "
            "it is decided and recorded. Text frames are control messages in JSON. The broker sends "
            '`{"type":"denied","reasons":[…],"decision_id":…,"approval":…,"next_window":…}` beside the exception that '
            'the stream carries, `{"type":"warning","reason":…,"text":…,"at":…,"seconds":…}` 15 and 5 minutes before '
            'access ends, and `{"type":"ending","reason":…,"text":…,"at":…}` before it closes. You may send '
            '`{"type":"renew","token":"…"}` with a fresh token of the same subject, which the broker answers with '
            '`{"type":"renewed"}` or `{"type":"renew_refused","code":…}`; a token of another subject ends the tunnel.'
        ),
        certificate_alone=CertificateAlone.IN_EMERGENCY,
    ),
    Route(
        name="bacnet",
        method="GET",
        path="/v1/sites/{site}/bacnet",
        permission="site.bacnet",
        decided_by=DecidedBy.OPERATION,
        effect=Effect.OPERATES,
        summary="A WebSocket that carries the BACnet network of a site",
        handler=operations.bacnet,
        subprotocol=operations.BACNET_SUBPROTOCOL,
        problems=(
            "denied",
            "ledger_closed",
            "ledger_paused",
            "state_unavailable",
            "site_unknown",
            "handshake_invalid",
            "site_has_no_bacnet",
            "origin_refused",
            "upgrade_required",
        ),
        description=(
            "Subprotocol `otb.bacnet.v1`. Each binary message is one datagram or several (together at most 16,384 "
            "octets): 6 octets, the address of a BACnet client of yours (IPv4 and port, or whatever tells them "
            "apart), 2 octets, the length of the NPDU, and an NPDU of at most 1,497 octets. The broker answers to "
            "that address, or to `FF FF FF FF FF FF`: to every client. It is shown as a router to one network, that "
            "of the site, with the devices that you may see; every service is decided and recorded. At most 8,000 "
            "requests and replies a second are taken of a tunnel, and 16,000 of all of yours together, or a tenth as "
            "many of what nobody replies to; what is too much or is not read is dropped, as datagrams are. "
            "Control messages are those of a Modbus tunnel; `denied`, `warning` and `ending` name the `device`, and "
            "an `ending` that does so ends the access to that device alone. `denied` also says `what` was denied "
            "(`write-property analog-value,1 present-value = 99 @12`, of several the first and how many more; never "
            "the value of a confidential point), unless the device as a whole is refused. What was allowed and not "
            'answered is told as `{"type":"failed","device":…,"what":…,"result":…,"code":…,"text":…,"what_to_do":…}`, '
            "with `result` `unknown` for a write that may have taken effect, `no_reply`, `bad_reply` or `not_sent`; "
            "and what was refused before anything could be decided, with `denied`."
        ),
        certificate_alone=CertificateAlone.IN_EMERGENCY,
    ),
    Route(
        name="bacnet_device",
        method="GET",
        path="/v1/devices/{site}/{device}/bacnet",
        permission="device.bacnet",
        decided_by=DecidedBy.OPERATION,
        effect=Effect.OPERATES,
        summary="A WebSocket that carries the BACnet of one device",
        handler=operations.bacnet_device,
        subprotocol=operations.BACNET_SUBPROTOCOL,
        problems=(*_DEVICE_PROBLEMS, "handshake_invalid", "tunnel_needs_bacnet", "origin_refused", "upgrade_required"),
        description=(
            "As the BACnet network of a site, for tools that cannot address a device behind a router: there is no "
            "router and no network number, and what comes without a destination, or for all, is for this device."
        ),
        certificate_alone=CertificateAlone.IN_EMERGENCY,
    ),
    Route(
        name="windows",
        method="GET",
        path="/v1/windows",
        permission="windows.read",
        decided_by=DecidedBy.ADMIN,
        effect=Effect.PLAIN,
        summary="Windows and freezes of your devices: open now, frozen now, next",
        handler=views.windows,
        answer=models.Windows,
        resource="windows",
    ),
    Route(
        name="calendar",
        method="GET",
        path="/v1/calendar.ics",
        permission="windows.read",
        decided_by=DecidedBy.ADMIN,
        effect=Effect.PLAIN,
        summary="Windows and freezes of your devices and grants of yours that end, as an iCalendar file",
        handler=agenda.calendar,
        query=agenda.CalendarQuery,
        resource="calendar",
        media_type=agenda.MEDIA_TYPE,
        problems=("state_unavailable",),
        description=(
            "Devices are those that your grants lead to, now or later. Windows and freezes are there date by date, in "
            "UTC, at most 2,000 entries; the file's DESCRIPTION says until when it is whole."
        ),
    ),
    *SESSION_ROUTES,
    *APPROVAL_ROUTES,
    *LOCK_ROUTES,
    *LEAVE_ROUTES,
    *PEOPLE_ROUTES,
    *REQUEST_ROUTES,
    *BREAK_GLASS_ROUTES,
    *TICKET_ROUTES,
    *POLICY_ROUTES,
    *PROPOSAL_ROUTES,
    *EVIDENCE_ROUTES,
    Route(
        name="openapi",
        method="GET",
        path="/v1/openapi.json",
        permission="me.read",
        decided_by=DecidedBy.ADMIN,
        effect=Effect.PLAIN,
        summary="This description",
        handler=views.openapi,
        resource="openapi",
    ),
)
