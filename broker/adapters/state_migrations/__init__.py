"""How databases come from one version of the tables to the next, and back, by the scripts that lie in this package.

Alembic runs in the transaction that is open on the connection.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def head() -> str:
    """The newest version of the tables."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to a version. Raises alembic's CommandError for tables of a later broker."""
    command.upgrade(_config(connection), revision)


def downgrade(connection: Connection, revision: str = "base") -> None:
    """Bring the tables back to an earlier version."""
    command.downgrade(_config(connection), revision)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
