"""What people use instead of Usher, each doing the same work: two or three rows in a transaction.

These run in an environment of their own, made from `benchmarks/peers/requirements.txt`:

    python -m benchmarks.peers PEER prepare
    python -m benchmarks.peers PEER publish coupon|points COUNT [--live]
    python -m benchmarks.peers PEER work
"""
