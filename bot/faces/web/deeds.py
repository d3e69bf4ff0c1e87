"""What is done: a function a form. Each does one thing by one service, says what came of it, and leads back to a page."""

from collections.abc import Awaitable
from urllib.parse import parse_qsl, quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bot.app import Mynah
from bot.errors import MynahError, WrongStateError
from bot.faces.web.entry import SIGN_IN, Session, Sessions
from bot.faces.web.pages import Pages
from bot.faces.web.render import LABELS, page
from bot.services import deciding, publishing
from bot.services.deciding import shown_of
from data import models
from data.outbox import Post, State

BY = "operator (web)"
"""Who did it, in every record."""
MOST_FIELDS = 10
REASON = 300  # characters


class Deeds:
    """The forms of one service."""

    def __init__(self, app: Mynah, pages: Pages, sessions: Sessions) -> None:
        self._app = app
        self._pages = pages
        self._sessions = sessions

    # ----------------------------------------------------------------- sessions

    async def sign_in(self, request: Request) -> Response:
        """Begin a session for whoever has the token; a browser that asks for the form gets it."""
        if request.method != "POST":
            return page(request, "sign-in.html", refusal="")
        if self._sessions.tired():
            refusal = "Too many wrong tokens came: wait a minute, then try again."
            return page(request, "sign-in.html", status=429, refusal=refusal)
        key = self._sessions.begin((await fields(request)).get("token", "").strip())
        if key is None:
            return page(request, "sign-in.html", status=403, refusal="That is not the token: `mynah web` prints the address with it.")
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self._sessions.cookie, key, httponly=True, samesite="strict")
        return answer

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        self._sessions.end(request.cookies.get(self._sessions.cookie))
        answer = RedirectResponse(SIGN_IN, 303)
        answer.delete_cookie(self._sessions.cookie, httponly=True, samesite="strict")
        return answer

    # ------------------------------------------------------------------ voices

    async def pin(self, request: Request) -> Response:
        """Have a voice speak with one version, or with its newest."""
        voice = request.path_params["voice"]
        version = (await fields(request)).get("version", "")

        async def pin() -> str:
            if version:
                model = await self._app.store.write(models.pin, voice, int(version) if version.isdecimal() and len(version) < 10 else 0)
                return f"{model.voice} speaks with version {model.version} from now on, whatever is trained later."
            model = await self._app.store.write(models.unpin, voice)
            return f"{model.voice} speaks with its newest version again: {model.version} now."

        return await self._do(request, pin(), f"/voices/{quote(voice, safe='')}")

    async def write_card(self, request: Request) -> Response:
        """Write the model card of a version, for which the voice is asked for some lines, and show it."""
        app, voice, version = self._app, request.path_params["voice"], request.path_params["version"]
        here = f"/voices/{quote(voice, safe='')}/{version}"

        async def write() -> str:
            model = await app.store.read(models.version, voice, version)
            await publishing.publish(app.store, app.settings, app.speaking, model, publishing.folder_of(app.settings, model), page=True)
            return f"The model card of {model.voice}, version {model.version}, is written."

        return await self._do(request, write(), here)

    # ------------------------------------------------------------ queue, outbox

    async def cancel(self, request: Request) -> Response:
        """Cancel a training."""
        number = request.path_params["job"]

        async def cancel() -> str:
            job = await self._app.training.cancel(number, by=BY)
            return f"Job {job.id} ({job.voice}) {f'is {job.status}' if job.status.ended else 'is being stopped'}."

        return await self._do(request, cancel(), "/queue")

    async def decide(self, request: Request) -> Response:
        """Decide about a post, as it was when the page was made."""
        number, form = request.path_params["post"], await fields(request)
        choice, seen = form.get("choice", ""), _seen(form)
        if choice in ("edit", "approve-edited"):
            return await self._edit(request, number, form.get("text", ""), seen, approve=choice == "approve-edited")

        async def decide() -> str:
            shown = await self._app.store.read(shown_of, number)
            if choice not in LABELS:
                raise HTTPException(400, "There is no such button.")
            if choice not in shown.offered:
                raise WrongStateError(f"Post {number} was changed meanwhile: look at it again.")
            app = self._app
            if choice == "another":
                post = await deciding.another(app.store, app.speaking, app.posting, number, BY, seen=seen, origin=None)
                return f"Post {post.id} has another line."
            return decided(await deciding.decide(app.posting, choice, number, BY, seen=seen))

        return await self._do(request, decide(), "/outbox" if form.get("back") == "outbox" else f"/outbox/{number}")

    async def _edit(self, request: Request, number: int, text: str, seen: int, *, approve: bool) -> Response:
        """Give a post another text; one that is refused stays in its field."""
        try:
            post = await self._app.posting.edit(number, text, BY, approve=approve, seen=seen)
        except MynahError as error:
            return await self._pages.post(request, typed=text, refusal=str(error), status=422)
        _tell(request, f"Post {post.id} has its new text. {decided(post)}")
        return RedirectResponse(f"/outbox/{number}", 303)

    async def switch(self, request: Request) -> Response:
        """Stop all posting, or let it go on."""
        form = await fields(request)

        async def switch() -> str:
            if form.get("choice") == "pause":
                await self._app.posting.pause(BY, " ".join(form.get("why", "").split())[:REASON])
                return "Posting is paused: nothing goes out and no schedule fires until you resume it."
            await self._app.posting.resume(BY)
            return "Posting goes on: what is approved is sent, and schedules fire again."

        return await self._do(request, switch(), "/outbox")

    # ---------------------------------------------------------------- schedules

    async def schedule(self, request: Request) -> Response:
        """Pause, resume, run or remove a schedule."""
        name, choice = request.path_params["name"], (await fields(request)).get("choice", "")
        here = f"/schedules/{quote(name, safe='')}"

        async def act() -> str:
            scheduling = self._app.scheduling
            match choice:
                case "pause":
                    await scheduling.pause(name, BY)
                    return f"The schedule {name} is paused; what it has written stays."
                case "resume":
                    await scheduling.resume(name, BY)
                    return f"The schedule {name} goes on; what fell into its pause is not made up."
                case "run":
                    await scheduling.run_now(name, BY)
                    return f"The schedule {name} writes a draft now; it comes into the outbox."
                case "remove":
                    await scheduling.remove(name)
                    return f"The schedule {name} is gone; its posts stay."
            raise HTTPException(400, "There is no such button.")

        return await self._do(request, act(), "/schedules" if choice == "remove" else here)

    async def _do(self, request: Request, deed: Awaitable[str], then: str) -> Response:
        """Do something, and lead to a page that says what came of it."""
        try:
            _tell(request, await deed)
        except MynahError as error:
            _tell(request, str(error), refused=True)
        return RedirectResponse(then, 303)


async def fields(request: Request) -> dict[str, str]:
    """Return what a form holds; of two fields of one name the last one."""
    try:
        text = (await request.body()).decode()
        found = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"))
    except ValueError as error:
        raise HTTPException(400, "That form cannot be read.") from error
    return {name: value.replace("\r\n", "\n") for name, value in found.items()}


def decided(post: Post) -> str:
    """Say where a post stands after a decision."""
    more = " It is sent when its time has come." if post.not_before else " It is sent next."
    return f"Post {post.id} is {post.status}.{more if post.status is State.APPROVED else ''}"


def _seen(form: dict[str, str]) -> int:
    seen = form.get("seen", "")
    if not seen.isascii() or not seen.isdecimal() or len(seen) > 6:
        raise HTTPException(400, "That form does not say what it decides about.")
    return int(seen)


def _tell(request: Request, notice: str, *, refused: bool = False) -> None:
    session: Session = request.state.session
    session.notice, session.refused = notice, refused
