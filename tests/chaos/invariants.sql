-- What must hold of Mynah's database when everything has come to rest, whatever was killed before.
-- Each query has a name and a sentence; a row that it returns is a violation. `seen` is what people were told (ledger.sql), and
-- sha256_of_all(chunk) an aggregate that hashes pieces in their order.

-- sound_file: The file is sound.
SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok';

-- sound_references: Every row that names another names one that is there.
SELECT "table", rowid, parent FROM pragma_foreign_key_check;

---------------------------------------------------------------- trainings

-- job_without_owner: Nobody works any more, so no training is queued, running, or on record with a process.
SELECT id, status, process_group FROM jobs WHERE status IN ('queued', 'running') OR process_group IS NOT NULL;

-- job_without_end: A training that has ended says when, and one without a voice says why.
SELECT id, status, error FROM jobs
WHERE status IN ('done', 'failed', 'cancelled') AND (ended_at IS NULL OR (status <> 'done' AND coalesce(error, '') = ''));

-- job_without_model: A training is done if it made a version, and only then.
SELECT jobs.id, jobs.status, models.id AS model FROM jobs LEFT JOIN models ON models.job = jobs.id
WHERE (jobs.status = 'done') <> (models.id IS NOT NULL);

-- job_failed_by_mynah: Trainings fail because their trainer was killed, and for no reason of Mynah's own.
SELECT id, error_code, error FROM jobs WHERE status = 'failed' AND error_code <> 'died';

-- job_cancelled_by_nobody: None is cancelled but by somebody who wanted that.
SELECT id, error FROM jobs
WHERE status = 'cancelled' AND id NOT IN (SELECT job FROM seen.cancels)
    AND NOT EXISTS (SELECT 1 FROM seen.withdrawn WHERE instr('-' || voice || '-', '-' || handle || '-'));

-- job_done_twice: Equal trainings are one.
SELECT fingerprint, count(*) FROM jobs WHERE status = 'done' GROUP BY fingerprint HAVING count(*) > 1;

-- job_without_consent: Nothing is trained without somebody's word.
SELECT jobs.id, handle FROM jobs JOIN voice_accounts USING (voice) WHERE handle NOT IN (SELECT handle FROM consents);

-- watch_without_end: Nobody waits for the end of a training that has ended.
SELECT watches.id, job FROM watches JOIN jobs ON jobs.id = job WHERE NOT told AND status IN ('done', 'failed', 'cancelled');

------------------------------------------------------------------- models

-- model_without_weights: Every version has its weights, whole and without a gap.
SELECT models.id, bytes, count(number), sum(length(chunk)) FROM models LEFT JOIN model_weights ON model = models.id
GROUP BY models.id HAVING coalesce(sum(length(chunk)), 0) <> bytes OR count(number) = 0 OR max(number) <> count(number) - 1;

-- model_with_a_wrong_hash: They are what the trainer made.
SELECT models.id, models.sha256 FROM models
WHERE sha256 <> (SELECT sha256_of_all(chunk) FROM (SELECT chunk FROM model_weights WHERE model = models.id ORDER BY number))
    OR sha256 IS NOT result ->> 'sha256';

-- model_of_another_job: A version is of the voice and the posts that its training was asked for with.
SELECT models.id FROM models JOIN jobs ON jobs.id = job WHERE models.voice <> jobs.voice OR models.corpus <> jobs.corpus;

-- version_missing: The versions of a voice are counted from 1, and none is left out.
SELECT voice, max(version), count(*) FROM models GROUP BY voice HAVING max(version) <> count(*);

-------------------------------------------------------------------- lines

-- request_without_answer: Nobody waits for a line.
SELECT id, status FROM requests WHERE status IN ('queued', 'running') OR ended_at IS NULL;

-- request_without_line: What was answered has lines, as many as were asked for at most; what was not has none, and says why.
SELECT requests.id, status, total(chosen) AS lines FROM requests LEFT JOIN generations ON request = requests.id
GROUP BY requests.id HAVING iif(status = 'done', lines NOT BETWEEN 1 AND count, lines > 0 OR coalesce(error, '') = '');

-- line_said_twice: No voice says the same twice, unless somebody named the seed.
SELECT voice, text, count(*) FROM requests JOIN generations ON request = requests.id
WHERE chosen AND NOT repeatable GROUP BY voice, text HAVING count(*) > 1;

-- line_that_may_not_be_said: What was said had passed.
SELECT id, verdict FROM generations WHERE chosen AND verdict <> 'passed';

-------------------------------------------------------------------- posts

-- post_twice: Nothing stands on X twice.
SELECT text, count(*) FROM seen.x GROUP BY text HAVING count(*) > 1;

-- post_of_nobody: What stands there is a post of the outbox, which knows it under its number.
SELECT x.id, x.text, posts.id FROM seen.x AS x LEFT JOIN posts ON posts.x_id = x.id
WHERE posts.id IS NULL OR posts.status <> 'posted' OR posts.text <> x.text;

-- post_that_is_not_there: What the outbox calls posted stands there.
SELECT id, x_id FROM posts WHERE status = 'posted' AND coalesce(x_id, '') NOT IN (SELECT id FROM seen.x);

