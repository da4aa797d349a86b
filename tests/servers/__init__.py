"""Real servers for tests, started when a test first asks for one and gone when the run is."""
