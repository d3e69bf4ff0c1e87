"""What the operator set: config.toml, the environment above it, and secrets from the environment alone."""

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bot.errors import BadHandleError, BadRequestError, SettingsError
from bot.services.times import SCHEDULE_NAME, seconds_of
from bot.x.text import broken_rule
from data.consents import Ground
from data.handles import normalise_handle
from data.outbox import DEFAULT_ACCOUNT
from data.spending import MICRO, Kind
from trainer.protocol import PRESETS, Sampling

PREFIX = "MYNAH_"


class Section(BaseModel):
    """A table of config.toml; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Quotas(Section):
    """How much members and servers of Discord may ask for; the terminal may ask for anything."""

    trainings_a_day: int = Field(3, ge=0)
    trainings_a_day_server: int = Field(20, ge=0)
    lines_a_minute: int = Field(40, ge=1)


def _handle(text: str) -> str:
    """Return a handle as it is stored; pydantic takes a ValueError alone for a wrong value."""
    try:
        return normalise_handle(text)
    except BadHandleError as error:
        raise ValueError(str(error)) from error


def _voice(text: str) -> str:
    """Return a voice's name as it is stored; empty: none."""
    return "-".join(sorted({_handle(handle) for handle in text.split("-")})) if text else ""


def _span(text: object) -> object:
    """Return the seconds of a span such as 2h."""
    try:
        return seconds_of(text, 0) if isinstance(text, str) else text
    except BadRequestError as error:
        raise ValueError(str(error)) from error


def _suffix(text: str) -> str:
    """Return what posts end with, if a post may end with it."""
    if text.strip() and (broken := broken_rule(text)):
        raise ValueError(f"with it every post {broken.why}")
    return text


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


ScheduleName = Annotated[str, Field(pattern=f"^{SCHEDULE_NAME}$"), BeforeValidator(_lower)]
Span = Annotated[int, BeforeValidator(_span), Field(ge=0)]
"""Seconds, written as 90s, 30m, 6h or 1d."""


Snowflake = Annotated[int, Field(ge=0, lt=2**63)]
"""An id of Discord's."""


class Discord(Section):
    """How the bot behaves in Discord."""

    prefix: str = Field("!", min_length=1, max_length=5)
    upload_mib: int = Field(100, ge=1, le=500)
    shards: int = Field(1, ge=0, le=10_000)
    servers: frozenset[Snowflake] = frozenset()
    blocked_users: frozenset[Snowflake] = frozenset()
    api_url: str = "https://discord.com/api/v10"


class Consent(Section):
    """Whose posts may be learned from."""

    policy: Literal["own", "claimed"] = "claimed"
    blocked_handles: frozenset[Annotated[str, AfterValidator(_handle)]] = frozenset()

    @property
    def grounds(self) -> frozenset[Ground]:
        """What a claim may rest on."""
        return frozenset({Ground.ARCHIVE}) if self.policy == "own" else frozenset(Ground)


Gpu = Annotated[
    str, BeforeValidator(lambda gpu: str(gpu) if type(gpu) is int else gpu), Field(pattern=r"^(\d{1,3}|(GPU|MIG)-[\w/-]{1,80})$")
]
"""A GPU, as nvidia-smi numbers it or by its UUID."""


class Ray(Section):
    """The cluster that trains where `executor` says so."""

    address: str = Field("auto", pattern=r"^(auto|[\w.-]+:\d{1,5})$")
    tasks: int = Field(1, ge=1, le=64)
    num_gpus: float = Field(1, ge=0, le=64, allow_inf_nan=False)
    num_cpus: float = Field(1, ge=0, le=1024, allow_inf_nan=False)
    cache_dir: str = Field("~/.cache/mynah", pattern=r"^[~/]")
    checkpoint_seconds: float = Field(60, ge=0, allow_inf_nan=False)


class Trainer(Section):
    """How voices are trained."""

    base: str = "smollm2-135m-instruct"
    method: Literal["lora", "full"] = "lora"
    start_from: Literal["base", "last"] = "base"
    max_posts: int = Field(1000, ge=10, le=1_000_000)
    short_rule: Literal["default", "huggingtweets"] = "default"
    seed: int = Field(0, ge=0, lt=2**32)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    epochs: int | None = Field(None, ge=1, le=100)
    learning_rate: float | None = Field(None, gt=0, le=1)
    rank: int | None = Field(None, ge=1, le=256)
    at_once: int = Field(1, ge=1, le=256)
    stay_minutes: float = Field(10, ge=0, allow_inf_nan=False)
    spare_mib: int = Field(512, ge=0)
    gpus: tuple[Gpu, ...] = ()
    executor: Literal["local", "ray"] = "local"
    ray: Ray = Ray()

    @model_validator(mode="after")
    def _trains_in_one_place(self) -> Self:
        if len(set(self.gpus)) < len(self.gpus):
            raise ValueError("gpus must name each GPU once")
        if self.gpus and self.executor == "ray":
            raise ValueError("gpus are this machine's: leave them out, or set executor to local")
        return self


