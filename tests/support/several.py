"""What makes several calls at once."""

from safeklaviyo._client.several import AT_ONCE, several, several_async

__all__ = ["AT_ONCE", "several", "several_async"]
