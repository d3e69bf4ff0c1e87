"""What is done: a function a form. Each does one thing by one service, says what came of it, and leads back to a page."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bot.app import Mynah
from bot.errors import MynahError, WrongStateError
from bot.faces.web.entry import SIGN_IN, Session, Sessions
from bot.faces.web.pages import Pages
from bot.faces.web.render import LABELS, page
from bot.faces.words import paused
from bot.services import publishing
from bot.services.deciding import another, as_seen, decide
from data import models
from data.outbox import Post, State

BY = "operator (web)"
"""Who did it, in every record."""
NO_BUTTON = "There is no such button."
MOST_FIELDS = 10


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
        voice, version = request.path_params["voice"], (await fields(request)).get("version")
        with telling(request) as tell:
            if version is None:
                model = await self._app.store.write(models.unpin, voice)
                tell(f"{model.voice} speaks with its newest version again: {model.version} now.")
            else:
                model = await self._app.store.write(models.pin, voice, _number(version))
                tell(f"{model.voice} speaks with version {model.version} from now on, whatever is trained later.")
        return RedirectResponse(f"/voices/{quote(voice, safe='')}", 303)

    async def write_card(self, request: Request) -> Response:
        """Write the model card of a version, for which the voice is asked for some lines."""
        app, voice, version = self._app, request.path_params["voice"], request.path_params["version"]
        with telling(request) as tell:
            model = await app.store.read(models.version, voice, version)
            await publishing.publish(app.store, app.settings, app.speaking, model, publishing.folder_of(app.settings, model), page=True)
            tell(f"The model card of {model.voice}, version {model.version}, is written.")
        return RedirectResponse(f"/voices/{quote(voice, safe='')}/{version}", 303)

    # ------------------------------------------------------------ queue, outbox

    async def cancel(self, request: Request) -> Response:
        """Cancel a training."""
        with telling(request) as tell:
            job = await self._app.training.cancel(request.path_params["job"], by=BY)
            tell(f"Job {job.id} ({job.voice}) {f'is {job.status}' if job.status.ended else 'is being stopped'}.")
        return RedirectResponse("/queue", 303)

    async def decide(self, request: Request) -> Response:
        """Decide about a post, as it was when the page was made."""
        app, number, form = self._app, request.path_params["post"], await fields(request)
        choice, seen = form.get("choice", ""), _number(form.get("seen", ""))
        if choice in ("edit", "approve-edited"):
            return await self._edit(request, number, form.get("text", ""), seen, approve=choice == "approve-edited")
        if choice not in LABELS:
            raise HTTPException(400, NO_BUTTON)
        with telling(request) as tell:
            shown = await app.store.read(as_seen, number, seen)
            if choice not in shown.offered:
                raise WrongStateError(f"Post {number} is {shown.post.status}: look at it again.")
            if choice == "another":
                await another(app.store, app.speaking, app.posting, number, BY, seen=seen, origin=None)
                tell(f"Post {number} has another line.")
            else:
                tell(decided(await decide(app.posting, choice, number, BY, seen=seen)))
        return RedirectResponse("/outbox" if form.get("back") == "outbox" else f"/outbox/{number}", 303)

    async def _edit(self, request: Request, number: int, text: str, seen: int, *, approve: bool) -> Response:
        """Give a post another text; one that is refused stays in its field."""
        try:
            post = await self._app.posting.edit(number, text, BY, approve=approve, seen=seen)
        except MynahError as error:
            return await self._pages.post(request, typed=text, refusal=str(error), status=422)
        with telling(request) as tell:
            tell(f"Post {post.id} has its new text. {decided(post)}")
        return RedirectResponse(f"/outbox/{number}", 303)

    async def switch(self, request: Request) -> Response:
        """Stop all posting, or let it go on."""
        form = await fields(request)
        with telling(request) as tell:
            match form.get("choice"):
                case "pause":
                    lasting = await self._app.posting.pause(BY, form.get("why", ""))
                    tell(f"{paused(lasting)} Nothing goes out and no schedule fires until you resume it.")
                case "resume":
                    await self._app.posting.resume(BY)
                    tell("Posting goes on: what is approved is sent, and schedules fire again.")
                case _:
                    raise HTTPException(400, NO_BUTTON)
        return RedirectResponse("/outbox", 303)

    # ---------------------------------------------------------------- schedules

    async def schedule(self, request: Request) -> Response:
        """Pause, resume, run or remove a schedule."""
        name, choice = request.path_params["name"], (await fields(request)).get("choice")
        scheduling = self._app.scheduling
        with telling(request) as tell:
            match choice:
                case "pause":
                    await scheduling.pause(name, BY)
                    tell(f"The schedule {name} is paused; what it has written stays.")
                case "resume":
                    await scheduling.resume(name, BY)
                    tell(f"The schedule {name} goes on; what fell into its pause is not made up.")
                case "run":
                    goes_out = (await scheduling.get(name)).unattended
                    await scheduling.run_now(name, BY)
                    what = "post now, which goes out without approval" if goes_out else "draft now; it comes into the outbox"
                    tell(f"The schedule {name} writes a {what}.")
                case "remove":
                    await scheduling.remove(name)
                    tell(f"The schedule {name} is gone; its posts stay.")
                case _:
                    raise HTTPException(400, NO_BUTTON)
        return RedirectResponse("/schedules" if choice == "remove" else f"/schedules/{quote(name, safe='')}", 303)


@contextmanager
def telling(request: Request) -> Iterator[Callable[[str], None]]:
    """Have the next page tell what is said inside, or why it was refused."""
    session: Session = request.state.session

    def tell(notice: str, *, refused: bool = False) -> None:
        session.notice, session.refused = notice, refused

    try:
        yield tell
    except MynahError as error:
        tell(str(error), refused=True)


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


def _number(text: str) -> int:
    """Return a number of a field that a page filled in."""
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise HTTPException(400, "That form cannot be read.")
    return int(text)
