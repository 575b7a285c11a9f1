"""What sections of ``params.yaml`` are made of: the base of all, and types that several share."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _path_text(text: str) -> str:
    """Refuse what names no file: nothing, as of a variable that is not set, and a NUL."""
    if not text.strip() or "\0" in text:
        raise ValueError(f"{text!r} is no path; write null for none")
    return text


PathText = Annotated[str, AfterValidator(_path_text)]
Count = Annotated[int, Field(ge=1)]
Processes = Annotated[int, Field(ge=1, le=256)]
Images = Annotated[int, Field(ge=1, le=100_000)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Side = Annotated[int, Field(ge=1, le=16384)]
Size = tuple[Side, Side]  # (height, width), pixels
Factor = Annotated[float, Field(ge=0.01, le=16)]
Split = Literal["train", "val", "test"]


class Section(BaseModel):
    """A part of ``params.yaml``: no unknown keys, no coercion, no change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
