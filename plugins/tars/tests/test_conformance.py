"""TARS does what every protocol has to do."""

from protokit_tars import tars
from tars_kit import KIT

from protokit.testing import conformance

TestTars = conformance(tars, **KIT)
