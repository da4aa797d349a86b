"""`make fuzz`: Schemathesis against a real server, over every operation of the schema."""