class Speaker(Section):
    """How voices speak."""

    count: int = Field(5, ge=1, le=20)
    candidates: int = Field(8, ge=1, le=64)
    preset: Literal["mynah", "huggingtweets"] = "mynah"
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=100_000)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, ge=1, le=2)
    no_repeat_ngram: int | None = Field(None, ge=0, le=100)
    max_tokens: int | None = Field(None, ge=8, le=400)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    gpu: Gpu | Literal[""] = ""
    precision: Literal["auto", "float32"] = "auto"
    timeout_seconds: float = Field(180, gt=0)
    memory_mib: int = Field(4096, ge=256)
    disk_mib: int = Field(2048, ge=64)

    @property
    def sampling(self) -> Sampling:
        """The preset, with what is set over it."""
        names = {field.name for field in fields(Sampling)} & type(self).model_fields.keys()
        return replace(PRESETS[self.preset], **{name: value for name in names if (value := getattr(self, name)) is not None})


class Safety(Section):
    """What voices must not say."""

    blocklist: Path | None = None
    profanity: Literal["any", "mild", "none"] = "mild"


class Card(Section):
    """What a voice's card says and shows."""

    license: str = Field("unknown", pattern=r"^[a-z0-9][a-z0-9.+-]{0,40}$")
    prompt: str = Field("My dream is", min_length=1, max_length=200)


class XAccount(Section):
    """An account on X that posts go to; its keys come from the environment."""

    auth: Literal["oauth1", "oauth2"] = "oauth1"
    handle: Annotated[str, AfterValidator(_handle)] | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The keys that it cannot be used without, as XKeys names them."""
        return ("client_id", "refresh_token") if self.auth == "oauth2" else ("api_key", "api_secret", "access_token", "access_secret")


def _dollars(most: float, default: float | None) -> Any:
    return Field(default, ge=0, le=most, allow_inf_nan=False)


class Prices(Section):
    """What X takes for one of each kind of thing, in dollars."""

    posts_read: float = _dollars(100, 0.005)
    own_posts_read: float = _dollars(100, 0.005)
    users_read: float = _dollars(100, 0.010)
    posts_written: float = _dollars(100, 0.015)
    posts_with_link_written: float = _dollars(100, 0.20)
    replies_written: float = _dollars(100, 0.010)

    def micro(self, kind: Kind) -> int:
        """Return a price in micro-dollars."""
        dollars: float = getattr(self, kind)
        return round(dollars * MICRO)


class Mentions(Section):
    """Whether and how those are answered who mention an account on X."""

    on: bool = False
    account: str = DEFAULT_ACCOUNT
    voice: Annotated[str, AfterValidator(_voice)] = ""
    interval: Annotated[Span, Field(ge=60)] = 900
    unattended: bool = False
    a_day: int = Field(20, ge=0)
    a_day_each: int = Field(3, ge=0)
    read_daily_cap: float = _dollars(1_000_000, 0.5)
    never: frozenset[Annotated[str, AfterValidator(_handle)]] = frozenset()

    @model_validator(mode="after")
    def _has_a_voice(self) -> Self:
        if self.on and not self.voice:
            raise ValueError("voice must name who answers")
        return self


class X(Section):
    """The accounts on X that posts go to, what may go there, and what it may cost."""

    api_url: str = "https://api.twitter.com"
    approval_channel: int = Field(0, ge=0, lt=2**63)
    read_timelines: bool = False
    reading_daily_cap: float | None = _dollars(1_000_000, None)
    daily_cap: float = _dollars(1_000_000, 1.0)
    monthly_cap: float = _dollars(1_000_000, 10.0)
    prices: Prices = Prices()
    mentions: Mentions = Mentions()
    links: bool = False
    suffix: Annotated[str, AfterValidator(_suffix)] = Field("", max_length=60)
    look_at_own_posts: bool = False
    look_after_seconds: float = Field(120, ge=0, allow_inf_nan=False)
    look_daily_cap: float = _dollars(1_000_000, 0.25)
    unattended: frozenset[ScheduleName] = frozenset()
    ahead: Span = 7200
    late: Span = 86400
    posts_a_day: int = Field(50, ge=0)
    accounts: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,31}$")], XAccount] = {}

    @model_validator(mode="after")
    def _knows_who_answers(self) -> Self:
        if self.mentions.account not in self.every_account:
            raise ValueError(f"mentions.account must be one of {', '.join(self.every_account)}")
        return self

    @property
    def every_account(self) -> Mapping[str, XAccount]:
        """The accounts of the file, and the one that is always there."""
        return {DEFAULT_ACCOUNT: XAccount()} | self.accounts


class Source(Section):
    """Where posts come from other than X: a command of the operator's own."""

    command: tuple[str, ...] = ()
    timeout_seconds: float = Field(600, gt=0, allow_inf_nan=False)
    max_mib: int = Field(100, ge=1, le=10_000)


