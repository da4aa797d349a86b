"""Settings of Usher. What a deployment chooses is an environment variable: docs/settings.md."""

import os
import secrets
import sys
from contextlib import suppress
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import django
import django_stubs_ext
import environ
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from project.theme import UNFOLD  # noqa: F401  # the admin's look

django_stubs_ext.monkeypatch()  # ModelAdmin[Model] and the like are written at run time too

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# Where files made at run time live: the SQLite database, the development key, wake-up sockets.
VAR_DIR = Path(env.str("USHER_VAR", default=str(BASE_DIR / "var")))
VAR_DIR.mkdir(parents=True, exist_ok=True)

USHER_ENV = env.str("USHER_ENV", default="development")
if USHER_ENV not in {"development", "production"}:
    raise ImproperlyConfigured(
        f"USHER_ENV is {USHER_ENV!r}. Set it to 'development' or 'production'."
    )
PRODUCTION = USHER_ENV == "production"
DEBUG = env.bool("DEBUG", default=False)


def development_key() -> str:
    """Return the key kept in var/, made on first use. Two first starts at once agree on one key."""
    path = VAR_DIR / "development.key"
    candidate = path.with_suffix(f".{os.getpid()}")
    if not path.exists():
        candidate.touch(mode=0o600)
        candidate.write_text(f"development-only-{secrets.token_urlsafe(50)}")
        with suppress(FileExistsError):
            os.link(candidate, path)  # atomic, and fails where another process was first
        candidate.unlink()
    return path.read_text()


SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    if PRODUCTION:
        raise ImproperlyConfigured("SECRET_KEY is not set. Production needs a secret of its own.")
    SECRET_KEY = development_key()
if PRODUCTION and SECRET_KEY.startswith("development-only-"):
    raise ImproperlyConfigured("SECRET_KEY is the development key. Production needs its own.")
RELEASE = env.str("RELEASE", default="")  # kept with every failed attempt
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])

PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.list(
    "ALLOWED_HOSTS", default=[] if PRODUCTION else ["127.0.0.1", "localhost", "[::1]", "testserver"]
)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
TRUSTED_PROXIES = env.list("TRUSTED_PROXIES", default=[])

INSTALLED_APPS = [
    "project",
    "coupons",
    "points",
    "accounts",
    "relay",  # after all apps with events: it relays what is declared by then
    "api",
    "events",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "accounts.usersessions.UserSessionsConfig",
    "unfold.apps.BasicAppConfig",
    "project.admin_app.UsherAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic",
    "django.contrib.staticfiles",
    "django_q",
    "rest_framework",
    "accounts.tokens.TokensConfig",
    "drf_standardized_errors",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "events.middleware.CorrelationMiddleware",
    "project.api.middleware.ProblemMiddleware",
    "project.nul.RefuseNulMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "project.headers.HeadersMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "project.bodies.BodyLimitMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "project.urls"
CSRF_FAILURE_VIEW = "project.failures.csrf"
ASGI_APPLICATION = "project.asgi.application"
WSGI_APPLICATION = "project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- Database ---------------------------------------------------------------------------------

DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'usher.sqlite3'}")
}
_database = DATABASES["default"]
USES_SQLITE = _database["ENGINE"] == "django.db.backends.sqlite3"
_options: dict[str, Any] = _database.setdefault("OPTIONS", {})  # of the URL's query: kept
# Drains and commands hold one connection for their whole life; a web request must not.
IS_WORKER = env.bool("USHER_WORKER", default=sys.argv[1:2] == ["worker"])
IS_WEB = env.bool("USHER_WEB", default=False) and not IS_WORKER  # set by asgi.py and wsgi.py

if USES_SQLITE:
    _database["ENGINE"] = "project.sqlite3"
    _options |= {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20 if IS_WORKER else 5,  # seconds; then the answer is 503
        # Recursive triggers: INSERT OR REPLACE must not get round an append-only table's.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA recursive_triggers=ON;"
        ),
    }
    _database["TEST"] = {"NAME": str(VAR_DIR / "test.sqlite3")}  # several connections need a file
