"""What the fuzzed server and those who call it agree on."""

PASSWORD = "a long enough one"  # that of the schema's examples
RISK_SECRET = "whsec_dGhpcyBpcyBhIHNlY3JldCBmb3IgdGVzdHMgb25seQ=="
WORLD = "FUZZ_WORLD"  # the file that says who calls, and what examples stand for
CALLER = "FUZZ_CALLER"
ANSWERS = "FUZZ_ANSWERS"  # the file for how often each operation answered what
