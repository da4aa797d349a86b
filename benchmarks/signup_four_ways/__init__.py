"""The argument of event-driven sign-up, measured: the same registration, built four ways.

    python -m benchmarks.signup_four_ways [--rounds 5] [--seconds 8] [--clients 8]
        [--ways inline promotion threads events]
        [--services healthy slow_200ms slow_2s failing down]

A registration writes an account; a coupon service and a points service, real HTTP servers in
processes of their own, are to give the newcomer something.

* `inline` calls both, inside the transaction.
* `promotion` calls a promotion service inside the transaction, which calls both.
* `threads` calls both in a background thread, after the commit.
* `events` publishes an event; a worker calls them, with the event's id as `Idempotency-Key`.

Every way runs on the same web server (uvicorn, one process) and PostgreSQL, with a cheap password
hasher, so that what is seen is what the calls do. Clients register people, each its next one once
the last is answered, while the services are healthy, slow, failing (every other call is refused
before it did anything, the others are refused after they did it) or down (connection refused).
Then the services are healthy again; once the worker has nothing to do, or after a few seconds where
there is none, the web server is stopped, as a deployment stops it, and what each service gave is
counted: `lost` and `doubled` for people whose registration was answered with 201, `for_nobody` for
those without an account.
"""
