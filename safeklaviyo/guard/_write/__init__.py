"""The requests that go out in place of a caller's, and the answers that the guard gives by itself."""
