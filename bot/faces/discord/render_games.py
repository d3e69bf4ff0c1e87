"""Games as Discord shows them: the question and the reveal of a quiz, a duel as it grows and how it ended, and the leaderboard."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import cycle

from bot.faces.discord.language import tr
from bot.faces.discord.naming import called
from bot.faces.discord.text import MESSAGE, cut, plural, safe, sentence, units
from data.duels import Duel
from data.quizzes import Guess, Quiz, Score

LETTERS = "ABCD"
NAME = 60  # of a voice
MEMBER = 32
NAMED = 10  # members under a reveal; the others are counted
#: Characters that each text gets, from the first at which all fit into the message.
ROOMS = (600, 450, 380, 320, 280, 240, 200)


def until(moment: datetime) -> str:
    """Return a moment as each reader's Discord shows it, in his own time."""
    return f"<t:{int(moment.timestamp())}:T>"


def question(quiz: Quiz) -> str:
    """Render an open quiz."""
    mixture = "Three of these are real posts, and one is mine" if quiz.odd_is_voice else "Three of these are mine, and one is a real post"
    ask = tr(f"Which one? Guess until {until(quiz.ends_at)}; nobody sees your guess before.")

    def make(room: int) -> str:
        options = (f"**{letter}** · {safe(text, room)}" for letter, text in zip(LETTERS, quiz.options, strict=True))
        return "\n".join([tr(f"**{safe(called(quiz.voice), NAME)}** · {mixture}."), *options, ask])

    return _fitting(make)


def reveal(quiz: Quiz, guesses: Sequence[Guess], points: Mapping[int, int]) -> str:
    """Render a quiz that has ended: what each text is, and who was right; `points`: of each member in the server, this quiz included."""
    what = "mine" if quiz.odd_is_voice else "the real post"

    def option(number: int, room: int) -> str:
        whose = tr("real" if quiz.is_real(number) else "mine")
        times = sum(guess.option == number for guess in guesses)
        mark = "✅" if number == quiz.odd else "⬜"
        return f"{mark} **{LETTERS[number]}** ({whose}, {plural(times, 'vote')}) · {safe(quiz.options[number], room)}"

    def make(room: int) -> str:
        head = tr(f"**{safe(called(quiz.voice), NAME)}** · {LETTERS[quiz.odd]} was {what}.")
        return "\n".join([head, *(option(number, room) for number in range(len(quiz.options))), _right(quiz, guesses, points)])

    return _fitting(make)


def _right(quiz: Quiz, guesses: Sequence[Guess], points: Mapping[int, int]) -> str:
    right = [guess for guess in guesses if guess.option == quiz.odd]
    if not guesses:
        return tr("Nobody guessed.")
    if not right:
        return tr(f"Nobody was right, of {len(guesses):,} who guessed.")
    names = [f"{safe(guess.name, MEMBER)} ({plural(points.get(guess.member, 1), 'point')})" for guess in right[:NAMED]]
    others = tr(f" and {len(right) - NAMED:,} besides") if len(right) > NAMED else ""
    return tr(f"{len(right):,} of {len(guesses):,} were right: {', '.join(names)}{others}.")


def duel(game: Duel) -> str:
    """Render a duel whose voices talk, or that is voted on."""
    end = f"Who was better? Vote until {until(game.ends_at)}." if game.ends_at else f"**{safe(called(game.turn), NAME)}** is thinking …"
    return _duel(game, tr(end))


def verdict(game: Duel, one: int, two: int) -> str:
    """Render a duel that has ended, with so many votes for each voice."""
    if game.error is not None:
        return _duel(game, tr(f"The duel is over: {sentence(game.error, 400)}"))
    if not one + two:
        return _duel(game, tr("Nobody voted."))
    if one == two:
        return _duel(game, tr(f"A tie: {plural(one, 'vote')} each."))
    winner = game.one if one > two else game.two
    return _duel(game, tr(f"**{safe(called(winner), NAME)}** won by {plural(max(one, two), 'vote')} to {min(one, two):,}."))


def _duel(game: Duel, end: str) -> str:
    def make(room: int) -> str:
        lines = (
            f"**{safe(called(voice), NAME)}**: {safe(line, room)}"
            for voice, line in zip(cycle((game.one, game.two)), game.lines, strict=False)
        )
        head = tr(f"**{safe(called(game.one), NAME)}** and **{safe(called(game.two), NAME)}** on: {safe(game.topic, room)}")
        return "\n".join([head, *lines, end])

    return _fitting(make)


def leaderboard(scores: Sequence[Score]) -> str:
    """Render the members with the most points, the best first."""
    if not scores:
        return tr("Nobody has guessed here yet: `/quiz` begins a round.")
    rows = (
        tr(f"**{place}** · {safe(score.name, MEMBER)} · {plural(score.points, 'point')}, {score.guesses:,} guessed")
        for place, score in enumerate(scores, 1)
    )
    return cut("\n".join(rows), MESSAGE)


def _fitting(make: Callable[[int], str]) -> str:
    """Return what `make` makes with the most room for each text that a message holds."""
    for room in ROOMS:
        if units(content := make(room)) <= MESSAGE:
            return content
    return cut(content, MESSAGE)
