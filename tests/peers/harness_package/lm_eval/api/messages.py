"""A turn of a prompt."""

from dataclasses import dataclass


@dataclass
class Message:
    role: str
    content: str
    delimiter: str = ""

    def to_text(self):
        return self.content + self.delimiter

    def to_dict(self):
        return {"role": self.role, "content": self.content}