else:
    _database["CONN_HEALTH_CHECKS"] = True
    # A machine or a link that vanishes is noticed by the kernel, not only by the next restart.
    for _name, _value in {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,  # milliseconds
    }.items():
        _options.setdefault(_name, _value)
    _database["CONN_MAX_AGE"] = None if IS_WORKER else 0
    _limits = ""
    if not IS_WORKER:  # Django's pool is unsafe under fork, and django-q2 forks
        # reconnect_timeout: the pool's own attempts would come later and later, up to minutes;
        # after it, the next request makes one.
        _options["pool"] = {"min_size": 2, "max_size": 16, "timeout": 5, "reconnect_timeout": 1}
    else:
        # A stopped worker's open transaction must not block the one that takes its work over.
        _limits = "-c idle_in_transaction_session_timeout=25s -c lock_timeout=5s"
    if IS_WEB:  # commands may take their time
        from project.postgres import TimedConnection, no_connection

        _options["pool"] |= {"connection_class": TimedConnection, "reconnect_failed": no_connection}
        _limits = (
            "-c statement_timeout=5s -c lock_timeout=3s -c idle_in_transaction_session_timeout=25s"
        )
    _options["options"] = f"{_limits} {_options.get('options', '')}".strip()  # the URL's count last

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    # Shared by all processes without another server: rate limits must count in one place.
    "default": {
        "BACKEND": "project.cache.DatabaseCache",
        "LOCATION": "cache",
        # Beyond this, Django drops rows by key, live counters too. Expired ones go first.
        "OPTIONS": {"MAX_ENTRIES": 1_000_000},
    },
    # django-q2 writes its heartbeat twice a second; that must not become database writes.
    "heartbeat": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "heartbeat",
    },
}

# --- Open pages ---------------------------------------------------------------------------------

# Each web process tells its own pages: nothing crosses from one to another but the event log.
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
LIVE_MAX_SOCKETS = env.int("LIVE_MAX_SOCKETS", default=600)  # per web process

# --- Queues -----------------------------------------------------------------------------------

QUEUE_BROKER = env.str("QUEUE_BROKER", default="orm")
REDIS_URL = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")
QUEUE_WORKERS = env.int("QUEUE_WORKERS", default=1 if USES_SQLITE else 2)

Q_CLUSTER: dict[str, Any] = {
    "name": "usher",
    "orm": "default",
    "broker_class": "events.delivery.redis_broker.RedisBellBroker"
    if QUEUE_BROKER == "redis"
    else "events.delivery.broker.DatabaseBellBroker",
    "redis": REDIS_URL,
    "cache": "heartbeat",
    "workers": QUEUE_WORKERS,
    # A bell that waits in a busy cluster's memory would hide from idle ones: take one at a time.
    "queue_limit": 1,
    "bulk": 1,
    "poll": 2,
    "timeout": 60,
    "retry": 300,  # for a call of periodic work, which may wait behind a drain or two
    "save_limit": -1,
    "recycle": 5000,
    "catch_up": False,
    "guard_cycle": 0.5,
    "scheduler": False,  # the sweep plans: sentinels need no database then
    "log_level": "WARNING",
    # One cluster per queue. The queues are those the receivers name, so nothing is listed here.
    "ALT_CLUSTERS": {},
}

# --- Accounts ---------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
# It extends Django's ModelBackend; listing both would hash every wrong password twice.
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHER = env.str("PASSWORD_HASHER", default="argon2")
PASSWORD_HASHERS = (
    ["django.contrib.auth.hashers.MD5PasswordHasher"]
    if PASSWORD_HASHER == "cheap"  # noqa: S105
    else [
        "django.contrib.auth.hashers.Argon2PasswordHasher",
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    ]
)
if PRODUCTION and PASSWORD_HASHER != "argon2":  # noqa: S105
    raise ImproperlyConfigured("PASSWORD_HASHER may only be 'argon2' in production.")
