"""What is shown: a function a page, each of which reads, and changes nothing."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from sqlite_utils import Database
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from bot.app import Mynah
from bot.faces.web.render import page
from bot.monitor import health
from bot.services import cards, publishing
from bot.services.deciding import Shown, shown_of
from bot.services.doctor import examine
from bot.services.progress import Progress, caught_up
from bot.vitals import VITALS
from bot.x import text as rules
from data import jobs, models, outbox, post_cards
from data.figures import Figures, figures
from data.jobs import Job, Status
from data.models import Model
from data.outbox import Pause

LISTED = 30  # voices to a page, posts and trainings that have ended
MOST = 50  # trainings and posts that wait: those that come first
SOON = 3  # on the overview: posts that wait, and schedules
CARD_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""A model card stands alone in one file, whose styles and pictures are in it, and needs nothing else."""


@dataclass(frozen=True)
class Training:
    """A training that has not ended."""

    job: Job
    before: int
    """How many come before it."""
    progress: Progress


@dataclass(frozen=True)
class Head:
    """What stands on every page."""

    running: int
    queued: int
    waiting: int
    """Posts that wait for a person."""
    pause: Pause | None


class Pages:
    """The pages of one service."""

    def __init__(self, app: Mynah) -> None:
        self._app = app
        self._known: dict[int, Progress] = {}
        """By job what was told of it so far, so that a look reads what is new alone."""

    async def overview(self, request: Request) -> Response:
        """How everything stands, in a screen or two."""
        app = self._app
        return await self.show(
            request,
            "overview.html",
            trainings=await self._trainings(),
            waiting=(await app.store.read(_waiting))[:SOON],
            schedules=sorted((one for one in await app.scheduling.listed() if one.times), key=lambda one: one.times[0])[:SOON],
            spent=await app.budget.overview(),
            health=await health(app),
            figures=await self._figures(),
        )

    # ----------------------------------------------------------------- voices

    async def voices(self, request: Request) -> Response:
        """List the voices whose name holds a text, a page of them."""
        search = request.query_params.get("search", "").strip().removeprefix("@").lower()[:100]
        number = _number(request)
        found = await self._app.store.read(models.page, search, first=(number - 1) * LISTED, most=LISTED)
        pages = max(1, -(-found.total // LISTED))
        if number > pages:
            raise HTTPException(404, f"There is no page {number}: the last is {pages}.")
        documents = [cards.card(model) for model in found.models]
        return await self.show(request, "voices.html", voices=documents, search=search, number=number, pages=pages, total=found.total)

    async def voice(self, request: Request) -> Response:
        """Show the card of the version that a voice speaks with, or of another, and all its versions."""
        store = self._app.store
        model = await self._model(request)
        card = await store.read(cards.told_card, model)
        card["samples"] = await self._app.speaking.allowed(card["samples"], None)
        versions = [cards.card(one) for one in await store.read(models.versions, model.voice)]
        return await self.show(
            request, "voice.html", card=card, kind=cards.kind(card["accounts"]), versions=versions, written=self.card_file(model).is_file()
        )

    async def curve(self, request: Request) -> Response:
        """Return the picture of a version's training, on a light ground or a dark one."""
        model = await self._model(request)
        if model.result["loss_after"] is None:
            raise HTTPException(404, "It was trained elsewhere, and has no curve here.")
        dark = request.path_params["ground"] == "dark"
        path = await cards.save_curve(self._app.store, model, self._app.settings.data_dir / "cards", dark=dark)
        return Response(await asyncio.to_thread(path.read_bytes), media_type="image/png")

    async def model_card(self, request: Request) -> Response:
        """Return the model card of a version, which was written before, as a page that may do nothing."""
        path = self.card_file(await self._model(request))
        try:
            written = await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError as error:
            raise HTTPException(404, "Its model card is not written yet.") from error
        return HTMLResponse(written, headers={"Content-Security-Policy": CARD_POLICY})

    def card_file(self, model: Model) -> Path:
        """Return where a version's model card is, or will be."""
        return publishing.folder_of(self._app.settings, model) / publishing.PAGE

    async def _model(self, request: Request) -> Model:
        voice, version = request.path_params["voice"], request.path_params.get("version")
        if version is None:
            return await self._app.store.read(models.current, voice)
        return await self._app.store.read(models.version, voice, version)

    # ------------------------------------------------------------ queue, outbox

    async def queue(self, request: Request) -> Response:
        """Show what is trained, what waits, and what has ended."""
        ended = await self._app.store.read(jobs.ended, LISTED)
        return await self.show(request, "queue.html", trainings=await self._trainings(), ended=ended)

    async def outbox(self, request: Request) -> Response:
        """Show the posts that wait for a person, and the newest of the others."""
        app = self._app
        waiting = (await app.store.read(_waiting))[:MOST]
        there = {shown.post.id for shown in waiting}
        others = [post for post in await app.posting.listed(LISTED) if post.id not in there]
        return await self.show(request, "outbox.html", waiting=waiting, others=others, reasons=await app.posting.reasons(others))

    async def post(self, request: Request, *, typed: str | None = None, refusal: str = "", status: int = 200) -> Response:
        """Show a post and what became of it; `typed`: what was written in the place of its text, and refused for a reason."""
        shown = await self._app.store.read(shown_of, request.path_params["post"])
        length = None if shown.post.account is None else (rules.weighted_length(shown.post.text), rules.MAX_LENGTH)
        return await self.show(
            request,
            "post.html",
            status=status,
            shown=shown,
            length=length,
            typed=shown.post.text if typed is None else typed,
            refusal=refusal,
        )

    # --------------------------------------------------- schedules, spending, health

    async def schedules(self, request: Request) -> Response:
        """List the schedules."""
        return await self.show(request, "schedules.html", schedules=await self._app.scheduling.listed())

    async def schedule(self, request: Request) -> Response:
        """Show all that a schedule was told, and what became of its newest times."""
        return await self.show(request, "schedule.html", planned=await self._app.scheduling.get(request.path_params["name"]))

    async def spending(self, request: Request) -> Response:
        """Show what X has cost, and what it may."""
        spent = await self._app.budget.overview()
        today = {one.kind: one for one in spent.today}
        return await self.show(request, "spend.html", spent=spent, kinds=[(one, today.get(one.kind)) for one in spent.month])

    async def health(self, request: Request) -> Response:
        """Show how the service does, and what the doctor says."""
        app = self._app
        findings = await asyncio.to_thread(examine, app.settings, app.secrets, children=False)
        return await self.show(
            request,
            "health.html",
            health=await health(app),
            findings=sorted(findings, key=lambda one: (one.ok, not one.advice)),
            vitals=VITALS,
            figures=await self._figures(),
            since=datetime.fromtimestamp(psutil.Process().create_time(), UTC).isoformat(),
        )

    # ------------------------------------------------------------------- parts

    async def show(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        """Render a page, with what stands on every one."""
        head = await self._app.store.read(_head)
        return page(request, template, status=status, head=head, **values)

    async def _trainings(self) -> list[Training]:
        found = await self._app.store.read(_trainings, self._known)
        self._known = {one.job.id: one.progress for one in found}
        return found

    async def _figures(self) -> Figures:
        return await self._app.store.read(figures, self._app.clock())


def _number(request: Request) -> int:
    text = request.query_params.get("page", "1")
    if not text.isascii() or not text.isdecimal() or not 1 <= len(text) <= 6 or int(text) < 1:
        raise HTTPException(404, "Pages are counted from 1.")
    return int(text)


def _head(db: Database) -> Head:
    counts = {row["status"]: row["jobs"] for row in db.query("SELECT status, count(*) AS jobs FROM jobs GROUP BY status")}
    return Head(counts.get(Status.RUNNING, 0), counts.get(Status.QUEUED, 0), len(post_cards.waiting(db)), outbox.paused(db))


def _waiting(db: Database) -> list[Shown]:
    return [shown_of(db, post.id) for post in post_cards.waiting(db)]


def _trainings(db: Database, known: dict[int, Progress]) -> list[Training]:
    return [Training(job, place, _progress(db, job, known)) for place, job in enumerate(jobs.in_order(db, MOST))]


def _progress(db: Database, job: Job, known: dict[int, Progress]) -> Progress:
    return caught_up(db, job, known.get(job.id)) if job.status is Status.RUNNING else Progress(job.attempt)