class Tracking(Section):
    """Where a record of trainings is kept beside the database."""

    tracker: Literal["none", "wandb"] = "none"
    mode: Literal["offline", "online"] = "offline"
    project: str = Field("mynah", pattern=r"^[\w.-]{1,100}$")
    entity: str = Field("", pattern=r"^[\w.-]{0,100}$")
    # Without a user and a password: settings are no secrets.
    url: Annotated[str, AfterValidator(lambda text: text.rstrip("/"))] = Field(
        "https://api.wandb.ai", pattern=r"^https?://[^/?#@\s]+(/[^?#@\s]*)?$"
    )
    uploads: frozenset[Literal["posts", "samples", "weights"]] = frozenset()


class Log(Section):
    """How the service's log reads."""

    style: Literal["auto", "console", "json"] = "auto"


class Gc(Section):
    """What `mynah gc` leaves."""

    versions: int = Field(5, ge=1)
    lines: Span = 365 * 86400
    daily: bool = False


class Monitor(Section):
    """The door for whoever watches the service, on loopback."""

    port: int = Field(0, ge=0, le=65535)


class Web(Section):
    """The operator's page, on loopback."""

    port: int = Field(0, ge=0, le=65535)


class Settings(BaseSettings):
    """Every setting, as the environment and config.toml give it; paths are absolute."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter="__")

    data_dir: Path = Path("var")
    cache_dir: Path | None = None
    discord: Discord = Discord()
    consent: Consent = Consent()
    quotas: Quotas = Quotas()
    trainer: Trainer = Trainer()
    speaker: Speaker = Speaker()
    safety: Safety = Safety()
    card: Card = Card()
    x: X = X()
    source: Source = Source()
    tracking: Tracking = Tracking()
    monitor: Monitor = Monitor()
    web: Web = Web()
    gc: Gc = Gc()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment above the file, whose content arrives as the constructor's arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.data_dir / "mynah.db"

    @property
    def cache(self) -> Path:
        """Folder of base models, which can be fetched again."""
        return self.cache_dir or self.data_dir / "cache"


class XKeys(BaseModel):
    """The secrets of one account on X: of the app that acts for it, and of the account itself."""

    model_config = ConfigDict(frozen=True)

    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    client_id: SecretStr | None = None
    client_secret: SecretStr | None = None
    access_token: SecretStr | None = None
    access_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None


#: What belongs to an app: an account that names none of its own acts through the app of the default account.
_OF_THE_APP = {"api_key", "api_secret", "client_id", "client_secret"}


def x_variable(account: str, field: str) -> str:
    """Return the variable that a key of an account on X is read from: X_API_KEY, X_NEWS_ACCESS_TOKEN."""
    return "_".join(("X", *([] if account == DEFAULT_ACCOUNT else [account]), field)).upper()


class Secrets(BaseModel):
    """What must not lie in a file of settings, nor in a log: read from NAME, or from the file that NAME_FILE names."""

    model_config = ConfigDict(frozen=True)

    discord_token: SecretStr | None = None
    hf_token: SecretStr | None = None
    wandb_api_key: SecretStr | None = None
    x: Mapping[str, XKeys] = {}

    def missing(self, account: str, needs: Iterable[str]) -> list[str]:
        """Return the variables that an account on X lacks of those keys that it needs."""
        return [x_variable(account, field) for field in needs if getattr(self.of_x(account), field) is None]

    def values(self) -> list[str]:
        """Return them all, to keep them out of what is written."""
        every = [getattr(part, name) for part in (self, *self.x.values()) for name in type(part).model_fields]
        return [secret.get_secret_value() for secret in every if isinstance(secret, SecretStr)]

    def of_x(self, account: str = DEFAULT_ACCOUNT) -> XKeys:
        """Return the keys of an account on X, as far as there are any."""
        return self.x.get(account, XKeys())


def load_settings(path: Path | None) -> Settings:
    """Return the settings of a config file; without a path, of ./config.toml if there is one.

    Relative paths in the file are relative to the file.

    Raises:
        SettingsError: the file is missing or no TOML, or a key or value in it or in the environment is wrong.
    """
    if path is None:
        named = os.environ.get(PREFIX + "CONFIG")
        path = Path(named) if named else None
    if path is not None and not path.is_file():
        raise SettingsError(f"There is no configuration file {path}: check --config.")
    path = (path or Path("config.toml")).absolute()
    document = _read(path) if path.is_file() else {}
    _refuse_unknown_variables()
    try:
        settings = Settings(**document)
    except ValidationError as error:
        raise SettingsError(_sentence(error, path)) from error
    except RecursionError as error:
        raise SettingsError(f"A value in {path.name} or in the environment is nested too deeply.") from error
    except ValueError as error:  # pydantic-settings' own, for a variable that should be JSON and is not
        raise SettingsError(f"A variable of the environment cannot be read: {error}.") from error
    folder = path.parent

    def absolute(named: Path) -> Path:
        try:
            return (folder / named.expanduser()).resolve()
        except (ValueError, RuntimeError) as error:  # a NUL, a home of nobody, links in a circle
            raise SettingsError(f"The path {str(named)[:60]!r} cannot be used ({error}).") from error

    blocklist = settings.safety.blocklist
    safety = settings.safety.model_copy(update={"blocklist": absolute(blocklist)}) if blocklist else settings.safety
    return settings.model_copy(update={"data_dir": absolute(settings.data_dir), "cache_dir": absolute(settings.cache), "safety": safety})


def load_secrets(accounts: Iterable[str] = ()) -> Secrets:
    """Return the secrets that the environment holds, or the files that it names, for these accounts on X and the default one.

    Raises:
        SettingsError: a named file cannot be read.
    """
    x = {}
    for account in {DEFAULT_ACCOUNT, *accounts}:
        found = {field: _secret(x_variable(account, field)) for field in XKeys.model_fields}
        for field in _OF_THE_APP:
            found[field] = found[field] or _secret(x_variable(DEFAULT_ACCOUNT, field))
        x[account] = XKeys(**found)
    names = ("discord_token", "hf_token", "wandb_api_key")
    return Secrets(x=x, **{name: _secret(name.upper()) for name in names})


def _secret(name: str) -> SecretStr | None:
    text = os.environ.get(name)
    if text is None and (named := os.environ.get(name + "_FILE")):
        try:
            text = Path(named).read_text(encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"{name}_FILE names {named}, which cannot be read ({error.strerror}).") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{name}_FILE names {named}, which holds no text.") from error
    return SecretStr(text.strip()) if text and text.strip() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {str(error).rstrip('.')}.") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}).") from error


def _refuse_unknown_variables() -> None:
    known = {PREFIX + "CONFIG"} | {PREFIX + "__".join(path).upper() for path in _paths(Settings)}
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise SettingsError(f"The variable {name} is not a setting of Mynah's{_guess(name.upper(), known)}.")


def _paths(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from ((name, *rest) for rest in _paths(field.annotation))
        yield (name,)


def _sentence(error: ValidationError, path: Path) -> str:
    """Say what is wrong with the first bad key, and where it stands."""
    first = error.errors()[0]
    location = tuple(str(part) for part in first["loc"])
    variable = PREFIX + "__".join(location).upper()
    where = f"The variable {variable}" if variable in os.environ else f"{'.'.join(location)} in {path.name}"
    if first["type"] == "extra_forbidden":
        return f"{where} is not a setting of Mynah's{_guess('.'.join(location), {'.'.join(p) for p in _paths(Settings)})}."
    why = first["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{where} is wrong: {why}, not {_start_of(first['input'])!r}."


def _start_of(value: object) -> str:
    try:
        return str(value)[:60]
    except RecursionError:
        return "what is nested so deeply"


def _guess(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
