"""What tests of steps share."""

from protokit import native
from protokit.errors import RemoteProtocolError


def step_agrees(step, section, arguments):
    """Found, not there, or more than is read: the same by the engine and by the reference."""
    count = max(len(arguments), 2)
    try:
        found = native.run_step(step.address, section, arguments, count)
    except RemoteProtocolError as error:
        found = None if native.RESULTS[-3] in str(error) else [None] * count
    try:
        expected = step.reference(section, arguments, count)
    except RemoteProtocolError:
        expected = None
    assert found == expected
    return found
