"""Packages that come packed, from whoever made the bundle."""

from __future__ import annotations

import pytest
from django.test import override_settings

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


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rule", "refused"),
    [
        ({"deny": ["packedlens"]}, "packedlens may not be installed on this server"),
        ({"deny": ["Packed_Glass"]}, "What is asked for brings packed-glass, which may not be installed"),
        ({"allow": ["packed_glass"]}, "packedlens may not be installed on this server"),
        ({"allow": []}, "packedlens may not be installed on this server"),
        ({"allow": ["packed*"]}, ""),
        ({"deny": ["other"]}, ""),
    ],
)
def test_the_rule_on_packages_holds_for_what_comes_packed_and_for_what_came(wheels, settings, tmp_path, rule, refused):
    packed = tmp_path / "packed"
    lens = make_wheel(packed, "packedlens", "1.0", requires=["packed_glass"])
    base = environments.ground_digest()
    lock = f"# Laid over base packages {base}\n{make_wheel(packed, 'packed_glass', '2.0')}{lens}"
    version = make_function("lens", SOURCE, publish=False).newest
    given = Packed(("packedlens",), "overlay", lock, environments.python_tag(), base, packed)
    if not refused:
        settings.FUNCTIONS_PACKAGES = rule
        packing.adopt(version, given, lambda told: None)
        assert version.publish() is True
        return
    with override_settings(FUNCTIONS_PACKAGES=rule), pytest.raises(RequirementError, match=refused) as caught:
        packing.adopt(version, given, lambda told: None)
    assert (caught.value.code, Environment.objects.count()) == ("not_allowed", 0)
    packing.adopt(version, given, lambda told: None)
    with override_settings(FUNCTIONS_PACKAGES=rule):
        assert version.publish() is False
    assert refused in version.error["message"]
