"""How often something is tried where there is little time."""

quick = False  # --quick, which is known before any test's module is imported
slow = True  # what is marked slow is run: else nobody needs to make it


def many(number: int) -> int:
    """So many; with ``--quick`` a fifth: for what runs under sanitizers, too, where it is done in full."""
    return number // 5 if quick else number
