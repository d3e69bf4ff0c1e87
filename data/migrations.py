"""The schema, as numbered migrations whose comments are its manual; times are ISO 8601 in UTC, documents are JSON.

Rows that belong to a voice fall with it (ON DELETE CASCADE), so that `forget` is two statements and can miss nothing.
"""

from sqlite_utils import Database, Migrations

from data.tweets import sha256_of_rows

migrations = Migrations("mynah")


@migrations()
def m001_accounts_and_tweets(db: Database) -> None:
    """Sources: what accounts wrote, raw, because some of it was paid for and cleaning rules change."""
    db.conn.execute("""
        CREATE TABLE accounts (
            handle TEXT PRIMARY KEY,             -- lower case, no @
            created_at TEXT NOT NULL
        ) STRICT""")
    # rowid order is the order of the source, which stands in for time where created_at is NULL (a plain text file).
    db.conn.execute("""
        CREATE TABLE tweets (
            handle TEXT NOT NULL REFERENCES accounts(handle) ON DELETE CASCADE,
            id TEXT NOT NULL,                    -- the platform's, or sha256:… made from the row
            created_at TEXT,                     -- NULL: the source does not say
            text TEXT NOT NULL,                  -- HTML entities still escaped where the source escapes them
            is_retweet INTEGER NOT NULL,
            is_reply INTEGER,                    -- NULL: the source does not say
            imported_at TEXT NOT NULL,
            PRIMARY KEY (handle, id)
        ) STRICT""")


@migrations()
def m002_voices(db: Database) -> None:
    """A voice is what speaks: one or more accounts under one name. Everything trained or said hangs on it."""
    db.conn.execute("""
        CREATE TABLE voices (
            name TEXT PRIMARY KEY,               -- the handles, sorted, joined by -
            created_at TEXT NOT NULL
        ) STRICT""")
    db.conn.execute("""
        CREATE TABLE voice_accounts (
            voice TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            handle TEXT NOT NULL REFERENCES accounts(handle),
            PRIMARY KEY (voice, handle)
        ) STRICT""")
    db.conn.execute("CREATE INDEX voice_accounts_handle ON voice_accounts(handle)")


@migrations()
def m003_corpora_and_jobs(db: Database) -> None:
    """Training. A job names its corpus by hash, so that a restart trains on what was promised, whatever was imported since."""
    db.conn.execute("""
        CREATE TABLE corpora (
            sha256 TEXT PRIMARY KEY,             -- of content
            voice TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            counts TEXT NOT NULL,                -- the card's figures per account, so that a list need not read the content
            content TEXT NOT NULL,               -- handles, counts and the three splits
            created_at TEXT NOT NULL
        ) STRICT""")
    db.conn.execute("CREATE INDEX corpora_voice ON corpora(voice)")
    db.conn.execute("""
        CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: people quote it
            voice TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            corpus TEXT NOT NULL REFERENCES corpora(sha256),
            recipe TEXT NOT NULL,
            fingerprint TEXT NOT NULL,           -- sha256 of recipe and corpus: equal requests share one job
            status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'done', 'failed', 'cancelled')),
            attempt INTEGER NOT NULL DEFAULT 0,  -- grows when a run was cut off and is done again
            process_group INTEGER,               -- of the trainer, while running: swept at the next start after a crash
            process_started INTEGER,             -- its start in clock ticks since boot, so that a reused number is not shot
            cancel_requested_by TEXT,            -- the process that runs the job looks at this
            requested_by TEXT NOT NULL,
            created_at TEXT NOT NULL,
            started_at TEXT,
            ended_at TEXT,
            error_code TEXT,
            error TEXT                           -- one sentence for a person
        ) STRICT""")
    db.conn.execute("CREATE INDEX jobs_voice ON jobs(voice)")
    db.conn.execute("CREATE INDEX jobs_corpus ON jobs(corpus)")
    # Two members who ask for the same training at the same instant join one job; the index is what makes that true.
    db.conn.execute("CREATE UNIQUE INDEX jobs_active ON jobs(fingerprint) WHERE status IN ('queued', 'running')")
    db.conn.execute("""
        CREATE TABLE job_events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            attempt INTEGER NOT NULL,
            at TEXT NOT NULL,
            event TEXT NOT NULL                  -- a message of trainer/protocol.py
        ) STRICT""")
    db.conn.execute("CREATE INDEX job_events_job ON job_events(job, id)")


