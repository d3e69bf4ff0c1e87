"""The face as a service: its addresses, and the door at which it answers."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from bot.app import Mynah
from bot.door import NAMES, Door
from bot.errors import BadRequestError, MynahError, NotStoredError
from bot.faces.web.deeds import Deeds
from bot.faces.web.entry import HEADERS, SIGN_IN, Guard, Sessions, token_of
from bot.faces.web.pages import Pages
from bot.faces.web.render import page

STATIC = Path(__file__).parent / "static"
MOST_BYTES = 64 * 1024  # of a form: a post's text has some hundreds


class Number(Convertor[int]):
    """A number as rows have them: what SQLite cannot hold is no address."""

    regex = "[1-9][0-9]{0,17}"

    def convert(self, value: str) -> int:
        """Return what an address says."""
        return int(value)

    def to_string(self, value: int) -> str:
        """Return what an address would say."""
        return str(value)


register_url_convertor("number", Number())


class WebFace:
    """Mynah on a page of the operator's."""

    def __init__(self, app: Mynah, port: int) -> None:
        """Take the services and the port; 0: any that is free.

        Raises:
            SettingsError: there is no token, and none can be made.
        """
        sessions = Sessions(token_of(app.settings.data_dir), cookie=f"mynah-{port}")
        pages = Pages(app)
        deeds = Deeds(app, pages, sessions)
        self.answers = Starlette(
            routes=[
                Route("/", pages.overview),
                Route(SIGN_IN, deeds.sign_in, methods=["GET", "POST"]),
                Route("/sign-out", deeds.sign_out, methods=["POST"]),
                Route("/voices", pages.voices),
                Route("/voices/{voice}", pages.voice),
                Route("/voices/{voice}/pin", deeds.pin, methods=["POST"]),
                Route("/voices/{voice}/{version:number}", pages.voice),
                Route("/voices/{voice}/{version:number}/curve-{ground}.png", pages.curve),
                Route("/voices/{voice}/{version:number}/card", pages.model_card),
                Route("/voices/{voice}/{version:number}/card", deeds.write_card, methods=["POST"]),
                Route("/queue", pages.queue),
                Route("/queue/{job:number}/cancel", deeds.cancel, methods=["POST"]),
                Route("/outbox", pages.outbox),
                Route("/outbox/{post:number}", pages.post),
                Route("/outbox/{post:number}", deeds.decide, methods=["POST"]),
                Route("/posting", deeds.switch, methods=["POST"]),
                Route("/schedules", pages.schedules),
                Route("/schedules/{name}", pages.schedule),
                Route("/schedules/{name}", deeds.schedule, methods=["POST"]),
                Route("/spend", pages.spending),
                Route("/health", pages.health),
                Mount("/static", StaticFiles(directory=STATIC)),
            ],
            middleware=[
                Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False),
                Middleware(Guard, sessions=sessions),
            ],
            exception_handlers={HTTPException: _no, MynahError: _no, Exception: _defect},
            max_body_size=MOST_BYTES,
        )
        self.door = Door("the operator's page", self.answers, port, app.lead, "web.port")

    async def run(self) -> None:
        """Answer until cancelled.

        Raises:
            SettingsError: the port is somebody else's.
        """
        await self.door.run()


async def _no(request: Request, error: Exception) -> Response:
    """Say in one sentence why there is no such page."""
    status, sentence = 409, str(error)
    match error:
        case HTTPException(status_code=status, detail=detail):
            sentence = detail if detail.endswith(".") else f"{detail}."
        case NotStoredError():
            status = 404
        case BadRequestError():
            status = 400
    return page(request, "sorry.html", status=status, sentence=sentence)


async def _defect(request: Request, error: Exception) -> Response:
    """Say that something is amiss that should not be; the server logs it."""
    sentence = f"Something went wrong that should not ({type(error).__name__}); Mynah's log has the details."
    answer = page(request, "sorry.html", status=500, sentence=sentence)
    answer.headers.update(HEADERS)  # this answer goes past the guard
    return answer
