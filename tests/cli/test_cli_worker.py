"""How the worker's command is called, and what it says at its start."""

import pytest


@pytest.mark.parametrize("option", ["--health", "--check"])
@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_path_without_a_files_name_is_a_usage_error(run, here, option, path):
    """As where a variable of the shell is not set; the worker is not started."""
    status, out, err = run("worker", option, path, *here)
    assert (2, "") == (status, out)
    assert f"argument {option}: give the path of a file" in err
