"""Packages that come packed, from whoever made the bundle."""

from __future__ import annotations

import pytest

from functions_app.models import Environment
from functions_app.runtime import Packed, RequirementError
from pipeline_app import packing
from pipeline_app.runners import environments
from tests.builders import make_function
from tests.wheels import make_wheel

SOURCE = '"""\nrequirements: packedlens\n"""\n\n\nclass Pipe:\n    def pipe(self, body):\n        return 1\n'


@pytest.mark.django_db
@pytest.mark.parametrize("between", ["  ", "\t", "\r", "\r  "])
def test_a_lock_hides_no_package_from_what_the_server_forbids(wheels, settings, tmp_path, between):
    settings.FUNCTIONS_PACKAGES = {"deny": ["packedevil"]}
    packed = tmp_path / "packed"
    lens, evil = (make_wheel(packed, name, "1.0") for name in ("packedlens", "packedevil"))
    base = environments.ground_digest()
    lock = f"# Laid over base packages {base}\n{lens}{between}{evil}"
    version = make_function("lens", SOURCE, publish=False).newest
    with pytest.raises(RequirementError, match=r"not written by this server's release|may not be installed"):
        packing.adopt(
            version,
            Packed(("packedlens",), "overlay", lock, environments.python_tag(), base, packed),
            lambda told: None,
        )
    assert not Environment.objects.exists()
