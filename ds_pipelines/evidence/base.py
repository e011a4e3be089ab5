"""What every record is."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen record that refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