@migrations()
def m004_models(db: Database) -> None:
    """What training made. Weights lie in chunks, because one row of 500 MB would be read and written whole."""
    db.conn.execute("""
        CREATE TABLE models (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            voice TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            version INTEGER NOT NULL,            -- counts from 1 in each voice
            job INTEGER NOT NULL UNIQUE REFERENCES jobs(id), -- UNIQUE: a finished job cannot be stored twice
            corpus TEXT NOT NULL REFERENCES corpora(sha256),
            base TEXT NOT NULL,
            method TEXT NOT NULL,
            result TEXT NOT NULL,                -- the trainer's Done message
            sha256 TEXT NOT NULL,                -- of the weights
            bytes INTEGER NOT NULL,
            created_at TEXT NOT NULL,
            UNIQUE (voice, version)
        ) STRICT""")
    db.conn.execute("""
        CREATE TABLE model_weights (
            model INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            chunk BLOB NOT NULL,
            PRIMARY KEY (model, number)
        ) STRICT""")


@migrations()
def m005_speech(db: Database) -> None:
    """What was asked, every candidate that came, and why it was or was not said."""
    db.conn.execute("""
        CREATE TABLE requests (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            voice TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            model INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
            prompt TEXT NOT NULL,
            count INTEGER NOT NULL,
            seed INTEGER NOT NULL,
            sampling TEXT NOT NULL,
            purpose TEXT NOT NULL CHECK (purpose IN ('talk', 'post')), -- post: X's rules apply to each line
            status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'done', 'failed')),
            requested_by TEXT NOT NULL,
            created_at TEXT NOT NULL,
            ended_at TEXT,
            error TEXT
        ) STRICT""")
    db.conn.execute("CREATE INDEX requests_voice ON requests(voice)")
    db.conn.execute("CREATE INDEX requests_model ON requests(model)")
    db.conn.execute("CREATE INDEX requests_open ON requests(status) WHERE status IN ('queued', 'running')")
    db.conn.execute("""
        CREATE TABLE generations (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            request INTEGER NOT NULL REFERENCES requests(id) ON DELETE CASCADE,
            number INTEGER NOT NULL,             -- which candidate of its request
            text TEXT NOT NULL,
            log_likelihood REAL NOT NULL,        -- mean, nats a token
            verdict TEXT NOT NULL,               -- passed, or the name of the rule that refused it
            chosen INTEGER NOT NULL,             -- shown to the person who asked
            UNIQUE (request, number)
        ) STRICT""")


@migrations()
def m006_schedules_and_outbox(db: Database) -> None:
    """Posting on X. The outbox's state is written before each act, so that a crash can lose or double nothing."""
    db.conn.execute("""
        CREATE TABLE schedules (
            name TEXT PRIMARY KEY,
            voice TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            kind TEXT NOT NULL CHECK (kind IN ('every', 'cron')),
            expression TEXT NOT NULL,            -- every: seconds; cron: five fields
            timezone TEXT NOT NULL,
            created_by TEXT NOT NULL,
            created_at TEXT NOT NULL,
            last_run_at TEXT                     -- NULL: never yet
        ) STRICT""")
    db.conn.execute("CREATE INDEX schedules_voice ON schedules(voice)")
    db.conn.execute("""
        CREATE TABLE posts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            voice TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            schedule TEXT REFERENCES schedules(name) ON DELETE SET NULL,
            text TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('draft', 'approved', 'sending', 'posted', 'rejected', 'failed')),
            x_id TEXT,                           -- the id that X gave it; set when posted
            created_at TEXT NOT NULL
        ) STRICT""")
    db.conn.execute("CREATE INDEX posts_voice ON posts(voice)")
    db.conn.execute("CREATE INDEX posts_status ON posts(status)")
    db.conn.execute("""
        CREATE TABLE post_changes (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            post INTEGER NOT NULL REFERENCES posts(id) ON DELETE CASCADE,
            status TEXT NOT NULL,
            at TEXT NOT NULL,
            who TEXT NOT NULL,
            why TEXT NOT NULL
        ) STRICT""")
    db.conn.execute("CREATE INDEX post_changes_post ON post_changes(post)")


@migrations()
def m007_watches(db: Database) -> None:
    """Messages in Discord that show a job: they go on being edited, and the end is told, across restarts of the bot."""
    db.conn.execute("""
        CREATE TABLE watches (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
            channel INTEGER NOT NULL,
            message INTEGER NOT NULL,
            member INTEGER NOT NULL,             -- mentioned at the end, and nobody else
            told INTEGER NOT NULL DEFAULT 0      -- 1: the end was shown
        ) STRICT""")
    db.conn.execute("CREATE INDEX watches_job ON watches(job)")
    db.conn.execute("CREATE INDEX watches_untold ON watches(told) WHERE told = 0")


