"""Every setting of the server, read from the environment.

A fresh checkout starts without any configuration: data, and secrets generated on
first use, live in ``DATA_DIR``. ``.env.example`` lists all variables with their
defaults; a file named ``.env`` beside ``manage.py`` is read when it exists.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environ
from corsheaders.defaults import default_headers

from webui_functions.secrets import secret_from_file

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
if (BASE_DIR / ".env").is_file():
    env.read_env(str(BASE_DIR / ".env"))
# A variable that is set but empty counts as not set, as container tools write it.
env.ENVIRON = {name: value for name, value in env.ENVIRON.items() if value != ""}

# --- Where data lives -------------------------------------------------------------------------

DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / ".data"))).resolve()
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)

# --- Security ---------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or secret_from_file(DATA_DIR / "secret_key")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# Behind a TLS-terminating proxy: trust its X-Forwarded-Proto header and send cookies over TLS only.
HTTPS = env.bool("HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# The policy of every page; the admin needs no inline script and no inline style.
SECURE_CSP = {
    "default-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "object-src": ["'none'"],
    "base-uri": ["'self'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
}

# Fernet keys that valves are encrypted with: the first encrypts, all decrypt.
VALVE_KEYS = env.list("VALVE_KEYS", default=[]) or [secret_from_file(DATA_DIR / "valve_key", fernet=True)]

# --- Applications -----------------------------------------------------------------------------

INSTALLED_APPS = [
    "functions_app",
    "pipeline_app",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "corsheaders",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
]

MIDDLEWARE = [
    "webui_functions.middleware.RequestIDMiddleware",
    "webui_functions.middleware.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "webui_functions.middleware.ActingMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# The chain of the API paths (webui_functions/asgi.py): async only, no sessions, no database.
API_MIDDLEWARE = [
    "webui_functions.middleware.RequestIDMiddleware",
    "webui_functions.middleware.SecurityHeadersMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "webui_functions.compression.CompressionMiddleware",
]

ROOT_URLCONF = "webui_functions.urls"
ASGI_APPLICATION = "webui_functions.asgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Data -------------------------------------------------------------------------------------

DATABASES: dict[str, Any] = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # WAL lets readers go on beside a writer; IMMEDIATE takes the write lock at the start of a
    # transaction, where waiting for it is possible, instead of failing in its middle.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "functions_app.User"

# Redis shares cache and generations between several nodes; without it one node serves alone.
CACHE_URL = env.str("CACHE_URL", default="")
CACHES: dict[str, Any] = {
    "default": env.cache_url_config(CACHE_URL or "locmemcache://webui-functions"),
    # Live modules of the inline runner; they cannot leave the process (pipeline_app/cache.py).
    "modules": {"BACKEND": "pipeline_app.cache.ModuleCache", "TIMEOUT": None, "OPTIONS": {"MAX_ENTRIES": 1000}},
}

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
# Static files are served from the packages themselves, so that no collectstatic step is needed.
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = DEBUG
MEDIA_ROOT = DATA_DIR / "files"
FILE_UPLOAD_PERMISSIONS = 0o600

# --- People -----------------------------------------------------------------------------------

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "admin:login"
# What everybody who may sign in is allowed, as Django's permissions; more comes from groups.
FUNCTIONS_EVERYBODY = env.list("FUNCTIONS_EVERYBODY", default=["functions_app.use_function"])
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "functions_app.backends.EverybodyBackend"]

# Signing in through an OpenID provider; off until issuer and client are set. All of allauth's own pages are closed:
# the few there are, are those in pipeline_app/account.
OIDC_ISSUER = env.str("OIDC_ISSUER", default="")
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", default="")
OIDC_CLIENT_SECRET = env.str("OIDC_CLIENT_SECRET", default="")
# How the provider is called on the button.
OIDC_NAME = env.str("OIDC_NAME", default="OpenID")
OIDC_SCOPES = env.str("OIDC_SCOPES", default="openid email profile")
# What becomes of people who are not known here: active, pending (an admin lets them in) or refuse.
OIDC_NEW_USERS = env.str("OIDC_NEW_USERS", default="active")
# Whether a local user who is not staff is taken for the person with the same address, if the provider verified it.
OIDC_LINK_BY_EMAIL = env.bool("OIDC_LINK_BY_EMAIL", default=False)
if OIDC_ISSUER and OIDC_CLIENT_ID:
    INSTALLED_APPS.append("allauth.socialaccount.providers.openid_connect")
ACCOUNT_ADAPTER = "functions_app.signin.AccountAdapter"
ACCOUNT_SIGNUP_FIELDS = ["username*", "email"]
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_UNIQUE_EMAIL = False
SOCIALACCOUNT_ADAPTER = "functions_app.signin.SocialAdapter"
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_EMAIL_REQUIRED = False
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
# Tokens are kept encrypted, in functions_app.models.OAuthToken.
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_REQUESTS_TIMEOUT = 10
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "oidc",
                "name": OIDC_NAME,
                "client_id": OIDC_CLIENT_ID,
                "secret": OIDC_CLIENT_SECRET,
                "settings": {"server_url": OIDC_ISSUER, "scope": OIDC_SCOPES.split()},
            }
        ],
    }
}

# --- Language and time ------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_I18N = False
USE_TZ = True

# --- API --------------------------------------------------------------------------------------

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["pipeline_app.api.auth.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["pipeline_app.api.auth.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["pipeline_app.api.throttles.KeyThrottle"],
    "EXCEPTION_HANDLER": "pipeline_app.api.base.error_response",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_SCHEMA_CLASS": "pipeline_app.api.schema.Description",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "webui-functions",
    "DESCRIPTION": "Stores, checks and serves single-file Python functions behind an OpenAI-compatible API.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": ["pipeline_app.api.schema.named_components"],
}
# Origins whose pages may call the API from a browser; closed by default.
CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])
CORS_ALLOW_ALL_ORIGINS = env.bool("CORS_ALLOW_ALL_ORIGINS", default=False)
CORS_EXPOSE_HEADERS = ["X-Request-ID", "X-Run-ID", "Retry-After", "ETag", "Location"]
# What such a page may send: a key, what a change or a stream goes on from, and what the official client adds of itself.
CORS_ALLOW_HEADERS = [
    *default_headers,
    *("x-api-key", "x-request-id", "if-match", "if-none-match", "last-event-id", "range", "if-range", "cache-control"),
    *("openai-organization", "openai-project", "openai-beta", "idempotency-key"),
    *(
        f"x-stainless-{name}"
        for name in (
            *("lang", "package-version", "os", "arch", "runtime", "runtime-version", "retry-count", "timeout"),
            *("read-timeout", "async", "raw-response", "helper-method", "poll-helper", "custom-poll-interval"),
        )
    ),
]

# --- Functions --------------------------------------------------------------------------------

# Who runs code for the data app (functions_app/runtime.py).
FUNCTIONS_RUNTIME = env.str("FUNCTIONS_RUNTIME", default="pipeline_app.runtime.ServerRuntime")
# Where author code runs: "process" in sandboxed processes, "inline" in the server's own.
FUNCTIONS_RUNNER = env.str("FUNCTIONS_RUNNER", default="process")
# Seconds after which a worker that nobody uses is ended.
FUNCTIONS_WORKER_IDLE = env.float("FUNCTIONS_WORKER_IDLE", default=600.0)
# Memory of all workers together in MB, beyond which those unused longest are ended; empty means a quarter of the
# machine's.
FUNCTIONS_WORKER_MEMORY_MB: float | None = env.float("FUNCTIONS_WORKER_MEMORY_MB", default=0.0) or None
# The least isolation that functions run under: inline, process, basic, standard or strict. What the machine gives is
# attested when the server starts; below this level, functions are not run.
FUNCTIONS_MIN_ISOLATION = env.str(
    "FUNCTIONS_MIN_ISOLATION",
    default="inline" if FUNCTIONS_RUNNER == "inline" else "process" if DEBUG else "standard",
)
# Layers of the sandbox to leave out, of bubblewrap, landlock, seccomp and capabilities: for tests of the others.
FUNCTIONS_SANDBOX_LAYERS = env.list("FUNCTIONS_SANDBOX_LAYERS", default=[])
# Defaults and ceilings of every function's policy: {"defaults": {...}, "ceilings": {...}}.
FUNCTIONS_POLICY: dict[str, Any] = env.json("FUNCTIONS_POLICY", default={})
# Rule on imports: {"allow": [...]} or {"deny": [...]} of top-level modules; empty means no rule.
FUNCTIONS_IMPORTS: dict[str, Any] = env.json("FUNCTIONS_IMPORTS", default={})
# Largest request body in bytes; what goes beyond it is refused while it is read.
FUNCTIONS_MAX_BODY = env.int("FUNCTIONS_MAX_BODY", default=20 * 1024 * 1024)
# The largest upload in MB; a body with a file in it has this limit instead.
FUNCTIONS_FILE_MB = env.float("FUNCTIONS_FILE_MB", default=100.0)
# Which uploads are taken: types such as "image/*" and "text/plain", endings such as ".pdf"; empty means all.
FUNCTIONS_FILE_TYPES = env.list("FUNCTIONS_FILE_TYPES", default=[])
# What the files of one user may take together in MB; 0 means no limit.
FUNCTIONS_FILES_PER_USER_MB = env.float("FUNCTIONS_FILES_PER_USER_MB", default=1000.0)
# Requests per key, such as "120/min"; empty means no throttle. Counted in memory, per process.
FUNCTIONS_THROTTLE = env.str("FUNCTIONS_THROTTLE", default="")
# Hosts that code may be loaded from although their addresses are not public: host, host:port, *.domain, address or
# network. A name reaches private addresses only; this machine itself is allowed by its address.
FUNCTIONS_LOAD_FROM = env.list("FUNCTIONS_LOAD_FROM", default=[])
# Seconds that a request to publish a version waits for it; what takes longer goes on by itself.
FUNCTIONS_PUBLISH_SECONDS = env.float("FUNCTIONS_PUBLISH_SECONDS", default=10.0)
# Seconds that the model list of a manifold pipe is fresh; after it, the last good list is served while a new one
# is fetched.
FUNCTIONS_MODEL_LIST_SECONDS = env.float("FUNCTIONS_MODEL_LIST_SECONDS", default=60.0)
# Runs are written in batches, kept for so many days and up to so many rows.
FUNCTIONS_RUN_SECONDS = env.float("FUNCTIONS_RUN_SECONDS", default=1.0)
FUNCTIONS_RUN_DAYS = env.int("FUNCTIONS_RUN_DAYS", default=30)
FUNCTIONS_RUN_ROWS = env.int("FUNCTIONS_RUN_ROWS", default=100_000)
# Seconds that a function waits for the client's answer to a question.
FUNCTIONS_ANSWER_SECONDS = env.float("FUNCTIONS_ANSWER_SECONDS", default=300.0)
# Background runs that one person may have at once, and the MB that are kept of what one says.
FUNCTIONS_BACKGROUND_RUNS = env.int("FUNCTIONS_BACKGROUND_RUNS", default=8)
FUNCTIONS_BACKGROUND_MB = env.float("FUNCTIONS_BACKGROUND_MB", default=16.0)
# Base packages and functions' own sets of requirements.
FUNCTIONS_ENVIRONMENTS = Path(env.str("FUNCTIONS_ENVIRONMENTS", default=str(DATA_DIR / "environments"))).resolve()
# Where packages come from: the index, others that are asked before it, and a file of constraints on versions.
FUNCTIONS_INDEX_URL = env.str("FUNCTIONS_INDEX_URL", default="")
FUNCTIONS_EXTRA_INDEX_URLS = env.list("FUNCTIONS_EXTRA_INDEX_URLS", default=[])
FUNCTIONS_CONSTRAINTS = env.str("FUNCTIONS_CONSTRAINTS", default="")
# A folder of wheels that stands in the place of every index; nothing is then asked of the network.
FUNCTIONS_WHEELS = Path(env.str("FUNCTIONS_WHEELS")).resolve() if env.str("FUNCTIONS_WHEELS", default="") else None
# Rule on packages: {"allow": [...]} of what functions may ask for, or {"deny": [...]} of what never gets in.
FUNCTIONS_PACKAGES: dict[str, Any] = env.json("FUNCTIONS_PACKAGES", default={})
# Passes over releases younger than this: a date, or a duration such as "7 days"; empty means none is too young.
FUNCTIONS_EXCLUDE_NEWER = env.str("FUNCTIONS_EXCLUDE_NEWER", default="")
# What one set of packages may take: seconds to resolve, seconds to build, and MB on disk.
FUNCTIONS_BUILD_SECONDS = env.float("FUNCTIONS_BUILD_SECONDS", default=600.0)
FUNCTIONS_BUILD_MB = env.float("FUNCTIONS_BUILD_MB", default=4000.0)
# MB that all packages of functions on one machine may take before no more sets are built; 0 is no limit.
FUNCTIONS_ENVIRONMENTS_MB = env.float("FUNCTIONS_ENVIRONMENTS_MB", default=20_000.0)
# Days after which a set of packages that no function uses is removed; 0 keeps all.
FUNCTIONS_ENVIRONMENT_DAYS = env.float("FUNCTIONS_ENVIRONMENT_DAYS", default=30.0)

# --- Logs -------------------------------------------------------------------------------------

LOG_FORMAT = env.str("LOG_FORMAT", default="text")
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request": {"()": "webui_functions.observability.RequestFilter"}},
    "formatters": {
        "text": {
            "()": "webui_functions.observability.TextFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s",
        },
        "json": {"()": "webui_functions.observability.JSONFormatter"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["request"]},
    },
    # Those that come with handlers of their own lose them: every line goes through the formatters above.
    # Children are named too: of those that are not, the level would be forgotten.
    "loggers": {
        name: {"handlers": [], "propagate": True}
        for name in ("django", "django.server", "uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error")
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
}
