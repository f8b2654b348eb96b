"""What functions ask for, turned into exact versions by the real uv, from small wheels on disk or on loopback."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from functions_app.runtime import RequirementError
from pipeline_app.runners import environments
from pipeline_app.runners.environments import is_current, resolve, stored, troubles
from tests.wheels import Index, make_wheel


def row_of(resolved):
    return SimpleNamespace(
        requirements=resolved.requirements, lock=resolved.lock, digest=resolved.digest, kind=resolved.kind
    )


def refused(requirements, **given) -> RequirementError:
    with pytest.raises(RequirementError) as caught:
        resolve(requirements, **given)
    return caught.value


# --- Three kinds of sets --------------------------------------------------------------------------------


def test_what_the_base_packages_have_is_not_locked_and_nobody_is_asked(market, monkeypatch):
    monkeypatch.setattr(environments.uv, "binary", lambda: pytest.fail("uv was asked"))
    found = resolve(["tinypackage>=1,<2", "TinyPackage", 'pywin32; sys_platform == "never"'])
    assert (found.kind, found.lock, found.digest, found.packages) == ("none", "", "", {})


def test_what_comes_with_python_or_this_server_is_passed_over(market):
    assert resolve(["asyncio", "open-webui>=0.5", "Uuid"]).kind == "none"


def test_a_set_that_agrees_with_the_base_is_what_the_base_lacks(market):
    line = make_wheel(market, "lens", "1.5", requires=["tinypackage>=1"])
    make_wheel(market, "tinypackage", "2.0")
    found = resolve(["lens"])
    assert (found.kind, found.packages) == ("overlay", {"lens": "1.5"})
    assert found.lock.startswith("# Laid over base packages ")
    assert found.lock.partition("\n")[2] == line
    assert found.requirements == ["lens"]


def test_a_set_that_conflicts_with_the_base_is_complete(market):
    make_wheel(market, "tinypackage", "2.0")
    found = resolve(["tinypackage==2.0"])
    assert (found.kind, found.packages) == ("complete", {"tinypackage": "2.0"})


def test_a_complete_set_has_the_base_packages_in_versions_that_fit(market, shop):
    (shop / "requirements-functions.in").write_text("tinypackage>=1\nhelper\nstubborn\n")
    make_wheel(market, "tinypackage", "2.0")
    make_wheel(market, "helper", "1.0")
    make_wheel(market, "helper", "3.0", requires=["tinypackage<2"])
    make_wheel(market, "stubborn", "1.0", requires=["tinypackage<2"])
    said: list[str] = []
    found = resolve(["tinypackage>=2"], said.append)
    assert found.packages == {"tinypackage": "2.0", "helper": "1.0"}
    assert "Without stubborn, which does not go with it" in said


def test_another_version_deep_down_conflicts_too(market):
    make_wheel(market, "tinypackage", "0.5")
    make_wheel(market, "old", "1.0", requires=["tinypackage<1"])
    (market.parent / "requirements-functions.in").write_text("")
    assert resolve(["old"]).packages == {"old": "1.0", "tinypackage": "0.5"}


def test_pydantic_one_is_refused_with_the_reason(market, shop):
    (shop / "requirements-functions.in").write_text("pydantic>=2.11\n")
    (shop / environments.LOCK_NAME).write_text(make_wheel(market, "pydantic", "2.11"))
    make_wheel(market, "pydantic", "1.10")
    error = refused(["pydantic<2"])
    assert error.code == "conflict"
    assert str(error).startswith("Functions run with pydantic 2 here")


def test_extras_markers_and_several_bounds_are_understood(market):
    make_wheel(market, "lens", "1.0", requires=['glass>=1; extra == "clear"'], extras=["clear"])
    make_wheel(market, "lens", "2.0")
    make_wheel(market, "glass", "1.0")
    found = resolve(['lens[clear]>=0.5,!=0.7,<2; python_version >= "3"', 'glass; os_name == "never"'])
    assert found.packages == {"lens": "1.0", "glass": "1.0"}


def test_the_same_requirements_have_the_same_lock_and_others_another(market):
    make_wheel(market, "lens", "1.0")
    make_wheel(market, "lens", "2.0")
    first, second, third = resolve(["lens"]), resolve(["lens>1"]), resolve(["lens<2"])
    assert first.digest == second.digest != third.digest


def test_without_base_packages_the_way_to_get_them_is_said(shop):
    error = refused(["tinypackage"])
    assert error.code == "base_missing"
    assert str(error) == ("The base packages of functions are not installed yet. Run manage.py install_requirements.")


def test_inline_a_set_agrees_with_the_servers_own_packages_too(market, settings):
    settings.FUNCTIONS_RUNNER = "inline"
    make_wheel(market, "django", "1.0")
    assert resolve(["django>=4"]).kind == "none"
    (market.parent / "requirements-functions.in").write_text("")
    assert resolve(["django==1.0"]).kind == "complete"


# --- What is kept -------------------------------------------------------------------------------------


def test_a_stored_set_is_what_was_resolved(market):
    make_wheel(market, "lens", "1.0")
    found = resolve(["lens"])
    assert stored(row_of(found)) == found
    assert is_current(row_of(found))


def test_a_set_laid_over_other_base_packages_is_not_current(market, shop):
    make_wheel(market, "lens", "1.0")
    overlay = resolve(["lens"])
    make_wheel(market, "tinypackage", "3.0")
    complete = resolve(["tinypackage==3.0"])
    (shop / environments.LOCK_NAME).write_text(make_wheel(market, "tinypackage", "2.0"))
    assert not is_current(row_of(overlay))
    assert is_current(row_of(complete))


def test_a_set_of_another_python_is_not_current(market, monkeypatch):
    make_wheel(market, "lens", "1.0")
    row = row_of(resolve(["lens"]))
    monkeypatch.setattr(environments.locks, "python_tag", lambda: "cpython-399-other")
    assert not is_current(row)
    assert stored(row).digest != row.digest


# --- What cannot be had -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("--index-url http://127.0.0.1/ tinypackage", "refused", "options are not taken"),
        ("-r /etc/passwd", "refused", "options are not taken"),
        ("http://127.0.0.1/tiny.whl", "refused", "not from an address"),
        ("git+https://example.org/tiny", "refused", "not from an address"),
        ("/tmp/tiny.whl", "refused", "not from a path"),
        ("./tiny", "refused", "not from a path"),
        ("tiny-1.0-py3-none-any.whl", "refused", "not from a file"),
        ("tiny @ file:///tmp/tiny.whl", "refused", "not from an address"),
        ("tiny @ git+https://example.org/tiny", "refused", "not from an address"),
        ("-e .", "refused", "options are not taken"),
        ("tinypackage --hash=sha256:00", "refused", "options are not taken"),
        ("${HOME}", "refused", "variables are not filled in"),
        ("tiny package", "malformed", "put commas between packages"),
        ("tiny pack!age", "malformed", "Expected semicolon"),
        ("tinypackage>=", "malformed", ""),
    ],
)
def test_what_is_more_than_a_package_is_refused(market, text, code, reason):
    error = refused([text])
    assert error.code == code
    assert "is not a valid one: " in str(error)
    assert reason in str(error)


def test_a_package_without_wheels_is_named_also_where_uv_lists_its_versions():
    log = """error: No solution found when resolving dependencies
  cause: Because all of:
               numpy<=1.9.3
               numpy>=1.10.4,<=1.19.5
            have no usable wheels and only the following versions of numpy are available:
               numpy<=1.9.3
               numpy>=1.10.4
           we can conclude that all of:
               numpy<1.10.0