PASSWORD_MIN_LENGTH, PASSWORD_MAX_LENGTH = 8, 128
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ["email"]},
    },
    {
        "NAME": "accounts.validators.MinimumLengthValidator",
        "OPTIONS": {"min_length": PASSWORD_MIN_LENGTH},
    },
    {"NAME": "accounts.validators.MaximumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

SIGNUP_EMAIL_VERIFICATION = env.str("SIGNUP_EMAIL_VERIFICATION", default="optional")
RATE_LIMITS = env.str("RATE_LIMITS", default="on")
if PRODUCTION and RATE_LIMITS != "on":
    raise ImproperlyConfigured("RATE_LIMITS may not be 'off' in production.")

# More sign-ups than this, in the seconds below, and the next ones are suspicious. 0: never.
RISK_INVITER_BURST = env.int("RISK_INVITER_BURST", default=20)  # through one person's link
RISK_INVITER_BURST_WINDOW_S = env.int("RISK_INVITER_BURST_WINDOW_S", default=60 * 60)
RISK_SHARED_ADDRESS = env.int("RISK_SHARED_ADDRESS", default=5)  # from one network address
RISK_SHARED_ADDRESS_WINDOW_S = env.int("RISK_SHARED_ADDRESS_WINDOW_S", default=24 * 60 * 60)

LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "wallet"
LOGOUT_REDIRECT_URL = "landing"
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "signup": "accounts.forms.SignupForm",
    "login": "accounts.forms.LoginForm",
    "add_email": "accounts.forms.AddEmailForm",
    "reset_password": "accounts.forms.ResetPasswordForm",
    "reset_password_from_key": "accounts.forms.ResetPasswordKeyForm",
    "change_password": "accounts.forms.ChangePasswordForm",
    "set_password": "accounts.forms.SetPasswordForm",
}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = SIGNUP_EMAIL_VERIFICATION
ACCOUNT_CONFIRM_EMAIL_ON_GET = False
ACCOUNT_EMAIL_NOTIFICATIONS = True  # of changes to how one logs in
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
# Referral codes of nobody, in links that one client follows. They name people: not to be guessed.
ACCOUNT_RATE_LIMITS: Any = {"invitation": "10/m/ip,50/d/ip"} if RATE_LIMITS != "off" else False

# What people agree to when they sign up. Another version, and everybody is asked anew.
TERMS_VERSION = env.str("TERMS_VERSION", default="sample-1")
TERMS_URL = env.str("TERMS_URL", default="")  # "{language}" in it is the reader's: en, zh-hans
PRIVACY_URL = env.str("PRIVACY_URL", default="")
TERMS_DIR = env.str("TERMS_DIR", default="")  # of terms.en.html, privacy.zh-hans.html, …

STAFF_MFA = env.str("STAFF_MFA", default="optional")  # or "required"
MFA_ADAPTER = "accounts.mfa.MFAAdapter"
MFA_FORMS = {
    "authenticate": "accounts.mfa.AuthenticateForm",
    "reauthenticate": "accounts.mfa.ReauthenticateForm",
    "activate_totp": "accounts.mfa.ActivateTOTPForm",
    "add_webauthn": "accounts.mfa.AddWebAuthnForm",
    "edit_webauthn": "accounts.mfa.EditWebAuthnForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Usher"
MFA_TOTP_TOLERANCE = 1  # steps of 30 s: clocks differ, and typing takes its time

# --- API --------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.TokenAuthentication",
        "accounts.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["project.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "URL_FORMAT_OVERRIDE": None,  # there is JSON only: ?format= is a name like any other
    "DEFAULT_PAGINATION_CLASS": "project.api.pagination.CursorPagination",
    "DEFAULT_SCHEMA_CLASS": "project.api.operations.OperationSchema",
    "EXCEPTION_HANDLER": "project.api.errors.problem_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
API_MAX_BODY_BYTES = 64 * 1024
SPECTACULAR_SETTINGS = {
    "TITLE": "Usher API",
    "DESCRIPTION": "Registration, wallet and operations.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "ENUM_NAME_OVERRIDES": {
        "AccountStatus": "accounts.models.AccountStatus",
        "ReferralStatus": "accounts.models.ReferralStatus",
        "DeliveryState": "events.models.DeliveryState",
        "EndpointStateEnum": "relay.endpoints.EndpointState",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "project.api.schema.describe_problems",
        "project.api.schema.describe_revalidation",
        "project.api.examples.add_examples",
    ],
}
REST_KNOX = {"TOKEN_TTL": timedelta(days=30), "AUTO_REFRESH": False}

# --- Relay ------------------------------------------------------------------------------------

# Networks that endpoints may be in though they are not public, such as 10.20.0.0/16.
RELAY_ALLOWED_NETWORKS = env.list("RELAY_ALLOWED_NETWORKS", default=[])
RELAY_ALLOW_HTTP = env.bool("RELAY_ALLOW_HTTP", default=False)  # for development: unencrypted
RELAY_EXCLUDED_APPS: list[str] = []  # whose events stay in the house
# With which those who decide about risks sign (whsec_…); two while one replaces the other.
RISK_DECISION_SECRETS = env.list("RISK_DECISION_SECRETS", default=[])
# For so long ids of messages that came in are known, and not applied again.
RELAY_INBOX_DAYS = env.int("RELAY_INBOX_DAYS", default=90)
RISK_CHECK_DEADLINE_S = env.int("RISK_CHECK_DEADLINE_S", default=24 * 3600)

