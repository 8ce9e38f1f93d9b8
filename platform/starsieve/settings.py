"""Settings of every Starsieve process, read from the environment (docs/guide/configuration.md has them all)."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from starsieve.logs import logging_settings

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parent.parent
# A checkout keeps templates/ and static/ at its top level; the wheel carries copies inside the package.
BASE_DIR = REPOSITORY if (REPOSITORY / "manage.py").exists() else PACKAGE
try:
    VERSION = version("starsieve")
except PackageNotFoundError:  # a checkout that was never installed
    VERSION = "0.1.0"

env = environ.Env()
VAR_DIR = Path(
    env.str("STARSIEVE_VAR", default=str(BASE_DIR / "var" if BASE_DIR == REPOSITORY else Path.cwd() / "var"))
)

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    secret_file = VAR_DIR / "secret_key"
    if secret_file.exists():
        SECRET_KEY = secret_file.read_text().strip()
    elif DEBUG:
        SECRET_KEY = "debug-only-key-never-used-when-debug-is-off-" + "0" * 20
    else:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Set it in the environment to a long random string, "
            f"or write one to {secret_file} (make demo does that)."
        )
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "axes",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "starsieve.accounts",
    "starsieve.projects",
    "classify",
    "ml_worker",
    "starsieve.catalogues",
    "starsieve.ops",
]

MIDDLEWARE = [
    "starsieve.logs.RequestLogMiddleware",
    "starsieve.ops.metrics.MetricsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "starsieve.api.lookups.RefuseLookupsMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "starsieve.accounts.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "starsieve.urls"
WSGI_APPLICATION = "starsieve.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "starsieve.accounts.context.theme",
            ]
        },
    }
]

# --- Database ---------------------------------------------------------------------------------------------------
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'starsieve.sqlite3'}")}
DATABASES["default"]["CONN_MAX_AGE"] = None
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A read-then-write transaction under DEFERRED loses to a concurrent writer; IMMEDIATE with WAL waits its turn.
    # FULL, because a 201 must survive a power cut.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA cache_size=-65536;"
            "PRAGMA temp_store=MEMORY;PRAGMA mmap_size=268435456;PRAGMA busy_timeout=20000"
        ),
    }
elif DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    DATABASES["default"]["ENGINE"] = "starsieve.postgresql"
    # What every request sends is prepared (starsieve/statements.py); a pooler between may not know prepared statements.
    prepares = env.bool("DATABASE_PREPARE", default=True)
    options = DATABASES["default"].setdefault("OPTIONS", {})
    options["prepare_threshold"] = 5 if prepares else None
    if prepares:
        # Planning the search for the next subject costs four times what carrying it out does, and left to itself
        # PostgreSQL may plan it anew each time. Nothing but those statements is prepared: the ORM binds by itself.
        options["options"] = f"{options.get('options', '')} -c plan_cache_mode=force_generic_plan".strip()
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", default="")
CACHES = {
    "default": {"BACKEND": "starsieve.cache.RedisCache", "LOCATION": REDIS_URL}
    if REDIS_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

# --- Celery -----------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default=REDIS_URL or "filesystem://localhost")
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {}
if CELERY_BROKER_URL.startswith("filesystem"):
    queue_folder = VAR_DIR / "broker" / "queue"
    control_folder = VAR_DIR / "broker" / "control"
    for folder in (queue_folder, control_folder):
        folder.mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(queue_folder),
        "data_folder_out": str(queue_folder),
        "control_folder": str(control_folder),
    }
elif CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 3600
CELERY_TASK_SOFT_TIME_LIMIT = 3500
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR_DIR / "celerybeat-schedule")
# A shard whose scorer has not been heard of for this long is given to another.
PREFILTER_LEASE_SECONDS = env.int("PREFILTER_LEASE_SECONDS", default=60)
# How often the schedule looks for workflows whose models should be fitted again.
CONSENSUS_SECONDS = env.int("CONSENSUS_SECONDS", default=300)
# A run over more votes than this is divided over the workers; the most that one shard holds.
CONSENSUS_SHARD_VOTES = env.int("CONSENSUS_SHARD_VOTES", default=20_000_000)
# Shards whose votes a worker process keeps in memory from one round to the next.
CONSENSUS_SHARDS_HELD = env.int("CONSENSUS_SHARDS_HELD", default=2)
# A shard of a consensus run whose worker has not been heard of for this long is given to another.
CONSENSUS_LEASE_SECONDS = env.int("CONSENSUS_LEASE_SECONDS", default=60)
# How often new classifications are appended to the workflows' snapshots.
SNAPSHOT_SECONDS = env.int("SNAPSHOT_SECONDS", default=60)
# A subject that a volunteer was given is kept for them for so long, and only then given to another in their place.
LEASE_SECONDS = env.int("LEASE_SECONDS", default=300)
CELERY_BEAT_SCHEDULE = {
    "delete-expired-leases": {
        "task": "classify.tasks.delete_expired_leases",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "requeue-lost-shards": {
        "task": "ml_worker.tasks.requeue_lost_shards",
        "schedule": PREFILTER_LEASE_SECONDS / 2,
        "options": {"expires": PREFILTER_LEASE_SECONDS},
    },
    "assess-outdated": {
        "task": "classify.tasks.assess_outdated",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "requeue-lost-releases": {
        "task": "starsieve.catalogues.tasks.requeue_lost_releases",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "refresh-disagreements": {
        "task": "starsieve.catalogues.tasks.refresh_disagreements",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "requeue-lost-consensus-shards": {
        "task": "starsieve.catalogues.tasks.requeue_lost_consensus_shards",
        "schedule": CONSENSUS_LEASE_SECONDS / 2,
        "options": {"expires": CONSENSUS_LEASE_SECONDS},
    },
    "refresh-snapshots": {
        "task": "starsieve.catalogues.tasks.refresh_snapshots",
        "schedule": SNAPSHOT_SECONDS,
        "options": {"expires": SNAPSHOT_SECONDS},
    },
    "refresh-consensus": {
        "task": "starsieve.catalogues.tasks.refresh_consensus",
        "schedule": CONSENSUS_SECONDS,
        "options": {"expires": CONSENSUS_SECONDS},
    },
}

# --- Subjects and uploads ---------------------------------------------------------------------------------------
# Called with a SubjectSet inside the transaction that adds subjects or links the set to a workflow
# (docs/adr/0003-arrivals.md): the lower room announces, the higher rooms listed here act.
STARSIEVE_ON_ARRIVAL = ["classify.services.queue_subjects"]
# Called with a Workflow inside the transaction that gives it another current version.
STARSIEVE_ON_VERSION = ["classify.assessment.version_published"]
MEDIA_URL = "/media/"
MEDIA_ROOT = env.str("MEDIA_ROOT", default=str(VAR_DIR / "media"))
STORAGE_URL = env.str("STORAGE_URL", default="")
RELEASE_ROOT = env.str("RELEASE_ROOT", default=str(VAR_DIR / "releases"))
SNAPSHOT_ROOT = env.str("SNAPSHOT_ROOT", default=str(VAR_DIR / "snapshots"))
MODEL_ROOT = env.str("MODEL_ROOT", default=str(VAR_DIR / "models"))
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
STATIC_URL = "/static/"
STATIC_ROOT = env.str("STATIC_ROOT", default=str(VAR_DIR / "static"))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "starsieve.static_files.HashedStaticFiles"
    },
}
if STORAGE_URL:
    from starsieve.storage import storage_from_url

    STORAGES["default"] = storage_from_url(STORAGE_URL)

# --- People -----------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]  # fmt: skip
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = env.str("ACCOUNT_EMAIL_VERIFICATION", default="optional")
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_FORMS = {"login": "starsieve.accounts.forms.LoginForm"}
ACCOUNT_PREVENT_ENUMERATION = "strict"  # signing up with a taken address looks like any other sign-up
# A class or an observatory shares one address, and a right password must never be refused for its neighbours' sake:
# wrong ones are stopped by axes below, per name and address; what remains here caps the cost of hashing, and of
# guessing one name from many addresses.
ACCOUNT_RATE_LIMITS = {
    "login": env.str("LOGIN_RATE", default="600/m/ip"),
    "login_failed": "300/m/ip,50/5m/key",
    "signup": "60/m/ip",
}
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
ALLAUTH_TRUSTED_PROXY_COUNT = TRUSTED_PROXIES
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # "try again in 14 minutes" stays true
AXES_DISABLE_ACCESS_LOG = True  # who signed in from where and when is nobody's business
AXES_USERNAME_CALLABLE = "starsieve.accounts.lockout.attempted_name"
AXES_CLIENT_IP_CALLABLE = "starsieve.accounts.lockout.client_address"
AXES_LOCKOUT_CALLABLE = "starsieve.accounts.lockout.locked_response"
AXES_SENSITIVE_PARAMETERS = ["username", "login", "email", "ip_address", "csrfmiddlewaretoken"]
# Each room that holds something personal: counted, downloaded and forgotten through accounts/own_data.py.
STARSIEVE_DATA_HOLDERS = ["starsieve.accounts.own_data", "starsieve.projects.own_data", "classify.own_data"]
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Starsieve <noreply@localhost>")
SESSION_ENGINE = "starsieve.accounts.sessions"
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 60 * 60 * 24 * 90

# --- Transport and content security -----------------------------------------------------------------------------
HTTPS = env.bool("HTTPS", default=not DEBUG)
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if HTTPS else "http"
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 60 * 60 * 24 * 365 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:", *env.list("MEDIA_ORIGINS", default=[])],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

# --- API --------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "starsieve.accounts.authentication.TokenAuthentication",
        "starsieve.accounts.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["starsieve.accounts.authentication.TokenScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["starsieve.api.parsers.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "starsieve.api.pagination.IdCursorPagination",
    "DEFAULT_SCHEMA_CLASS": "starsieve.api.schema.ProblemAutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["starsieve.api.throttling.ClientThrottle"],
    "DEFAULT_THROTTLE_RATES": {"client": env.str("API_RATE", default="600/min")},
    "EXCEPTION_HANDLER": "starsieve.api.problems.problem_response",
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS would tell strangers the fields of what they may not see
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "NUM_PROXIES": TRUSTED_PROXIES,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Starsieve API",
    "DESCRIPTION": "Classify subjects, read results, launch prefilter batches, download releases.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {},
}

# --- Language, time, logs ---------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
LOGGING = logging_settings(as_json=env.bool("LOG_JSON", default=not DEBUG), level=env.str("LOG_LEVEL", default="INFO"))
SILENCED_SYSTEM_CHECKS: list[str] = []

SENTRY_DSN = env.str("SENTRY_DSN", default="")
if SENTRY_DSN:
    import sentry_sdk

    sentry_sdk.init(dsn=SENTRY_DSN, release=VERSION, send_default_pii=False)

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process per core; threads of the numeric libraries only spin
# Memory that pyarrow has freed goes back to the system: a large release needs 50 MB less. Read at its first import.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