-- post_under_way: Nothing is on its way, and nothing that could go waits.
SELECT id, status FROM posts WHERE status = 'sending' OR status = 'approved' OR awaits_person;

-- post_without_a_yes: Nothing is posted that nobody approved before.
SELECT id FROM posts WHERE status = 'posted' AND NOT EXISTS (
    SELECT 1 FROM post_changes AS yes JOIN post_changes AS sent ON sent.post = yes.post AND sent.status = 'sending' AND sent.id > yes.id
    WHERE yes.post = posts.id AND yes.status = 'approved');

-- post_without_history: How a post stands is the last thing that was written down of it.
SELECT posts.id, posts.status FROM posts
WHERE status IS NOT (SELECT status FROM post_changes WHERE post = posts.id ORDER BY id DESC LIMIT 1);

-- post_unpaid: What was posted is in the ledger of what X is paid for.
SELECT posted, paid FROM (
    SELECT (SELECT count(*) FROM posts WHERE status = 'posted') AS posted,
           (SELECT coalesce(sum(coalesce(count, most)), 0) FROM spending WHERE kind LIKE '%_written') AS paid)
WHERE posted > paid;

---------------------------------------------------------------- schedules

-- time_without_end: No time of a schedule is still to be done.
SELECT id, schedule, nominal FROM schedule_runs WHERE outcome = 'due';

-- time_without_draft: One that was done has its draft, which is its schedule's and no other time's.
SELECT run.id, run.schedule, post FROM schedule_runs AS run LEFT JOIN posts ON posts.id = post
WHERE outcome = 'drafted' AND (posts.id IS NULL OR posts.schedule IS NOT run.schedule)
    OR post IN (SELECT post FROM schedule_runs GROUP BY post HAVING count(*) > 1);

-- draft_without_time: Every draft of a schedule is of one of its times.
SELECT id, schedule FROM posts WHERE schedule IS NOT NULL AND id NOT IN (SELECT post FROM schedule_runs WHERE post IS NOT NULL);

------------------------------------------------------------------ imports

-- posts_of_no_source: Every stored post came from something that is written down.
SELECT handle, imported_at, count(*) FROM tweets WHERE (handle, imported_at) NOT IN (SELECT handle, at FROM sources) GROUP BY 1, 2;

-- source_without_posts: What came in one import is there whole.
SELECT handle, at, posts FROM sources WHERE posts <> (SELECT count(*) FROM tweets WHERE tweets.handle = sources.handle AND imported_at = at);

-- opted_out_and_stored: Nothing is stored of who wants none of it.
SELECT handle FROM opt_outs WHERE handle IN (SELECT handle FROM accounts);

--------------------------------------------------- what was acknowledged

-- training_lost: A training that a member was told of is there.
SELECT job, voice FROM seen.kept WHERE job NOT IN (SELECT id FROM jobs);

-- end_untold: He was told of its end, once.
SELECT kept.message, job, count(DISTINCT nonce) FROM seen.kept LEFT JOIN seen.told ON told.message = kept.message
GROUP BY kept.message HAVING count(DISTINCT nonce) <> 1;

-- cancel_lost: What a member was told is cancelled went on to no other end, but for one that it had reached by then.
SELECT jobs.id, status FROM jobs JOIN seen.cancels ON job = jobs.id WHERE cancels.told AND status NOT IN ('cancelled', 'done');

-- answer_lost: A line that a member saw is on record.
SELECT voice, prompt FROM seen.answers
WHERE NOT EXISTS (SELECT 1 FROM seen.withdrawn WHERE instr('-' || voice || '-', '-' || handle || '-')) AND prompt NOT IN (
    SELECT prompt FROM requests JOIN generations ON request = requests.id WHERE status = 'done' AND chosen);

-- import_lost: Posts that were said to be stored are.
SELECT handle, sum(posts) AS said FROM seen.imports WHERE handle NOT IN (SELECT handle FROM seen.withdrawn)
GROUP BY handle HAVING said > (SELECT count(*) FROM tweets WHERE tweets.handle = imports.handle);

-- forgotten_and_stored: Of an account that was said to be forgotten nothing is left.
SELECT handle FROM seen.withdrawn
WHERE told AND (handle IN (SELECT handle FROM accounts) OR EXISTS (
    SELECT 1 FROM voices WHERE instr('-' || name || '-', '-' || handle || '-')));

-- opt_out_lost: Who was told that he will not be stored again is not.
SELECT handle FROM seen.withdrawn WHERE told AND how = 'opt-out' AND handle NOT IN (SELECT handle FROM opt_outs);

-- schedule_lost: A schedule that was said to be made is there.
SELECT name FROM seen.schedules WHERE name NOT IN (SELECT name FROM schedules);

-- run_lost: A draft that a person asked a schedule for was begun, and it is said what came of it.
SELECT run FROM seen.runs WHERE run NOT IN (SELECT id FROM schedule_runs WHERE outcome <> 'due');

-- decision_lost: What a person approved is posted, and what he rejected is not.
SELECT post, decision, status FROM seen.decisions LEFT JOIN posts ON posts.id = post
WHERE status IS NOT iif(decision = 'approved', 'posted', 'rejected');