@migrations()
def m008_pins_and_answers(db: Database) -> None:
    """Which version a voice speaks with, where a person chose one; as whom a joint voice speaks, and what it answers."""
    db.conn.execute("""
        CREATE TABLE pins (                      -- a voice without a row here speaks with its newest version
            voice TEXT PRIMARY KEY REFERENCES voices(name) ON DELETE CASCADE,
            version INTEGER NOT NULL,
            FOREIGN KEY (voice, version) REFERENCES models(voice, version) ON DELETE CASCADE -- a version that goes is pinned no more
        ) STRICT""")
    db.conn.execute("ALTER TABLE requests ADD COLUMN author TEXT NOT NULL DEFAULT ''")  # a handle of the voice's; empty: the blend
    db.conn.execute("ALTER TABLE requests ADD COLUMN message TEXT NOT NULL DEFAULT ''")  # what the lines answer; empty: nothing


@migrations()
def m009_parents(db: Database) -> None:
    """Which post a post answers, so that a voice learns to answer. Rows imported before have NULL; importing again fills them."""
    db.conn.execute("ALTER TABLE tweets ADD COLUMN in_reply_to TEXT")  # an id, stored here or not; NULL: none, or the source does not say
    # A parent may be anybody's, and the primary key begins with the handle.
    db.conn.execute("CREATE INDEX tweets_id ON tweets(id)")


@migrations()
def m010_why_a_line_was_said(db: Database) -> None:
    """What lines were chosen by, and why others were not. Rows from before have what stands after DEFAULT."""
    columns = (
        ("requests", "repeatable INTEGER NOT NULL DEFAULT 0"),  # 1: a person named the seed, and hears the same lines each time
        ("generations", "complete INTEGER NOT NULL DEFAULT 1"),  # 0: cut off, because it grew too long
        ("generations", "style REAL NOT NULL DEFAULT 0"),  # share of the line's character trigrams that are the account's, 0 to 1
        ("generations", "relevance REAL NOT NULL DEFAULT 0"),  # how much likelier as an answer than as none, nats a token; 0: no answer
        ("generations", "score REAL NOT NULL DEFAULT 0"),  # what it was ranked by, nats (bot/services/choosing.py)
        ("generations", "reason TEXT NOT NULL DEFAULT ''"),  # of a verdict other than passed: the end of a sentence
    )
    for table, column in columns:
        db.conn.execute(f"ALTER TABLE {table} ADD COLUMN {column}")


@migrations()
def m011_what_grows_is_not_read_whole(db: Database) -> None:
    """Indexes for what is looked for with each training, in a table that grows for years."""
    db.conn.execute("CREATE INDEX jobs_fingerprint ON jobs(fingerprint)")
    db.conn.execute("CREATE INDEX jobs_status ON jobs(status)")


@migrations()
def m012_consents_and_who_asks(db: Database) -> None:
    """Whose leave a voice is trained with, who took it back for good, and which member of which server asks: quotas count rows."""
    db.conn.execute("""
        CREATE TABLE consents (                  -- forgetting an account is withdrawing it
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            handle TEXT NOT NULL REFERENCES accounts(handle) ON DELETE CASCADE,
            ground TEXT NOT NULL CHECK (ground IN ('archive', 'permission', 'parody')), -- archive: its account.js names the account
            claimed_by TEXT NOT NULL,
            created_at TEXT NOT NULL,
            UNIQUE (handle, ground, claimed_by)
        ) STRICT""")
    # No reference: it outlives all that was stored of the account, and may come before it.
    db.conn.execute("""
        CREATE TABLE opt_outs (
            handle TEXT PRIMARY KEY,
            said_by TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT""")
    for table in ("jobs", "requests"):
        for column in ("member", "server"):  # Discord's ids; NULL: the terminal, a schedule, or a talk without a server
            db.conn.execute(f"ALTER TABLE {table} ADD COLUMN {column} INTEGER")
        db.conn.execute(f"CREATE INDEX {table}_created_at ON {table}(created_at)")
    db.conn.execute("CREATE INDEX jobs_server ON jobs(server, started_at)")  # whose turn was longest ago


@migrations()
def m013_talk(db: Database) -> None:
    """Which messages in Discord are lines of a voice, so that a reply or a button finds it, and which channels have a voice."""
    db.conn.execute("""
        CREATE TABLE said (
            message INTEGER PRIMARY KEY,
            channel INTEGER NOT NULL,
            request INTEGER NOT NULL REFERENCES requests(id) ON DELETE CASCADE
        ) STRICT""")
    db.conn.execute("CREATE INDEX said_request ON said(request)")
    db.conn.execute("""
        CREATE TABLE bindings (
            channel INTEGER PRIMARY KEY,
            voice TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            webhook INTEGER,                     -- through which it speaks under its own name; NULL: as the bot
            bound_by TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT""")
    db.conn.execute("CREATE INDEX bindings_voice ON bindings(voice)")