"""
    error = troubles.of_uv(1, log)
    assert error.code == "no_wheel"
    assert str(error).startswith("There is no wheel of numpy for this Python and platform, and nothing is built from ")


@pytest.mark.parametrize(("module", "package"), [("sklearn", "scikit-learn"), ("PIL", "pillow")])
def test_the_package_that_is_meant_by_the_name_of_a_module_is_told(market, module, package):
    error = refused([module, "tinypackage"])
    assert error.code == "unknown_package"
    assert str(error) == (
        f"{module} is the name of a module, and the package that brings it is {package}: ask for that. "
        f"{module.lower()} is not in the folder {market}. Put the missing wheels there."
    )
    make_wheel(market, "bs4", "1.0")
    make_wheel(market, "lens", "1.0", requires=["nowhere-to-be-had"])
    assert "name of a module" not in str(refused(["bs4", "lens"]))  # it is not what is missing


def test_an_unknown_package_is_named_with_the_folder(market):
    error = refused(["nobody-has-this", "tinypackage"])
    assert error.code == "unknown_package"
    assert str(error) == f"nobody-has-this is not in the folder {market}. Put the missing wheels there."
    assert "was not found" in error.log


def test_a_source_distribution_runs_nothing_and_is_refused(market, tmp_path):
    import tarfile

    ran = tmp_path / "ran"
    setup = tmp_path / "setup.py"
    setup.write_text(
        f"open({str(ran)!r}, 'w')\nfrom setuptools import setup\nsetup(name='onlysource', version='1.0')\n"
    )
    with tarfile.open(market / "onlysource-1.0.tar.gz", "w:gz") as archive:
        archive.add(setup, "onlysource-1.0/setup.py")
    error = refused(["onlysource"])
    assert error.code == "no_wheel"
    assert str(error).startswith("There is no wheel of onlysource for this Python and platform, and nothing is built ")
    assert not ran.exists()


def test_a_wheel_of_another_platform_is_none(market):
    make_wheel(market, "elsewhere", "1.0", tag="cp311-cp311-win_amd64")
    error = refused(["elsewhere"])
    assert error.code == "no_wheel"
    assert "elsewhere" in str(error)


def test_a_conflict_is_explained(market):
    make_wheel(market, "left", "1.0", requires=["middle<2"])
    make_wheel(market, "right", "1.0", requires=["middle>=2"])
    make_wheel(market, "middle", "1.0")
    make_wheel(market, "middle", "2.0")
    error = refused(["left", "right"])
    assert error.code == "conflict"
    assert str(error).startswith("No versions fit together:\n  Because ")
    assert "left" in str(error)
    assert "middle>=2" in str(error)


def test_a_package_that_brings_another_from_an_address_is_refused(market):
    make_wheel(market, "sneaky", "1.0", requires=["other @ http://127.0.0.1:9/other-1.0-py3-none-any.whl"])
    error = refused(["sneaky"])
    assert error.code == "refused"
    assert "other" in str(error)


def test_what_administrators_deny_is_refused_wherever_it_comes_from(market, settings):
    settings.FUNCTIONS_PACKAGES = {"deny": ["Glass", "evil-*"]}
    make_wheel(market, "lens", "1.0", requires=["glass"])
    make_wheel(market, "glass", "1.0")
    assert str(refused(["evil_twin"])) == "evil-twin may not be installed on this server (FUNCTIONS_PACKAGES)."
    error = refused(["lens"])
    assert error.code == "not_allowed"
    assert str(error) == (
        "What is asked for brings glass, which may not be installed on this server (FUNCTIONS_PACKAGES)."
    )


def test_a_base_package_that_is_denied_is_not_to_be_had_in_another_version(market, shop, settings):
    settings.FUNCTIONS_PACKAGES = {"deny": ["tinypackage"]}
    (shop / "requirements-functions.in").write_text("tinypackage>=1\nhelper\n")
    make_wheel(market, "tinypackage", "2.0")
    make_wheel(market, "helper", "1.0")
    make_wheel(market, "lens", "1.0", requires=["tinypackage>=2"])
    assert resolve(["tinypackage>=1"]).kind == "none"
    assert refused(["tinypackage>=2"]).code == "not_allowed"
    assert refused(["lens"]).code == "not_allowed"

    # Another set of versions does without what is denied of the base packages.
    settings.FUNCTIONS_PACKAGES = {"deny": ["helper"]}
    assert resolve(["lens"]).packages == {"lens": "1.0", "tinypackage": "2.0"}


def test_what_administrators_allow_may_bring_what_it_needs(market, settings):
    settings.FUNCTIONS_PACKAGES = {"allow": ["lens"]}
    make_wheel(market, "lens", "1.0", requires=["glass"])
    make_wheel(market, "glass", "1.0")
    assert set(resolve(["lens", "tinypackage"]).packages) == {"lens", "glass"}
    assert refused(["glass"]).code == "not_allowed"


def test_constraints_of_the_installation_hold(market, settings, tmp_path):
    make_wheel(market, "lens", "1.0")
    make_wheel(market, "lens", "2.0")
    settings.FUNCTIONS_CONSTRAINTS = str(tmp_path / "constraints.txt")
    assert "is no file" in str(refused(["lens"]))
    (tmp_path / "constraints.txt").write_text("lens<2\n")
    assert resolve(["lens"]).packages == {"lens": "1.0"}
    assert refused(["lens>=2"]).code == "conflict"


# --- Indexes ---------------------------------------------------------------------------------------------


@pytest.fixture
def index(market, settings, monkeypatch, tmp_path):
    """An index on loopback with the wheels of a folder, as the only source."""
    monkeypatch.delenv("UV_OFFLINE")
    monkeypatch.delenv("UV_FIND_LINKS")
    settings.FUNCTIONS_WHEELS = None
    make_wheel(tmp_path / "served", "lens", "1.0")
    with Index(tmp_path / "served") as index:
        settings.FUNCTIONS_INDEX_URL = index.url
        yield index


def test_packages_come_from_the_index_of_the_settings(index):
    found = resolve(["lens"])
    assert found.packages == {"lens": "1.0"}
    assert "127.0.0.1" not in found.lock
    assert (environments.build(found) / "lens.py").is_file()


def test_an_extra_index_goes_first(index, settings, tmp_path):
    make_wheel(tmp_path / "own", "lens", "0.5")
    make_wheel(tmp_path / "served", "glass", "1.0")
    with Index(tmp_path / "own") as own:
        settings.FUNCTIONS_EXTRA_INDEX_URLS = [own.url]
        assert resolve(["lens", "glass"]).packages == {"lens": "0.5", "glass": "1.0"}


def test_fresh_releases_are_passed_over_where_the_installation_says_so(index, settings, tmp_path):
    make_wheel(tmp_path / "served", "lens", "2.0", requires=["tinypackage"])
    make_wheel(tmp_path / "served", "tinypackage", "1.0")
    index.uploaded |= dict.fromkeys(
        ("lens-2.0-py3-none-any.whl", "tinypackage-1.0-py3-none-any.whl"), "2026-06-01T00:00:00Z"
    )
    settings.FUNCTIONS_EXCLUDE_NEWER = "2026-01-01"
    assert resolve(["lens"]).packages == {"lens": "1.0"}
    assert refused(["lens>=2"]).code == "conflict"
    make_wheel(tmp_path / "served", "eye", "1.0", requires=["tinypackage"])
    assert resolve(["eye"]).kind == "overlay"  # the base packages are installed already, however young


def test_an_index_that_cannot_be_reached_is_said(index, settings):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings.FUNCTIONS_INDEX_URL = f"http://user:secret@127.0.0.1:{nobody.getsockname()[1]}/simple"
        error = refused(["lens"])
    assert error.code == "network"
    assert str(error).startswith("The package index cannot be reached. Check the network, the proxy (HTTPS_PROXY) and ")
    assert "secret" not in str(error) + error.log


def test_an_index_that_is_out_of_order_is_said(index):
    index.status = 503
    error = refused(["lens"])
    assert error.code == "network"
    assert str(error).startswith("The package index answers with an error (503 Service Unavailable")


def test_an_index_that_wants_a_password_is_said_and_gets_one(index, settings):
    index.password = "open-sesame"
    error = refused(["lens"])
    assert error.code == "network"
    assert str(error).startswith(
        "The package index refuses (401 Unauthorized). Check the user and the password in its "
    )
    settings.FUNCTIONS_INDEX_URL = index.url.replace("//", "//user:open-sesame@")
    found = resolve(["lens"])
    assert "open-sesame" not in found.lock


@pytest.mark.parametrize("password", ["sesame", "open@sesame", "open/sesame", "open sesame"])
@pytest.mark.parametrize("where", ["index", "extra index"])
def test_a_password_is_repeated_nowhere_however_it_is_written(index, settings, password, where):
    url = f"http://user:{password}@127.0.0.1:9/simple"
    if where == "index":
        settings.FUNCTIONS_INDEX_URL = url
    else:
        settings.FUNCTIONS_EXTRA_INDEX_URLS = [url]
    said: list[str] = []
    with pytest.raises(RequirementError) as caught:
        resolve(["lens"], said.append)
    assert "sesame" not in f"{caught.value} {caught.value.log} {said}"


def test_an_index_that_never_answers_is_given_up(index, settings):
    settings.FUNCTIONS_BUILD_SECONDS = 1
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.FUNCTIONS_INDEX_URL = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        error = refused(["lens"])
    assert error.code == "timeout"
    assert str(error).startswith("It was not done within 1 seconds.")


def test_a_stopping_server_ends_what_it_resolves(index, settings):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.FUNCTIONS_INDEX_URL = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        error = refused(["lens"], say=lambda _: environments.interrupt())
    assert error.code == "stopped"
