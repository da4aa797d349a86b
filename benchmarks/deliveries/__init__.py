"""Deliveries per second: Usher, what people use instead, and what the database itself can do.

    python -m benchmarks.deliveries [--rounds 5] [--events 20000] [--peer-events 5000]
        [--database postgres|sqlite] [--only NAME …] [--peers-python .venv-peers/bin/python]

Every contestant does the same work on the same server: an inbox row and a coupon (`coupon`), or
an inbox row, a ledger entry and a balance (`points`), each once, in a transaction. `backlog`: the
work is there before the workers work; counted is the middle four fifths of it, so that their start
costs nobody anything. Usher's begin once they all have started, as its receivers can be paused; its
work was dead, and is replayed by the operation that operators use. `live`: one publisher signs
people up one by one, each in a transaction of its own, as fast as it can, while the workers work;
counted from its beginning to the last effect.

`statement` is no system but the limit: the writes of Usher's claim and of its effect block, as two
hand-written statements, at Usher's batch size, on as many connections.

`usher_newcomer_coupon` and `usher_inviter_reward` are the real receivers, by themselves: decision,
stock or balance, coupon or entry, follow-on event, and a delivery of that for each receiver of it.
`…_and_projection` works those off too that are in the same queue, by turns: a delivery more for
each. `…_same_inviter` has everybody invited by one person. Every newcomer is of one campaign.

On SQLite a person signs up twenty times a second beside it all, and their waiting is measured.
"""