@migrations()
def m014_games(db: Database) -> None:
    """Games in Discord: quizzes about who wrote what, and duels of two voices. Points fall with the voice that they were won by."""
    db.conn.execute("""
        CREATE TABLE quizzes (
            id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: buttons of old messages hold it
            server INTEGER NOT NULL,             -- this and the next two are Discord's ids
            channel INTEGER NOT NULL,
            message INTEGER,                     -- NULL: not put up yet
            voice TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            model INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
            options TEXT NOT NULL,               -- four texts in the order in which they are shown
            odd INTEGER NOT NULL,                -- which of them, from 0, is unlike the others
            odd_is_voice INTEGER NOT NULL,       -- 1: the voice's among real posts; 0: a real post among the voice's
            asked_by TEXT NOT NULL,
            created_at TEXT NOT NULL,
            ends_at TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('open', 'closed', 'told')) -- closed: guesses count; told: the message shows it, too
        ) STRICT""")
    db.conn.execute("CREATE INDEX quizzes_voice ON quizzes(voice)")
    db.conn.execute("CREATE INDEX quizzes_model ON quizzes(model)")
    db.conn.execute("CREATE INDEX quizzes_server ON quizzes(server)")
    db.conn.execute("CREATE INDEX quizzes_untold ON quizzes(id) WHERE status IN ('open', 'closed')")
    # Two members who begin one in the same channel at the same instant: the index is what lets one through.
    db.conn.execute("CREATE UNIQUE INDEX quizzes_open ON quizzes(channel) WHERE status = 'open'")
    db.conn.execute("""
        CREATE TABLE guesses (
            quiz INTEGER NOT NULL REFERENCES quizzes(id) ON DELETE CASCADE,
            member INTEGER NOT NULL,
            name TEXT NOT NULL,                  -- as the member was shown: Discord tells names only of who does something
            option INTEGER NOT NULL,
            PRIMARY KEY (quiz, member)           -- one may think again; the last counts
        ) STRICT""")
    db.conn.execute("""
        CREATE TABLE duels (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            server INTEGER NOT NULL,
            channel INTEGER NOT NULL,
            message INTEGER,                     -- NULL: not put up yet
            one TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            two TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            topic TEXT NOT NULL,
            lines TEXT NOT NULL,                 -- what was said, by turns, the first by `one`
            member INTEGER NOT NULL,             -- who asked, which is what quotas count the lines by
            asked_by TEXT NOT NULL,
            created_at TEXT NOT NULL,
            seconds INTEGER NOT NULL,            -- for which members may vote
            ends_at TEXT,                        -- of the vote; NULL: the voices still talk
            status TEXT NOT NULL CHECK (status IN ('talking', 'voting', 'closed', 'told')),
            error TEXT                           -- why it ended without a vote: one sentence for a person
        ) STRICT""")
    db.conn.execute("CREATE INDEX duels_one ON duels(one)")
    db.conn.execute("CREATE INDEX duels_two ON duels(two)")
    db.conn.execute("CREATE INDEX duels_untold ON duels(id) WHERE status IN ('talking', 'voting', 'closed')")
    db.conn.execute("""
        CREATE TABLE votes (
            duel INTEGER NOT NULL REFERENCES duels(id) ON DELETE CASCADE,
            member INTEGER NOT NULL,
            side INTEGER NOT NULL CHECK (side IN (1, 2)),
            PRIMARY KEY (duel, member)
        ) STRICT""")


