"""How the worker's command is called, and what it says at its start."""

import pytest


@pytest.mark.parametrize("option", ["--health", "--check"])
@pytest.mark.parametrize("path", ["", ".", "/"])
def test_a_path_without_a_files_name_is_a_usage_error(run, here, option, path):
    """As where a variable of the shell is not set; the worker is not started."""
    status, out, err = run("worker", option, path, *here)
    assert (2, "") == (status, out)
    assert f"argument {option}: give the path of a file" in err


@pytest.mark.parametrize("account", ["", "two words", "a@b", "x" * 65])
@pytest.mark.parametrize("command", [("worker",), ("doctor",), ("outbox", "list")])
def test_what_can_be_no_account_is_a_usage_error(run, here, command, account):
    """No worker looks for the rows of an account that cannot be one."""
    status, out, err = run(*command, *here[:2], "--account", account)
    assert (2, "") == (status, out)
    assert "argument --account: has to be made of 1 to 64 letters, digits, - and _" in err
