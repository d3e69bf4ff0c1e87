"""What the operator set: config.toml, the environment above it, and secrets from the environment alone."""

import difflib
import os
import tomllib
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bot.errors import BadHandleError, SettingsError
from data.consents import Ground
from data.handles import normalise_handle
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


class Discord(Section):
    """How the bot behaves in Discord."""

    prefix: str = Field("!", min_length=1, max_length=5)
    upload_mib: int = Field(100, ge=1, le=500)
    shards: int = Field(1, ge=0, le=10_000)
    blocked_users: frozenset[Annotated[int, Field(ge=0, lt=2**63)]] = frozenset()
    api_url: str = "https://discord.com/api/v10"


class Consent(Section):
    """Whose posts may be learned from."""

    policy: Literal["own", "claimed"] = "claimed"
    blocked_handles: frozenset[Annotated[str, AfterValidator(_handle)]] = frozenset()

    @property
    def grounds(self) -> frozenset[Ground]:
        """What a claim may rest on."""
        return frozenset({Ground.ARCHIVE}) if self.policy == "own" else frozenset(Ground)


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


class X(Section):
    """The account on X that scheduled posts go to."""

    api_url: str = "https://api.twitter.com"


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


class Secrets(BaseModel):
    """What must not lie in a file of settings, nor in a log: read from NAME, or from the file that NAME_FILE names."""

    model_config = ConfigDict(frozen=True)

    discord_token: SecretStr | None = None
    hf_token: SecretStr | None = None
    x_api_key: SecretStr | None = None
    x_api_secret: SecretStr | None = None
    x_access_token: SecretStr | None = None
    x_access_secret: SecretStr | None = None


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
    except ValueError as error:  # pydantic-settings' own, for a variable that should be JSON and is not
        raise SettingsError(f"A variable of the environment cannot be read: {error}.") from error
    folder = path.parent

    def absolute(named: Path) -> Path:
        return (folder / named.expanduser()).resolve()

    blocklist = settings.safety.blocklist
    safety = settings.safety.model_copy(update={"blocklist": absolute(blocklist)}) if blocklist else settings.safety
    return settings.model_copy(update={"data_dir": absolute(settings.data_dir), "cache_dir": absolute(settings.cache), "safety": safety})


def load_secrets() -> Secrets:
    """Return the secrets that the environment holds, or the files that it names.

    Raises:
        SettingsError: a named file cannot be read.
    """
    found = {}
    for field in Secrets.model_fields:
        name = field.upper()
        text = os.environ.get(name)
        if text is None and (named := os.environ.get(name + "_FILE")):
            try:
                text = Path(named).read_text(encoding="utf-8")
            except OSError as error:
                raise SettingsError(f"{name}_FILE names {named}, which cannot be read ({error.strerror}).") from error
        if text and text.strip():
            found[field] = SecretStr(text.strip())
    return Secrets(**found)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}.") from error
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
    return f"{where} is wrong: {first['msg']}, not {str(first['input'])[:60]!r}."


def _guess(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
