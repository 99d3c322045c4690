"""All settings, read from the environment (and from `.env` beside manage.py). Safe when nothing is set: DEBUG is off.

Three addresses choose the deployment: DATABASE_URL, BROKER_URL, STORAGE_URL. Unset, they mean the embedded
default: SQLite in WAL mode, the filesystem broker and a folder, all below HARMONY_VAR.
"""

import os
import sys
from pathlib import Path

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

# Two processes of spinning OpenMP threads slow each other tenfold; workers inherit this.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

BASE_DIR = Path(__file__).resolve().parent.parent
TESTING = "pytest" in sys.modules
env = environ.Env()
if not TESTING:  # tests say by themselves where they run
    environ.Env.read_env(BASE_DIR / ".env", overwrite=False)

DEBUG = env.bool("DEBUG", default=False)
VAR_DIR = Path(env.str("HARMONY_VAR", default=str(BASE_DIR / "var")))

SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    if DEBUG or TESTING:
        SECRET_KEY = "only-for-debug-" + "x" * 50
    else:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Put SECRET_KEY=<50 random characters> into .env or the environment "
            "(`make demo` writes one for you)."
        )

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "rest_framework",
    "csp",
    "axes",
    "django_celery_beat",
    "harmony",
    "mlcore",
    "annotation",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "harmony.csp.PolicyMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "harmony.urls"
WSGI_APPLICATION = "harmony.wsgi.application"
ASGI_APPLICATION = "harmony.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
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

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Database -------------------------------------------------------------------------------------------------

DATABASE_URL = env.str("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'harmony.sqlite3'}")
DATABASES = {"default": env.db_url_config(DATABASE_URL)}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # WAL lets readers go on while one writes; IMMEDIATE takes the write lock at the start of a transaction, so a
    # reader that turns writer waits its turn instead of failing with "database is locked".
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=30000;",
    }
    # Tests use threads and live servers: a file, not memory, is what SQLite in WAL mode really is.
    DATABASES["default"]["TEST"] = {"NAME": str(VAR_DIR / "test.sqlite3")}
else:
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("CONN_MAX_AGE", default=60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

# --- Queue ----------------------------------------------------------------------------------------------------

BROKER_URL = env.str("BROKER_URL", default="filesystem://")
CELERY_BROKER_URL = BROKER_URL
if BROKER_URL.startswith("filesystem"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(VAR_DIR / "queue"),
        "data_folder_out": str(VAR_DIR / "queue"),
        "control_folder": str(VAR_DIR / "queue-control"),
        "processed_folder": str(VAR_DIR / "queue-processed"),
        "store_processed": False,
        "polling_interval": 0.1,
    }
CELERY_TASK_IGNORE_RESULT = True  # state lives in our own rows
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    "mlcore.tasks.perform_run": {"queue": "training"},
    "mlcore.tasks.answer_inquiry": {"queue": "interactive"},
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
# The most processes that share a training run on a machine, and their number where its recipe leaves it open; 0: one
# for each device of the worker.
RUN_PROCESSES = env.int("RUN_PROCESSES", default=0)
# Where the machines of a run may meet: what answers there is trusted like this program itself.
RUN_RENDEZVOUS_HOSTS = [name.lower() for name in env.list("RUN_RENDEZVOUS_HOSTS", default=["127.0.0.1", "localhost"])]
CELERY_BEAT_SCHEDULE = {
    "sweep-runs": {"task": "mlcore.tasks.sweep_runs", "schedule": 30.0},
    "sweep-inquiries": {"task": "mlcore.tasks.sweep_inquiries", "schedule": 15.0},
    "tidy-leases": {"task": "annotation.tasks.tidy_leases", "schedule": 300.0},
    "sweep-analyses": {"task": "annotation.tasks.sweep_analyses", "schedule": 60.0},
}

# --- Files ----------------------------------------------------------------------------------------------------

STORAGE_URL = env.str("STORAGE_URL", default=f"file://{VAR_DIR / 'media'}")
MEDIA_ROOT = STORAGE_URL.removeprefix("file://") if STORAGE_URL.startswith("file://") else ""
if not MEDIA_ROOT:
    raise ImproperlyConfigured(
        f"STORAGE_URL={STORAGE_URL!r} is not understood. Use file:///absolute/folder: files are kept on a disk."
    )
RUNS_DIR = Path(env.str("HARMONY_RUNS", default=str(VAR_DIR / "runs")))
# Tar shards that runs may train on lie below this folder, under the same path for web and workers; none: no shards.
SHARDS_DIR = env.str("SHARDS_DIR", default="")
SHARD_INDEX_DIR = VAR_DIR / "shard-indexes"
# Features of image sets, a cache that runs fill and read by memory map; runs of one machine share it.
GALLERIES_DIR = Path(env.str("HARMONY_GALLERIES", default=str(VAR_DIR / "galleries")))
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(VAR_DIR / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": MEDIA_ROOT, "base_url": None},
    },
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG or TESTING
        else "harmony.staticfiles.ModuleAwareStaticFilesStorage"
    },
}
FIXTURE_DIRS = [BASE_DIR / "fixtures"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024
MAX_DRAWING_BYTES = 8 * 1024 * 1024
IMAGE_MAX_PIXELS = env.int("IMAGE_MAX_PIXELS", default=64_000_000)

# --- People ---------------------------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "429.html"
AXES_RESET_ON_SUCCESS = True
AXES_ENABLED = not TESTING

# --- Security -------------------------------------------------------------------------------------------------

HTTPS = env.bool("HTTPS", default=False)
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", default=False) else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "blob:", "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
# unfold ships Alpine's standard build (evaluates expressions) and inline style attributes.
ADMIN_CONTENT_SECURITY_POLICY = {
    "script-src": [SELF, "'unsafe-eval'", "'unsafe-inline'"],
    "style-src": [SELF, "'unsafe-inline'"],
}

# --- REST -----------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "rest_framework.parsers.JSONParser",
        "rest_framework.parsers.MultiPartParser",
        "rest_framework.parsers.FormParser",
    ],
}