@migrations()
def m015_servers(db: Database) -> None:
    """What the moderators of a server in Discord set there; a server without a row is as config.toml says."""
    # Channels and roles are read and written whole, with their row, and nothing looks for one of them: a table each would only add joins.
    db.conn.execute("""
        CREATE TABLE servers (
            id INTEGER PRIMARY KEY,              -- Discord's
            channels TEXT NOT NULL DEFAULT '[]' CHECK (json_type(channels) = 'array'), -- ids in which Mynah is used; none: in all
            train_roles TEXT NOT NULL DEFAULT '[]' CHECK (json_type(train_roles) = 'array'), -- ids of who may train; none: everybody
            post_roles TEXT NOT NULL DEFAULT '[]' CHECK (json_type(post_roles) = 'array'), -- ids of who may send to X; none: Manage Server
            trainings_a_day INTEGER CHECK (trainings_a_day >= 0), -- of a member; this and the next two NULL: config.toml's
            trainings_a_day_server INTEGER CHECK (trainings_a_day_server >= 0), -- of the members together
            lines_a_minute INTEGER CHECK (lines_a_minute >= 1), -- of a member
            prefix_commands INTEGER NOT NULL DEFAULT 1 CHECK (prefix_commands IN (0, 1)), -- 0: typed commands but help are ignored
            answer_chance REAL NOT NULL DEFAULT 0 CHECK (answer_chance BETWEEN 0 AND 1), -- of messages that mention nobody, bound channels
            language TEXT NOT NULL DEFAULT 'auto' CHECK (language IN ('auto', 'en', 'ja')),
            profanity TEXT CHECK (profanity IN ('any', 'mild', 'none')) -- NULL: config.toml's
        ) STRICT""")
    db.conn.execute("""
        CREATE TABLE server_changes (            -- who changed what when; never changed itself
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            server INTEGER NOT NULL REFERENCES servers(id) ON DELETE CASCADE,
            name TEXT NOT NULL,                  -- a column of servers
            value TEXT NOT NULL,                 -- what it was changed to, as JSON
            changed_by TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT""")
    db.conn.execute("CREATE INDEX server_changes_server ON server_changes(server, id)")
    # Who set it stands here and not in server_changes, so that it falls with its voice.
    db.conn.execute("""
        CREATE TABLE voice_roles (               -- whose members alone may use a voice in a server; without a row everybody may
            server INTEGER NOT NULL,             -- Discord's id; one without settings has no row above
            voice TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            roles TEXT NOT NULL CHECK (json_array_length(roles) > 0), -- ids
            set_by TEXT NOT NULL,
            created_at TEXT NOT NULL,
            PRIMARY KEY (server, voice)
        ) STRICT""")
    db.conn.execute("CREATE INDEX voice_roles_voice ON voice_roles(voice)")


@migrations()
def m016_askings(db: Database) -> None:
    """Trainings that wait for a yes: what was asked, until a button settles it or a day has passed."""
    db.conn.execute("""
        CREATE TABLE askings (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            member INTEGER NOT NULL,             -- who asked, and alone may answer
            handles TEXT NOT NULL,               -- as they were typed
            file TEXT,                           -- path of an upload; NULL: what is stored is learned from
            ground TEXT,                         -- the consent that is claimed with the yes; NULL: none chosen yet
            base TEXT,                           -- NULL: the settings'
            posts INTEGER,                       -- at most so many; NULL: the settings'
            created_at TEXT NOT NULL
        ) STRICT""")


@migrations()
def m017_called(db: Database) -> None:
    """What moderators call a voice in their server, and with what it begins there; without a row, by its own name and with nothing."""
    db.conn.execute("""
        CREATE TABLE called (
            server INTEGER NOT NULL,             -- Discord's id
            voice TEXT NOT NULL REFERENCES voices(name) ON DELETE CASCADE,
            name TEXT NOT NULL CHECK (length(name) <= 60), -- what it is shown as; '': its own name
            prompt TEXT NOT NULL,                -- what lines begin with where no prompt was given; ''; judged when it is used
            set_by TEXT NOT NULL,
            created_at TEXT NOT NULL,
            PRIMARY KEY (server, voice),
            CHECK (name <> '' OR prompt <> '')
        ) STRICT""")
    db.conn.execute("CREATE INDEX called_voice ON called(voice)")


@migrations()
def m018_pauses(db: Database) -> None:
    """When posting was stopped and let go on, by whom and why; it is stopped while one of them has not ended."""
    db.conn.execute("""
        CREATE TABLE pauses (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            paused_at TEXT NOT NULL,
            paused_by TEXT NOT NULL,
            why TEXT NOT NULL,                   -- '': nobody said
            resumed_at TEXT,
            resumed_by TEXT
        ) STRICT""")
    db.conn.execute("CREATE UNIQUE INDEX pauses_open ON pauses(resumed_at IS NULL) WHERE resumed_at IS NULL")  # one at a time


@migrations()
def m019_spending(db: Database) -> None:
    """What X is paid for, and how far accounts were read there, so that no post is paid for twice."""
    db.conn.execute("""
        CREATE TABLE spending (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at TEXT NOT NULL,                    -- of the reservation, before the call: the day and the month that it counts in
            account TEXT NOT NULL,               -- the account on X that pays, by its name in the settings; '': the one
            kind TEXT NOT NULL,                  -- what is paid for, as the price table names it
            why TEXT NOT NULL,
            price INTEGER NOT NULL CHECK (price >= 0), -- of one, when it was reserved; this and cost in micro-dollars
            most INTEGER NOT NULL CHECK (most >= 0), -- how many were reserved
            count INTEGER CHECK (count >= 0),    -- how many X delivered; NULL: nobody knows yet, and `most` counts
            settled_at TEXT,
            cost INTEGER NOT NULL GENERATED ALWAYS AS (price * COALESCE(count, most)) VIRTUAL,
            CHECK ((count IS NULL) = (settled_at IS NULL))
        ) STRICT""")
    db.conn.execute("CREATE INDEX spending_at ON spending(at)")
    db.conn.execute("""
        CREATE TABLE timelines (
            handle TEXT PRIMARY KEY REFERENCES accounts(handle) ON DELETE CASCADE,
            x_id TEXT NOT NULL,                  -- X's number of the account, which another one that takes its name does not have
            posts INTEGER NOT NULL,              -- that the account had when it was last read
            read_at TEXT NOT NULL,
            newest_id TEXT                       -- of the posts up to this one all were read that are in no gap; NULL: none was there
        ) STRICT""")
    # A timeline is read from its newest post back, so whatever cuts that off leaves a gap behind it; a later one is a newer one.
    db.conn.execute("""
        CREATE TABLE timeline_gaps (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            handle TEXT NOT NULL REFERENCES timelines(handle) ON DELETE CASCADE,
            since_id TEXT,                       -- this post and those before it were read; NULL: it goes down to the first
            until_id TEXT NOT NULL               -- this post and those after it were
        ) STRICT""")
    db.conn.execute("CREATE INDEX timeline_gaps_handle ON timeline_gaps(handle)")


