"""What is raised where an input is not what the format says."""


class Refusal(Exception):
    """An input that is refused: the name of the broken rule, and what broke it."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule


def require(holds: bool, rule: str, detail: str) -> None:
    """Refuses where the rule does not hold."""
    if not holds:
        raise Refusal(rule, detail)