# --- Language and time ------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LANGUAGE_COOKIE_AGE = 365 * 24 * 60 * 60  # a language that was chosen is remembered for a year, by account or not
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SECURE = HTTPS
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True

# --- Admin ----------------------------------------------------------------------------------------------------

UNFOLD = {
    "SITE_TITLE": "Harmony",
    "SITE_HEADER": "Harmony",
    "SITE_SUBHEADER": "For researchers",
    "SITE_SYMBOL": "visibility",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("img/mark.svg")}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "harmony.dashboard.context",
    "BORDER_RADIUS": "6px",
    "STYLES": ["harmony.dashboard.stylesheet"],
    "SIDEBAR": {"navigation": "harmony.dashboard.navigation"},
    "COLORS": {
        # One accent, ink blue (ui.md, Tokens); lighter where the ground is dark.
        "primary": {
            "50": "oklch(0.97 0.012 255)",
            "100": "oklch(0.94 0.025 255)",
            "200": "oklch(0.88 0.05 255)",
            "300": "oklch(0.81 0.08 255)",
            "400": "oklch(0.74 0.11 255)",
            "500": "oklch(0.68 0.12 255)",
            "600": "oklch(0.48 0.13 255)",
            "700": "oklch(0.43 0.12 255)",
            "800": "oklch(0.37 0.10 255)",
            "900": "oklch(0.31 0.08 255)",
            "950": "oklch(0.24 0.06 255)",
        },
    },
}

# --- Logging --------------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {"axes": {"level": "WARNING"}},
}

VAR_DIR.mkdir(parents=True, exist_ok=True)
for _folder in ("queue", "queue-control", "queue-processed", "runs", "media"):
    (VAR_DIR / _folder).mkdir(exist_ok=True)
if not STATIC_ROOT.exists():
    STATIC_ROOT.mkdir(parents=True)
WHITENOISE_USE_FINDERS = DEBUG or TESTING
WHITENOISE_AUTOREFRESH = DEBUG or TESTING  # every test client would look through all files first

SILENCED_SYSTEM_CHECKS: list[str] = []