@migrations()
def m020_destinations(db: Database) -> None:
    """Where a post goes, what nobody knows of it, and what it said before somebody changed it."""
    db.conn.execute("ALTER TABLE posts ADD COLUMN account TEXT DEFAULT 'default'")  # on X, by its name in config.toml; NULL: a channel
    db.conn.execute("ALTER TABLE posts ADD COLUMN channel INTEGER CHECK ((account IS NULL) <> (channel IS NULL))")  # Discord's id
    # 1: nothing becomes of it until a person has decided; a failed one holds up its destination meanwhile.
    db.conn.execute("ALTER TABLE posts ADD COLUMN awaits_person INTEGER NOT NULL DEFAULT 0 CHECK (awaits_person IN (0, 1))")
    db.conn.execute("ALTER TABLE posts ADD COLUMN tried_at TEXT")  # when it was sent last
    db.conn.execute("ALTER TABLE posts ADD COLUMN unsure_since TEXT")  # the first try that may have made it; NULL: none may have
    db.conn.execute("ALTER TABLE post_changes ADD COLUMN was TEXT")  # the text that this change replaced
    # A sender that gave a post up said why in a second row; one that was killed at it said nothing, and is found when Mynah starts.
    db.conn.execute("""
        UPDATE posts SET unsure_since = (SELECT max(at) FROM post_changes WHERE post = posts.id),
                         tried_at = (SELECT max(at) FROM post_changes WHERE post = posts.id),
                         awaits_person = (SELECT count(*) FROM
                             (SELECT status FROM post_changes WHERE post = posts.id ORDER BY id DESC LIMIT 2) WHERE status = 'sending') = 2
        WHERE status = 'sending'""")


@migrations()
def m021_schedules_at_length(db: Database) -> None:
    """All that a schedule can be told, what became of each of its times, and when a post may go out."""
    # SQLite cannot change a check, and dropping a table that posts refer to would take the schedules out of them.
    db.conn.execute("ALTER TABLE schedules RENAME COLUMN kind TO old_kind")
    db.conn.execute("ALTER TABLE schedules ADD COLUMN kind TEXT NOT NULL DEFAULT 'every' CHECK (kind IN ('every', 'cron', 'times'))")
    db.conn.execute("UPDATE schedules SET kind = old_kind")
    db.conn.execute("ALTER TABLE schedules DROP COLUMN old_kind")
    # The nominal time up to which every one is a run or was passed over. What stood here was when it last fired, which will do.
    db.conn.execute("ALTER TABLE schedules RENAME COLUMN last_run_at TO settled_until")
    for column in (
        "jitter INTEGER NOT NULL DEFAULT 0",  # seconds
        "quiet TEXT NOT NULL DEFAULT ''",  # such as 22:00-07:00 in its time zone; '': no hours are quiet
        "max_a_day INTEGER CHECK (max_a_day >= 1)",
        "account TEXT DEFAULT 'default'",  # this and the next are as those of posts
        "channel INTEGER CHECK ((account IS NULL) <> (channel IS NULL))",
        "prompt TEXT NOT NULL DEFAULT ''",
        "creativity REAL",  # NULL: config.toml's
        "missed TEXT NOT NULL DEFAULT 'once' CHECK (missed IN ('once', 'skip'))",
        "grace INTEGER NOT NULL DEFAULT 3600",  # seconds
        "ahead INTEGER",  # seconds; NULL: config.toml's
        "operator INTEGER NOT NULL DEFAULT 1",  # 1: made in the terminal, as all were until now
        "server INTEGER",  # Discord's id of where it was made; NULL: elsewhere
        "paused_at TEXT",  # NULL: it is not
        "paused_by TEXT",
    ):
        db.conn.execute(f"ALTER TABLE schedules ADD COLUMN {column}")
    db.conn.execute("""
        CREATE TABLE schedule_runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            schedule TEXT NOT NULL REFERENCES schedules(name) ON DELETE CASCADE,
            nominal TEXT NOT NULL,               -- the time that the schedule names; if a person asked for it, when he did
            at TEXT NOT NULL,                    -- when its post is to go: nominal and jitter
            taken_at TEXT NOT NULL,
            tries INTEGER NOT NULL DEFAULT 0,    -- how often its draft was begun
            outcome TEXT NOT NULL CHECK (outcome IN ('due', 'drafted', 'skipped', 'missed', 'failed')), -- due: its draft is not there yet
            why TEXT NOT NULL,
            post INTEGER REFERENCES posts(id) ON DELETE SET NULL,
            asked_by TEXT,                       -- NULL: its time came
            UNIQUE (schedule, nominal)           -- no time comes twice, whatever the clock does
        ) STRICT""")
    db.conn.execute("CREATE INDEX schedule_runs_at ON schedule_runs(schedule, at)")
    db.conn.execute("CREATE INDEX schedule_runs_post ON schedule_runs(post)")
    db.conn.execute("CREATE INDEX schedule_runs_due ON schedule_runs(id) WHERE outcome = 'due'")
    db.conn.execute("ALTER TABLE posts ADD COLUMN not_before TEXT")  # NULL: as soon as it is approved
    db.conn.execute("CREATE INDEX posts_when ON posts(coalesce(not_before, created_at))")


