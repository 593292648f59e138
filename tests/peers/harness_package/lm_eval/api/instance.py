"""A request."""

from dataclasses import dataclass, field


@dataclass
class Instance:
    request_type: str
    doc: dict
    arguments: tuple
    idx: int
    metadata: tuple = (None, None, None)
    resps: list = field(default_factory=list)
    filtered_resps: dict = field(default_factory=dict)
    task_name: str | None = None
    doc_id: int | None = None
    repeats: int | None = None

    def __post_init__(self):
        self.task_name, self.doc_id, self.repeats = self.metadata

    @property
    def args(self):
        return self.arguments
