"""The life of a job in the database."""


from orchestrator.jobs.job import JobState
from orchestrator.jobs.records import WebhookState
from tests.integration.jobs.bench import ARTIFACT, PRICE, Bench, submission


async def test_a_job_from_submission_to_picture(bench: Bench) -> None:
    account = await bench.account("ada", credits=10)
    queued = await bench.store.submit(submission(account, "mine", webhook_url="https://a.example/", webhook_data="1"))
    assert (queued.state, queued.queued and queued.queued.position) == (JobState.QUEUED, 0)
    assert queued.webhook == WebhookState()
    assert await bench.fetch() == queued.id
    attempt = await bench.store.start(queued.id)
    assert attempt is not None
    assert (attempt.request, attempt.number, attempt.fence, attempt.account_id) == (b"request", 1, 1, account)
    assert 0 <= attempt.waited < 60
    running = await bench.store.get(queued.id, account)
    assert (running.state, running.attempts, running.ended, running.queued) == (JobState.RUNNING, 1, None, None)
    picture = await bench.note("a.png", account)
    assert await bench.store.finish(attempt, ARTIFACT, picture)
    done = await bench.store.get(queued.id, account)
    assert done.state is JobState.SUCCEEDED
    assert done.artifact is not None and done.artifact.data is None and done.artifact.seed == 7
    assert (done.picture, done.error, done.sequence) == ("a.png", None, 65536 + 65535)
    assert done.expires == await bench.value("SELECT expires_at FROM imagegen.results")
    assert done.webhook is not None and (done.webhook.state, done.webhook.attempts) == ("pending", 0)
    assert await bench.value("SELECT data FROM imagegen.deliveries") == "1"
    assert await bench.value("SELECT credits FROM imagegen.accounts WHERE name = 'ada'") == 10 - PRICE
    assert await bench.value("SELECT price FROM imagegen.usage") == PRICE
    assert await bench.value("SELECT request IS NULL AND webhook_data IS NULL FROM imagegen.jobs")