@migrations()
def m022_post_cards(db: Database) -> None:
    """Messages in Discord that show a post and ask whether it may go out."""
    # A card outlives its post (post NULL), so that what it shows can be taken down whoever forgets the voice, and while the bot is off.
    db.conn.execute("""
        CREATE TABLE post_cards (
            id INTEGER PRIMARY KEY AUTOINCREMENT, -- the nonce that makes Discord take one message for it is made of this
            post INTEGER REFERENCES posts(id) ON DELETE SET NULL, -- NULL: forgotten
            channel INTEGER NOT NULL,            -- this and the next are Discord's ids
            message INTEGER,                     -- NULL: not put up yet, or the process died before it could say so
            state TEXT NOT NULL CHECK (state IN ('open', 'replaced', 'closed')), -- replaced: taken down next; closed: it shows the end
            created_at TEXT NOT NULL
        ) STRICT""")
    db.conn.execute("CREATE INDEX post_cards_post ON post_cards(post)")
    db.conn.execute("CREATE INDEX post_cards_followed ON post_cards(id) WHERE state <> 'closed' OR post IS NULL")
    db.conn.execute("CREATE UNIQUE INDEX post_cards_open ON post_cards(post) WHERE state = 'open'")


@migrations()
def m023_mentions(db: Database) -> None:
    """Who summoned an account on X and what became of it, how far mentions were read, and who is never answered again."""
    db.conn.execute("ALTER TABLE posts ADD COLUMN in_reply_to TEXT")  # X's id of the post that it answers; NULL: none
    db.conn.execute("""
        CREATE TABLE mentions (
            id TEXT PRIMARY KEY,                 -- X's, so that whatever is read twice is taken up once
            account TEXT NOT NULL,               -- whom it mentions, by its name in the settings
            author TEXT NOT NULL,                -- X's number, which a new name does not change
            handle TEXT NOT NULL,                -- what the author was called then
            text TEXT,                           -- NULL: no longer needed, or never
            posted_at TEXT NOT NULL,
            received_at TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('seen', 'answered', 'ignored')), -- seen: it is to be answered
            why TEXT NOT NULL,                   -- it is ignored; '': it is not
            tries INTEGER NOT NULL DEFAULT 0,    -- how often an answer was begun
            answered_at TEXT,                    -- when the answer came into the outbox
            post INTEGER REFERENCES posts(id) ON DELETE SET NULL -- the answer
        ) STRICT""")
    db.conn.execute("CREATE INDEX mentions_seen ON mentions(account) WHERE state = 'seen'")
    db.conn.execute("CREATE INDEX mentions_author ON mentions(author)")
    db.conn.execute("CREATE INDEX mentions_answered ON mentions(answered_at)")
    db.conn.execute("CREATE INDEX mentions_text ON mentions(id) WHERE text IS NOT NULL")
    db.conn.execute("CREATE INDEX mentions_post ON mentions(post)")
    # Mentions come from the newest back, so whatever cuts reading off leaves those between since_id and until_id.
    db.conn.execute("""
        CREATE TABLE mention_polls (
            account TEXT PRIMARY KEY,
            began_at TEXT NOT NULL,              -- what was written before is nobody's summons
            next_at TEXT NOT NULL,
            since_id TEXT,                       -- all up to this one were read; NULL: none since began_at
            newest_id TEXT,                      -- what since_id becomes when the rest is read; NULL: all is
            until_id TEXT,                       -- the oldest of those that were read of this rest
            problem TEXT,                        -- why the last poll failed; NULL: it did not
            CHECK ((newest_id IS NULL) = (until_id IS NULL))
        ) STRICT""")
    db.conn.execute("""
        CREATE TABLE x_stops (
            author TEXT PRIMARY KEY,             -- X's number
            handle TEXT NOT NULL,                -- what the author was called then
            mention TEXT NOT NULL,               -- X's id of the post that said so
            said_at TEXT NOT NULL
        ) STRICT""")


