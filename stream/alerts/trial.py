"""A test alert to one sink, past spool and threads: does it arrive?"""

from __future__ import annotations

import time

from stream.alerts.alert import Alert, AlertKind, AlertState, Severity
from stream.alerts.engine import now
from stream.alerts.message import ended, new_alert_id
from stream.alerts.open import sender_of
from stream.alerts.sender import NotSentError, RefusedError
from stream.config_alerts import AnySink
from stream.types import StreamName


def try_sink(sink: AnySink) -> str | None:
    """Send an alert and its end at once, so that nothing is left firing; None, or why it did not arrive, in one line.

    Raises UsageError when a secret is not there.
    """
    sender = sender_of(sink, is_trial=True)
    alert = trial_alert()
    try:
        sender.send(alert)
        sender.send(ended(alert, time.time(), "over"))
    except NotSentError as error:
        return f"did not arrive: {error}"
    except RefusedError as error:
        return f"was refused: {error}"
    finally:
        sender.close()
    return None


def trial_alert() -> Alert:
    """One that says what it is."""
    moment = now()
    return Alert(
        id=new_alert_id(moment),
        rule="test",
        kind=AlertKind.TEST,
        severity=Severity.INFO,
        state=AlertState.FIRING,
        stream=StreamName(""),
        track_id=None,
        began_at=moment.wall_s,
        changed_at=moment.wall_s,
        fake_probability=None,
        message="this is a test, nothing is wrong",
    )
