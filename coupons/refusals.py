"""Why something that was asked for is not done: a code for programs, a sentence for people."""


class Refused(Exception):
    """A rule forbids what was asked for, and nothing was changed.

    `code` is stable; `sentence` is in the reader's language.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