@migrations()
def m027_posts_in_channels(db: Database) -> None:
    """A reply to a line is looked for among the posts that went to channels of Discord."""
    db.conn.execute("CREATE INDEX posts_in_channels ON posts(x_id) WHERE channel IS NOT NULL")


@migrations()
def m028_lineage(db: Database) -> None:
    """What each step from raw posts to a card was given and gave, by its hash; NULL and 'unknown': it was stored before this."""
    # A source and its posts are one transaction, so the time of it names them: tweets.imported_at is `at`.
    db.conn.execute("""
        CREATE TABLE sources (
            handle TEXT NOT NULL REFERENCES accounts(handle) ON DELETE CASCADE,
            at TEXT NOT NULL,
            kind TEXT NOT NULL CHECK (kind IN ('file', 'x', 'command', 'unknown')),
            name TEXT NOT NULL,                  -- of the file, without its folders; '': it has none
            content_sha256 TEXT,                 -- of the file; NULL: it was none, or a folder
            posts INTEGER NOT NULL,              -- that were new
            sha256 TEXT NOT NULL,                -- of those (data/sources.py)
            PRIMARY KEY (handle, at)
        ) STRICT""")
    for column in (
        "sources_sha256 TEXT",  # of all that its accounts' posts came from (data/sources.py)
        "rules TEXT",  # by which posts were chosen and split: short_rule, max_posts and seed
        "altered_sha256 TEXT",  # of what is left, after words of a forgotten account were taken out; NULL: none were
    ):
        db.conn.execute(f"ALTER TABLE corpora ADD COLUMN {column}")
    db.conn.execute("ALTER TABLE models ADD COLUMN result_sha256 TEXT")  # of result
    db.conn.execute("""
        CREATE TABLE published (                 -- cards and exports: a row before the first file of one is in its place
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            model INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
            kind TEXT NOT NULL CHECK (kind IN ('card', 'export', 'zip', 'push')),
            place TEXT NOT NULL,                 -- the folder; of a zip its name; of a push the repository
            files TEXT NOT NULL,                 -- JSON: their hashes by their names
            numbers TEXT NOT NULL,               -- JSON: what its card says that was measured then
            begun_at TEXT NOT NULL,
            finished_at TEXT                     -- NULL: nobody knows how much of it was written
        ) STRICT""")
    db.conn.execute("CREATE INDEX published_model ON published(model)")
    db.conn.execute("CREATE INDEX published_place ON published(place)")
    for row in list(db.query("SELECT handle, imported_at, count(*) AS posts FROM tweets GROUP BY handle, imported_at")):
        rows = db.query(
            "SELECT id, created_at, text, is_retweet, is_reply FROM tweets WHERE handle = ? AND imported_at = ? ORDER BY rowid",
            [row["handle"], row["imported_at"]],
        )
        found = {"handle": row["handle"], "at": row["imported_at"], "kind": "unknown", "name": "", "posts": row["posts"]}
        db.table("sources").insert(found | {"content_sha256": None, "sha256": sha256_of_rows(rows)})


@migrations()
def m029_backups(db: Database) -> None:
    """Which backups were made, so that somebody can be told when none was for long; that one is still there nobody promises."""
    db.conn.execute("""
        CREATE TABLE backups (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at TEXT NOT NULL,
            file TEXT NOT NULL,                  -- its path where it was written
            bytes INTEGER NOT NULL
        ) STRICT""")


@migrations()
def m030_counted(db: Database) -> None:
    """What quotas still count of rows that were erased or forgotten, or each erasure would begin a new day."""
    db.conn.execute("""
        CREATE TABLE counted (
            member INTEGER,
            server INTEGER,                      -- NULL: its row is still there
            kind TEXT NOT NULL CHECK (kind IN ('training', 'lines')),
            at TEXT NOT NULL,
            count INTEGER NOT NULL
        ) STRICT""")
    db.conn.execute("CREATE INDEX counted_member ON counted(member)")
    db.conn.execute("CREATE INDEX counted_server ON counted(server)")