# --- Metrics ------------------------------------------------------------------------------------

# Who may read /metrics: whoever has the token, or comes from here. Nobody else, in production.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
METRICS_NETWORKS = env.list(
    "METRICS_NETWORKS", default=[] if PRODUCTION else ["127.0.0.0/8", "::1"]
)

# --- Traces and error reports --------------------------------------------------------------------

# The SDK reads these and the others (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, …) itself.
OTEL_TRACES_EXPORTER = env.str("OTEL_TRACES_EXPORTER", default="otlp")
_collectors = [f"OTEL_EXPORTER_OTLP_{name}" for name in ("ENDPOINT", "TRACES_ENDPOINT")]
TRACES = (
    (OTEL_TRACES_EXPORTER == "console" or any(env.str(name, default="") for name in _collectors))
    and OTEL_TRACES_EXPORTER != "none"
    and not env.bool("OTEL_SDK_DISABLED", default=False)
)
if TRACES and find_spec("opentelemetry") is not None:  # a check says where it is missing
    MIDDLEWARE.insert(1, "project.observing.middleware.TracingMiddleware")
SENTRY_DSN = env.str("SENTRY_DSN", default="")

# --- Alarms -------------------------------------------------------------------------------------
ALARM_MAILS = env.list("ALARM_MAILS", default=[])  # who is told; endpoints can ask for them too
# So long what is due may wait before somebody is told. 0: never.
ALARM_OVERDUE_S = env.int("ALARM_OVERDUE_S", default=5 * 60)
ALARM_OVERDUE_S_BY_RECEIVER = env.list("ALARM_OVERDUE_S_BY_RECEIVER", default=[])

# --- E-mail -----------------------------------------------------------------------------------

_mail = env.email_url("EMAIL_URL", default="consolemail://")
if _mail["EMAIL_BACKEND"] == "django.core.mail.backends.smtp.EmailBackend":
    _mail["EMAIL_BACKEND"] = "project.mails.smtp.EmailBackend"
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Usher <no-reply@usher.test>")
EMAIL_TIMEOUT_S = 3  # some mails are sent inside a request
if django.VERSION >= (6, 1):
    _mail_options = {
        "host": _mail["EMAIL_HOST"],
        "port": _mail["EMAIL_PORT"],
        "username": _mail["EMAIL_HOST_USER"],
        "password": _mail["EMAIL_HOST_PASSWORD"],
        "use_tls": _mail.get("EMAIL_USE_TLS", False),
        "use_ssl": _mail.get("EMAIL_USE_SSL", False),
        "timeout": EMAIL_TIMEOUT_S,
    }
    MAILERS = {
        "default": {
            "BACKEND": _mail["EMAIL_BACKEND"],
            "OPTIONS": _mail_options if "smtp" in _mail["EMAIL_BACKEND"] else {},
        }
    }
else:
    globals().update(_mail, EMAIL_TIMEOUT=EMAIL_TIMEOUT_S)

# --- Languages, times, files --------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = "project.formats"
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "servestatic.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
SERVESTATIC_USE_FINDERS = not PRODUCTION
SERVESTATIC_AUTOREFRESH = False

# --- Security -----------------------------------------------------------------------------------

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_ENGINE = "project.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
if PRODUCTION:
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$", r"^metrics$"]
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    if TRUSTED_PROXIES:
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# --- Logs -----------------------------------------------------------------------------------------

LOG_FORMAT = env.str("LOG_FORMAT", default="console")
if LOG_FORMAT not in {"console", "json"}:
    raise ImproperlyConfigured(f"LOG_FORMAT is {LOG_FORMAT!r}. Set it to 'console' or 'json'.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "place": {"()": "events.logs.PlaceFilter"},
        "rows": {"()": "events.logs.RowFilter"},
    },
    "formatters": {
        "console": {
            "format": "{asctime} {levelname} {name} [{correlation_id}] {message}",
            "style": "{",
        },
        "json": {"()": "events.logs.JSONFormatter"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["place", "rows"],
            "formatter": LOG_FORMAT,
        }
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "events": {"level": "INFO"},
        "accounts": {"level": "INFO"},
        "coupons": {"level": "INFO"},
        "points": {"level": "INFO"},
        "django-q": {"level": "WARNING"},
    },
}
