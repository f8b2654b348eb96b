"""The server's settings for tests: a data folder of their own, and nothing from the developer's environment.

pytest-django reads settings before any conftest, so the environment is prepared here. Every process
(each xdist worker too) gets its own folder. Sets of packages are kept for the next time, since they take long to build;
each worker has its own, so that none removes another's.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED_ENVIRONMENTS = CHECKOUT / ".pytest_cache" / "environments"

# Workers of pytest-xdist end without going through atexit: their folders lie in that of the process that started them.
_root = os.environ.get("WEBUI_FUNCTIONS_TESTS_FOLDER")
if _root is None:
    _root = os.environ["WEBUI_FUNCTIONS_TESTS_FOLDER"] = tempfile.mkdtemp(prefix="webui-functions-tests-")
    _owner = os.getpid()

    def _remove_root(root: str = _root) -> None:
        if os.getpid() == _owner:  # not in a forked child that ends before its parent
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(_remove_root)
_data_dir = tempfile.mkdtemp(dir=_root)

# What the process that starts the workers was told; in them the variable has what it said.
_environments = os.environ.setdefault(
    "WEBUI_FUNCTIONS_TESTS_ENVIRONMENTS", os.environ.get("FUNCTIONS_ENVIRONMENTS") or str(SHARED_ENVIRONMENTS)
)

# Everything is said, not left out: what is left out would be read from the developer's .env.
os.environ.update(
    DATA_DIR=_data_dir,
    DATABASE_URL=f"sqlite:///{_data_dir}/db.sqlite3",
    SECRET_KEY="only-for-tests-" * 4,
    VALVE_KEYS="",
    DEBUG="false",
    ALLOWED_HOSTS="127.0.0.1,localhost,testserver",
    CSRF_TRUSTED_ORIGINS="",
    HTTPS="false",
    TIME_ZONE="UTC",
    CORS_ALLOWED_ORIGINS="",
    CORS_ALLOW_ALL_ORIGINS="false",
    FUNCTIONS_RUNNER=os.environ.get("FUNCTIONS_TEST_RUNNER", "process"),
    FUNCTIONS_RUNTIME="pipeline_app.runtime.ServerRuntime",
    FUNCTIONS_EVERYBODY="",
    OIDC_ISSUER="",
    OIDC_CLIENT_ID="",
    OIDC_CLIENT_SECRET="",
    OIDC_NAME="",
    OIDC_SCOPES="",
    OIDC_NEW_USERS="",
    OIDC_LINK_BY_EMAIL="",
    FUNCTIONS_FILE_MB="",
    FUNCTIONS_FILE_TYPES="",
    FUNCTIONS_FILES_PER_USER_MB="",
    FUNCTIONS_POLICY="{}",
    # A sample asks for a package that does not go with the base packages: finding what does takes a while.
    FUNCTIONS_PUBLISH_SECONDS="120",
    FUNCTIONS_MIN_ISOLATION="",
    FUNCTIONS_SANDBOX_LAYERS="",
    FUNCTIONS_IMPORTS="{}",
    FUNCTIONS_THROTTLE="",
    FUNCTIONS_ENVIRONMENTS="-".join(filter(None, [_environments, os.environ.get("PYTEST_XDIST_WORKER")])),
    FUNCTIONS_INDEX_URL="",
    FUNCTIONS_EXTRA_INDEX_URLS="",
    FUNCTIONS_CONSTRAINTS="",
    FUNCTIONS_WHEELS="",
    FUNCTIONS_PACKAGES="{}",
    FUNCTIONS_EXCLUDE_NEWER="",
    FUNCTIONS_BUILD_SECONDS="",
    FUNCTIONS_BUILD_MB="",
    FUNCTIONS_ENVIRONMENTS_MB="",
    FUNCTIONS_ENVIRONMENT_DAYS="",
    LOG_FORMAT="text",
    LOG_LEVEL="WARNING",
)
os.environ.pop("CACHE_URL", None)

from webui_functions.settings import *  # noqa: E402, F403
from webui_functions.settings import CACHES, DATABASES  # noqa: E402

CACHE_URL = ""
CACHES["default"] = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "tests"}

# A file instead of Django's in-memory default: several threads may use it at once, as in the server.
DATABASES["default"]["TEST"] = {"NAME": str(Path(_data_dir) / "tests.sqlite3")}

# Accounts are made by the hundred; their passwords guard nothing.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
