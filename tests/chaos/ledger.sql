-- What people were told, and what others hold: what must not be lost. It is attached to the database under the name `seen`.
CREATE TABLE trainings (                 -- a member was told that one is queued, by a message that shows it from then on
    job INTEGER NOT NULL,
    voice TEXT NOT NULL,
    message INTEGER NOT NULL
) STRICT;
CREATE TABLE told (                      -- a member was told of an end; Discord takes two of one nonce for one
    message INTEGER NOT NULL,            -- the one that shows the training
    nonce TEXT NOT NULL
) STRICT;
CREATE TABLE cancels (
    job INTEGER NOT NULL,
    told INTEGER NOT NULL                -- 1: whoever asked was told that it is cancelled, or is being stopped; 0: he heard nothing
) STRICT;
CREATE TABLE answers (                   -- a member saw a line of a voice
    voice TEXT NOT NULL,
    prompt TEXT NOT NULL                 -- of that question alone
) STRICT;
CREATE TABLE imports (                   -- a command ended with 0
    handle TEXT NOT NULL,
    posts INTEGER NOT NULL               -- that were new
) STRICT;
CREATE TABLE withdrawn (
    handle TEXT NOT NULL,
    how TEXT NOT NULL CHECK (how IN ('forget', 'opt-out')),
    told INTEGER NOT NULL                -- 1: the command ended with 0
) STRICT;
CREATE TABLE schedules (name TEXT NOT NULL) STRICT;
CREATE TABLE runs (run INTEGER NOT NULL) STRICT; -- that a person asked for
CREATE TABLE decisions (
    post INTEGER NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('approved', 'rejected'))
) STRICT;
CREATE TABLE x (                         -- what stands on X
    id TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
-- With an account goes all that was made of it, and that is no loss.
CREATE VIEW kept AS
    SELECT * FROM trainings WHERE NOT EXISTS (SELECT 1 FROM withdrawn WHERE instr('-' || voice || '-', '-' || handle || '-'));
