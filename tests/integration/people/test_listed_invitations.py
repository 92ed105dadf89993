"""What is shown of many invitations costs as many questions as people made them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker.adapters.state_database import StateDatabase, StatePlace
from broker.model.enrolment import InvitationState
from broker.model.subject import Subject, SubjectKind
from broker.wiring.people.inviters import ASKED_AT_ONCE
from tests.integration.people.stage import BO, NORTHWIND, SPONSOR, Stage, played

OPEN, VOID, REVOKED = InvitationState.OPEN, InvitationState.VOID, InvitationState.REVOKED


def inviter(name: str, *roles: str) -> Subject:
    return Subject(f"{name}@plant.example", SubjectKind.PERSON, "plant", roles)


def invitee(number: int) -> str:
    return f"v{number}@northwind.example"


def test_a_list_asks_the_policy_once_for_each_who_invites_and_the_state_once(
    place: StatePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    askers: list[object] = []
    connection = StateDatabase.connection

    def counted(self: StateDatabase) -> Any:
        askers.append(asyncio.current_task())
        return connection(self)

    async def story(stage: Stage) -> None:
        world, membership = stage.world, stage.people.membership
        max_, kim = inviter("max", "security"), inviter("kim", "helpdesk")
        world.inviting = ("security", "helpdesk")
        for number, by in enumerate((SPONSOR, max_, kim, SPONSOR, max_, kim, SPONSOR)):
            await stage.invite(invitee(number), by=by)
            world.pass_time(1)
        found = await membership.invitations(NORTHWIND)
        await membership.revoke_invitation(found[0], BO)
        found = await membership.invitations(NORTHWIND)
        world.inviting = ("security",)
        world.asked.clear()
        monkeypatch.setattr(StateDatabase, "connection", counted)
        states = await membership.states(found)
        assert askers.count(asyncio.current_task()) == 1, "others of this broker follow the state by themselves"
        assert states == (REVOKED, VOID, OPEN, OPEN, VOID, OPEN, OPEN)
        # Of each the newest that is open.
        assert sorted(world.asked) == [(BO, invitee(3)), (kim.id, invitee(5)), (max_.id, invitee(4))]
        world.organisations = tuple(replace(known, sponsor="") for known in world.organisations)
        assert await membership.states(found) == (REVOKED, VOID, OPEN, VOID, VOID, OPEN, VOID)

    played(place, tmp_path, story)


def test_of_many_who_invite_only_so_many_are_asked_about_at_one_time(place: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        world, many = stage.world, ASKED_AT_ONCE + 3
        for number in range(many):
            await stage.invite(invitee(number), by=inviter(f"p{number}", "security"))
        found = await stage.people.membership.invitations(NORTHWIND)
        held: list[Callable[[], None]] = []
        world.held = held
        asking = asyncio.create_task(stage.people.membership.states(found))
        answered = 0
        while not asking.done():
            if held:
                for _ in range(5):  # whoever could ask now does
                    await asyncio.sleep(0)
                assert len(held) <= min(ASKED_AT_ONCE, many - answered)
                held.pop(0)()
                answered += 1
            await asyncio.sleep(0)
        assert answered == len(world.asked) == many
        assert await asking == (OPEN,) * many

    played(place, tmp_path, story)
