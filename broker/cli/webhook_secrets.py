"""What is wrong with the secrets of webhooks, before a broker is started with them."""

from collections.abc import Iterator
from pathlib import Path

from broker.adapters.signed_post import read_secrets
from broker.cli.config_files import LoadedSettings
from broker.errors import ConfigError, Problem
from broker.settings.broker_file import Settings
from broker.settings.findings import Finding
from broker.settings.findings import Path as Place
from broker.settings.notifying import WebhookSection


def secret_problems(loaded: LoadedSettings) -> tuple[Problem, ...]:
    """Files that do not hold secrets of the right form; none of them is shown."""
    problems = []
    for place, path in _secrets(loaded.settings):
        try:
            read_secrets(Path(path))
        except ConfigError as error:
            hint = 'make one with: echo "whsec_$(openssl rand -base64 32)"'
            problems.append(loaded.document.problem(Finding(place, error.public, hint)))
    return tuple(problems)


def _secrets(settings: Settings) -> Iterator[tuple[Place, str]]:
    for number, channel in enumerate(settings.notifications):
        if isinstance(channel, WebhookSection):
            yield ("notifications", number, "secret_file"), channel.secret_file
    if settings.tickets is not None and settings.tickets.check is not None:
        yield ("tickets", "check", "secret_file"), settings.tickets.check.secret_file
